"""The submodules of a commit: which there are, where they come from, with whose credentials.

A repository's content names them, so it is taken for a stranger's word: a submodule gets the
credentials of its parent where it lies on the same server, and nothing where it does not; only
remote repositories are named; they are nested, and as many, as can be meant in earnest.
"""

from __future__ import annotations

import io
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from dulwich.config import ConfigFile, parse_submodules

from sources import composed, giterrors, gittree
from sources.auth import basic
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from sources.git import Commit, Repository

MAX_DEPTH: Final = 10
"""Submodules within submodules, as in Flux."""
MAX_NUMBER: Final = 200
"""Submodules of one commit, nested ones included."""
FILE_NAME: Final = ".gitmodules"
_PORTS: Final = {"http": 80, "https": 443, "ssh": 22}


class LocationError(ValueError):
    """A URL that names no repository we may ask; the text says why."""


@dataclass(frozen=True, slots=True)
class Submodule:
    """A commit of another repository, and where its files belong."""

    path: str
    """The directory, relative to the root of the outermost repository."""
    repository: Repository
    commit: Commit


async def expand(
    repository: Repository,
    commit: Commit,
    fetch: Callable[[Repository, str], Awaitable[Commit]],
    read: Callable[[Commit], Awaitable[tuple[dict[str, str], bytes]]],
    sparse: Sequence[str] = (),
) -> list[Submodule]:
    """Fetch all submodules of a commit, and theirs.

    Args:
        repository: where the commit comes from.
        commit: whose submodules are meant.
        fetch: fetches a commit of a repository.
        read: does what `named` does.
        sparse: ``spec.sparseCheckout``; a submodule of which nothing is checked out is left out.

    Raises:
        giterrors.GitOperationError: one cannot be fetched, or there are too many.
    """
    found: list[Submodule] = []
    pending = deque([(Submodule("", repository, commit), 0)])
    while pending:
        parent, depth = pending.popleft()
        commits, text = await read(parent.commit)
        for path, url in _urls(text):
            target = f"{parent.path}/{path}" if parent.path else path
            if path not in commits or not _is_wanted(target, sparse):
                continue
            if depth == MAX_DEPTH or len(found) == MAX_NUMBER:
                raise giterrors.GitOperationError(
                    f"unable to update submodule '{target}': a repository may have "
                    f"{MAX_NUMBER} submodules, nested {MAX_DEPTH} deep"
                )
            child = await _fetch(parent.repository, target, url, commits[path], fetch)
            found.append(child)
            pending.append((child, depth + 1))
    return found


def named(commit: Commit) -> tuple[dict[str, str], bytes]:
    """Return path and commit of each submodule, and the text of ``.gitmodules``. Blocks.

    Raises:
        OSError: the store is damaged.
    """
    text = commit.store.root_file(commit.info.tree, FILE_NAME)
    commits = gittree.GitFiles(commit.store, commit.info.tree).submodules() if text else {}
    return commits, text


def parts(submodules: Sequence[Submodule]) -> list[composed.Part]:
    """Return the files of submodules at their places."""
    return [
        composed.Part(gittree.GitFiles(each.commit.store, each.commit.info.tree), each.path)
        for each in submodules
    ]


async def _fetch(
    parent: Repository,
    path: str,
    url: str,
    sha: str,
    fetch: Callable[[Repository, str], Awaitable[Commit]],
) -> Submodule:
    try:
        repository = locate(parent, url)
        return Submodule(path, repository, await fetch(repository, sha))
    except (LocationError, CredentialsError) as err:
        raise giterrors.GitOperationError(f"unable to update submodule '{path}': {err}") from err


def locate(parent: Repository, url: str) -> Repository:
    """Return the repository that a submodule's URL means.

    Args:
        parent: the repository that names it.
        url: as in ``.gitmodules``: absolute, ``user@host:path``, or relative to the parent's.

    Raises:
        LocationError: it is none of these, or names a host to which SSH has no key.
    """
    absolute = _absolute(parent.url, url)
    is_same = _origin(absolute) == _origin(parent.url)
    credentials = parent.credentials if is_same else basic.ANONYMOUS
    if urlsplit(absolute).scheme == "ssh":
        if credentials.ssh is None:
            raise LocationError(
                f"the repository's credentials are not for {_shown(absolute)}, and another "
                "server over ssh needs some"
            )
        return replace(parent, url=absolute, proxy=None)
    bare, credentials = basic.split_url(absolute, credentials)
    return replace(parent, url=bare, credentials=credentials)


def _absolute(parent: str, url: str) -> str:
    if url.startswith(("./", "../")):
        parts = urlsplit(parent)
        return urlunsplit(parts._replace(path=_joined(parts.path, url)))
    scheme, separator, _ = url.partition("://")
    if separator:
        if scheme not in _PORTS or not _has_host(url):
            raise LocationError(f"'{_shown(url)}' is no http, https or ssh URL")
        return url
    host, colon, path = url.partition(":")
    if not colon or "/" in host or not host:
        raise LocationError(f"'{url}' is no http, https or ssh URL")
    return f"ssh://{host}/{path.lstrip('/')}"


def _joined(base: str, relative: str) -> str:
    """Apply a relative path as Git does: ``../`` goes up from the repository itself.

    Raises:
        ValueError: it goes up too far.
    """
    components = base.strip("/").split("/")
    for step in relative.split("/"):
        if step == "..":
            if not components:
                raise LocationError(f"'{relative}' leads out of the server")
            components.pop()
        elif step not in {"", "."}:
            components.append(step)
    return "/" + "/".join(components)


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError as err:
        raise LocationError(f"'{_shown(url)}' is no URL: {err}") from err


def _shown(url: str) -> str:
    """Return a URL without user and password."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _urls(text: bytes) -> Iterator[tuple[str, str]]:
    """Yield path and URL of each submodule that ``.gitmodules`` names.

    Raises:
        giterrors.GitOperationError: it does not parse.
    """
    try:
        for path, url, _ in parse_submodules(ConfigFile.from_file(io.BytesIO(text))):
            yield path.decode("utf-8", "surrogateescape").strip("/"), url.decode()
    except ValueError as err:
        raise giterrors.GitOperationError(f"unable to read {FILE_NAME}: {err}") from err


def _is_wanted(path: str, sparse: Sequence[str]) -> bool:
    """Tell whether anything of a submodule would be checked out."""
    starts = [each.removeprefix("./") for each in sparse]
    return not starts or any(
        path.startswith(start) or start.startswith(f"{path}/") for start in starts
    )
