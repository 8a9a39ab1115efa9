"""Chart repositories over HTTP: their index and their charts.

An index is downloaded only when it changed, as the server's ``ETag`` and ``Last-Modified`` tell,
and once for everything that names the repository with the same credentials. What was downloaded
lies on disk, converted, and holds no memory; the files may be deleted at any time.

Credentials and the client's certificate go to the origin of the repository and nowhere else, unless
it is told to pass them to the hosts that the index names; redirects never take them elsewhere.

Everything that goes wrong between us and a server is a `sources.oci.errors.RegistryError`, as with
registries.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from yarl import URL

from api import durations
from runtime import process, retry
from sources.auth import basic, tls
from sources.helm import convert, urls
from sources.oci import joint, transport
from sources.oci.errors import (
    ConnectionFailed,
    ContentError,
    DeniedError,
    NotFoundError,
    RegistryError,
    ThrottledError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import IO

    import aiohttp

    from runtime.clock import Clock
    from runtime.limits import Processes, Threads
    from sources.auth.basic import Credentials
    from sources.auth.proxy import Proxy
    from sources.helm.index import Entry

INDEX_BYTES: Final = 50 * 2**20
"""Bytes that an index may have, as in Flux."""
CHART_BYTES: Final = 10 * 2**20
"""Bytes that a packed chart may have, as in Flux."""
UNUSED_S: Final = 7 * 24 * 3600.0
"""Seconds after which the index of a repository that nobody asks for is deleted."""
_LARGE_BYTES: Final = 2**20
"""Indexes above this are converted in a child process, whose memory goes back to the system."""
_CONVERTING_S: Final = 300.0
_WRITE_BYTES: Final = 256 * 1024
_PASSING: Final = frozenset({500, 502, 503, 504})
_STATE: Final = "state.json"
_FORMAT: Final = 1
"""To be changed with what `convert` writes."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A chart repository and how to talk to it."""

    url: str
    """HTTP(S), normalised, without user information; see `urls.normalise`."""
    credentials: Credentials = basic.ANONYMOUS
    passes_credentials: bool = False
    """Whether hosts that the index names get the credentials too."""
    proxy: Proxy | None = None
    timeout_s: float = 60.0
    """Seconds that each operation may take."""

    @property
    def key(self) -> str:
        """A name for what is shared by everything with this URL and these credentials."""
        through = self.proxy.identity if self.proxy else b""
        parts = (self.url.encode(), self.credentials.identity.encode(), through)
        return tls.digest(b"helm-repository", *parts).hex()


@dataclass(frozen=True, slots=True)
class Index:
    """The index of a repository as it is here."""

    path: Path
    """The converted file, to be read by `sources.helm.index` or copied at once: the next but one
    index replaces it."""
    revision: str
    """``sha256:<hex>`` of what the server sent."""

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return self.revision.partition(":")[2]


class _State(msgspec.Struct):
    """What is known of the index that lies beside."""

    format: int
    revision: str
    etag: str = ""
    last_modified: str = ""


class Repositories:
    """Asks chart repositories. One serves the whole daemon.

    Args:
        directory: where indexes are kept; all of them can be downloaded again.
        threads: for what blocks.
        processes: runs the conversion of large indexes.
        clock: tells which indexes are no longer used.
    """

    def __init__(
        self, directory: Path, threads: Threads, processes: Processes, clock: Clock
    ) -> None:
        self._directory = directory
        self._threads = threads
        self._processes = processes
        self._clock = clock
        self._http = transport.Transport(threads)
        self._fetching: joint.Joint[Index] = joint.Joint()
        self._is_swept = False

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def index(self, repository: Repository) -> Index:
        """Return the repository's index as it is now.

        Raises:
            RegistryError: it cannot be fetched, or is too large.
            InvalidIndexError: what was sent is no index.
            CredentialsError: the CA or the client's certificate cannot be used.
            OSError: the disk refused.
        """
        if not self._is_swept:
            self._is_swept = True
            await self._threads.run(self._sweep)
        return await self._fetching.call(repository.key, lambda: self._index(repository))

    async def chart(self, repository: Repository, entry: Entry) -> bytes:
        """Return a packed chart, compared with the digest that the index gives for it.

        Raises:
            RegistryError: it cannot be fetched, is too large, or is another file.
            CredentialsError: the CA or the client's certificate cannot be used.
        """
        if not entry.urls:
            raise ContentError(f"chart '{entry.name}' has no downloadable URLs")
        url = urls.resolve(repository.url, entry.urls[0])
        content = bytearray()
        async with _within(repository, url):
            await self._receive(repository, url, CHART_BYTES, content)
        expected = entry.digest.removeprefix("sha256:").lower()
        found = hashlib.sha256(content).hexdigest()
        if expected and found != expected:
            raise ContentError(
                f"{_shown(url)} has the digest sha256:{found}, and not sha256:{expected} as the "
                "index says; update the index, or the chart in it"
            )
        return bytes(content)

    async def _index(self, repository: Repository) -> Index:
        folder = self._directory / repository.key
        downloaded = await self._threads.run(_scratch, folder)
        try:
            return await self._refresh(repository, folder, downloaded)
        finally:
            await self._threads.run(_remove, downloaded)

    async def _refresh(self, repository: Repository, folder: Path, downloaded: Path) -> Index:
        """Make the index in a folder current, and return it.

        Args:
            repository: where it is from.
            folder: where it is kept.
            downloaded: a file to download to.
        """
        known = await self._threads.run(_read_state, folder)
        url = urls.index_of(repository.url)
        async with _within(repository, url):
            found = await self._download(repository, url, downloaded, _conditions(known))
        state = found or known
        if state is None:
            raise ConnectionFailed(f"{_shown(url)} is said to be unchanged, unasked")
        target = folder / f"{state.revision}.json"
        if known is None or known.revision != state.revision:
            await self._convert(downloaded, target)
        if found is None:
            await self._threads.run(os.utime, folder / _STATE)  # for `_sweep`
        else:
            await self._threads.run(_write_state, folder, found, known)
        return Index(target, f"sha256:{state.revision}")

    async def _download(
        self, repository: Repository, url: URL, target: Path, conditions: Mapping[str, str]
    ) -> _State | None:
        """Write an index to a file, unless it is the one we know; None where it is."""

        async def once() -> _State | None:
            file = await self._threads.run(target.open, "wb")
            try:
                return await self._receive_index(repository, url, file, conditions)
            finally:
                await self._threads.run(file.close)

        return await retry.idempotent(once, on=_may_pass)

    async def _receive_index(
        self, repository: Repository, url: URL, file: IO[bytes], conditions: Mapping[str, str]
    ) -> _State | None:
        digest, pending = hashlib.sha256(), bytearray()
        async with self._open(repository, url, conditions) as response:
            if response.status == HTTPStatus.NOT_MODIFIED:
                return None
            async for chunk in _chunks(response, url, INDEX_BYTES):
                digest.update(chunk)
                pending += chunk
                if len(pending) >= _WRITE_BYTES:
                    await self._threads.run(file.write, bytes(pending))
                    pending.clear()
            etag = response.headers.get("ETag", "")
            modified = response.headers.get("Last-Modified", "")
        await self._threads.run(file.write, bytes(pending))
        return _State(_FORMAT, digest.hexdigest(), etag, modified)

    async def _receive(
        self, repository: Repository, url: URL, limit: int, content: bytearray
    ) -> None:
        async def once() -> None:
            content.clear()
            async with self._open(repository, url, {}) as response:
                async for chunk in _chunks(response, url, limit):
                    content.extend(chunk)

        await retry.idempotent(once, on=_may_pass)

    @asynccontextmanager
    async def _open(
        self, repository: Repository, url: URL, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request with what the server may see, and lend an answer that is a success."""
        credentials = repository.credentials
        trusted = repository.passes_credentials or url.origin() == URL(repository.url).origin()
        trust = credentials.trust
        if trusted and credentials.authorization:
            headers = {**headers, "Authorization": credentials.authorization}
        if not trusted:
            trust = replace(trust, certificate=b"", key=b"")
        route = transport.Route(trust, repository.proxy)
        async with self._http.open("GET", url, route, headers) as response:
            if response.status not in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}:
                raise _refusal(response, url, is_anonymous="Authorization" not in headers)
            yield response

    async def _convert(self, source: Path, target: Path) -> None:
        """Convert an index, here or beside; the target appears whole or not at all.

        Raises:
            InvalidIndexError: it is none.
            OSError: the disk refused.
        """
        written = target.with_suffix(".new")
        try:
            if (await self._threads.run(source.stat)).st_size < _LARGE_BYTES:
                await self._threads.run(_convert_here, source, written)
            else:
                await self._convert_beside(source, written)
            await self._threads.run(written.replace, target)
        finally:
            await self._threads.run(_remove, written)

    async def _convert_beside(self, source: Path, target: Path) -> None:
        try:
            done = await self._processes.run(
                [sys.executable, "-I", convert.__file__, str(source), str(target)],
                cwd=self._directory,
                env={},
                timeout_s=_CONVERTING_S,
            )
        except process.ProcessError as err:
            raise OSError(str(err)) from err
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        if done.returncode == convert.REFUSED:
            raise convert.InvalidIndexError(last)
        if done.returncode:
            raise OSError(f"the index could not be converted: {last}")

    def _sweep(self) -> None:
        """Delete the indexes that nobody asked for in a week."""
        oldest = self._clock.now().timestamp() - UNUSED_S
        for state in self._directory.glob(f"*/{_STATE}"):
            if state.stat().st_mtime < oldest:
                shutil.rmtree(state.parent, ignore_errors=True)


@asynccontextmanager
async def _within(repository: Repository, url: URL) -> AsyncIterator[None]:
    """Give an operation the seconds that it may take."""
    try:
        async with asyncio.timeout(repository.timeout_s):
            yield
    except TimeoutError as err:
        limit = durations.format_go(repository.timeout_s)
        raise ConnectionFailed(f"failed to fetch {_shown(url)} : not done after {limit}") from err


async def _chunks(response: aiohttp.ClientResponse, url: URL, limit: int) -> AsyncIterator[bytes]:
    size = response.content_length or 0
    too_large = ContentError(f"{_shown(url)} exceeds the maximum size of {limit} bytes")
    if size > limit:
        raise too_large
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise too_large
        yield chunk


class _PassingError(ConnectionFailed):
    """A status that a server has while it restarts."""


def _refusal(response: aiohttp.ClientResponse, url: URL, *, is_anonymous: bool) -> RegistryError:
    """Return what a status other than success means."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = ""
    text = f"failed to fetch {_shown(url)} : {response.status} {phrase}".rstrip()
    match response.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            said = "it was asked without credentials" if is_anonymous else "credentials refused"
            return DeniedError(f"{text} ({said})")
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(text)
        case HTTPStatus.TOO_MANY_REQUESTS:
            wait = response.headers.get("Retry-After", "")
            return ThrottledError(text, min(3600.0, float(wait)) if wait.isdecimal() else None)
        case status if status in _PASSING:
            return _PassingError(text)
        case _:
            return ConnectionFailed(text)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, _PassingError) or transport.may_pass(error)


def _shown(url: URL) -> str:
    """Return a URL as messages may have it: a query may be a secret."""
    return urls.shown(str(url))


def _conditions(state: _State | None) -> dict[str, str]:
    if state is None:
        return {}
    pairs = (("If-None-Match", state.etag), ("If-Modified-Since", state.last_modified))
    return {name: value for name, value in pairs if value}


def _read_state(folder: Path) -> _State | None:
    """Return what is known of the index that is here; None where there is none to use."""
    try:
        state = msgspec.json.decode((folder / _STATE).read_bytes(), type=_State)
    except (OSError, msgspec.MsgspecError):
        return None
    is_here = (folder / f"{state.revision}.json").is_file()
    return state if state.format == _FORMAT and is_here else None


def _write_state(folder: Path, state: _State, before: _State | None) -> None:
    """Note which index is here now, and delete those before the one before it."""
    written = folder / f".{_STATE}"
    written.write_bytes(msgspec.json.encode(state))
    written.replace(folder / _STATE)
    kept = {f"{each.revision}.json" for each in (state, before) if each}
    for path in folder.glob("*.json"):
        if path.name not in {*kept, _STATE}:
            path.unlink(missing_ok=True)


def _scratch(folder: Path) -> Path:
    """Make an empty file to download to."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".index-")
    os.close(descriptor)
    return Path(name)


def _convert_here(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        convert.convert(read, written)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
