"""Fetches Git repositories: what does a reference mean now, and what is in that commit.

Objects that name the same URL with the same credentials share a `gitmirror.Mirror`: one object
store, one listing of references for all that ask meanwhile, one fetch of each commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sources import (
    composed,
    gitclient,
    giterrors,
    gitmirror,
    gitmodules,
    gitpack,
    gitref,
    gitssh,
    gitstore,
    gittree,
)
from sources.auth import basic, github_tokens, tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runtime.clock import Clock
    from runtime.limits import Processes, Threads
    from sources.auth.basic import Credentials
    from sources.auth.proxy import Proxy
    from sources.gitmirror import Mirror
    from sources.gitref import Candidate, Reference, Refs

IDLE_S = 24 * 3600.0
"""Seconds after which connections and open files of an unused remote are given up."""
UNUSED_S = 7 * 24 * 3600.0
"""Seconds after which the object store of an unused remote is deleted."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A remote repository and how to talk to it."""

    url: str
    """HTTP(S) without user information, or SSH, with the user."""
    credentials: Credentials = basic.ANONYMOUS
    proxy: Proxy | None = None
    """On the way to it."""
    timeout_s: float = 60.0
    """Seconds that each operation may take."""

    @property
    def key(self) -> str:
        """A name for what is shared by everything with this URL and these credentials."""
        through = self.proxy.identity.hex() if self.proxy else ""
        text = f"{self.url}\n{self.credentials.identity}\n{through}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that is here."""

    candidate: Candidate
    """How it was named."""
    info: gitstore.CommitInfo
    store: gitstore.Store = field(repr=False)
    """Where its objects are."""

    @property
    def revision(self) -> str:
        """``main@sha1:<hex>`` and the like."""
        return self.candidate.revision

    @property
    def sha(self) -> str:
        """Its id, 40 hex digits."""
        return self.info.sha

    @property
    def subject(self) -> str:
        """The first line of its message."""
        return self.info.subject

    def files(self) -> composed.Part:
        """Return its own files, of which submodules are none."""
        return composed.Part(gittree.GitFiles(self.store, self.info.tree))

    def tree(self, patterns: str | None) -> composed.ComposedTree:
        """Return those files under the ignore rules of ``spec.ignore``."""
        return composed.ComposedTree([self.files()], patterns)


class GitFetcher:
    """Resolves references and fetches commits.

    Args:
        directory: where object stores are kept; all of it can be fetched again.
        threads: runs blocking calls. They wait for the network, so these should not be the
            threads that anything quick depends on.
        processes: runs the indexing of large packs.
        clock: tells which remotes are idle.
        limits: what a repository may cost us.
    """

    def __init__(
        self,
        directory: Path,
        threads: Threads,
        processes: Processes,
        clock: Clock,
        limits: gitpack.Limits | None = None,
    ) -> None:
        self.limits = limits or gitpack.Limits()
        self._directory = directory
        self._threads = threads
        self._processes = processes
        self._clock = clock
        self._mirrors: dict[str, Mirror] = {}
        self._opening = asyncio.Lock()
        self.contexts = tls.Contexts()
        self.apps = github_tokens.Apps(threads, self.contexts, clock)
        """The tokens of the GitHub Apps that repositories are fetched with."""

    async def resolve(self, repository: Repository, reference: Reference) -> Candidate:
        """Return the commit that a reference means now.

        A pinned commit is taken at its word, without asking the remote.

        Raises:
            giterrors.GitOperationError: the remote cannot be asked, or has no such reference.
            giterrors.EmptyRepositoryError: the remote has no references at all.
            errors.CredentialsError: the CA or the client's certificate cannot be used.
        """
        candidates = await self._candidates(repository, reference)
        if len(candidates) == 1:
            return candidates[0]
        mirror = await self._mirror(repository)
        infos = [
            await mirror.fetch(each.sha, each.label, repository.timeout_s) for each in candidates
        ]
        return max(zip(infos, candidates, strict=True), key=lambda pair: pair[0].committed_s)[1]

    async def fetch(
        self, repository: Repository, reference: Reference, candidate: Candidate
    ) -> Commit:
        """Return a commit's content, fetching what is missing of it.

        A commit that is gone from the remote by now, after a force-push, is resolved once more, so
        the answer may be another one than was asked for. A damaged store is fetched anew.

        Raises:
            giterrors.GitOperationError: it cannot be fetched.
            giterrors.EmptyRepositoryError: meanwhile the remote has no references at all.
        """
        try:
            return await self._fetch(repository, reference, candidate)
        except giterrors.RevisionGoneError:
            now = (await self._candidates(repository, reference))[0]
            return await self._fetch(repository, reference, now)
        except gitstore.DamagedError:
            await self.discard(repository)
        try:
            return await self._fetch(repository, reference, candidate)
        except gitstore.DamagedError as err:
            raise giterrors.GitOperationError(str(err)) from err

    async def submodules(
        self, repository: Repository, commit: Commit, sparse: Sequence[str] = ()
    ) -> list[gitmodules.Submodule]:
        """Fetch the submodules of a commit, nested ones included.

        Args:
            repository: where the commit comes from.
            commit: whose submodules are meant.
            sparse: ``spec.sparseCheckout``; submodules outside it are left out.

        Raises:
            giterrors.GitOperationError: one cannot be fetched.
            gitstore.DamagedError: a store has lost something.
        """

        async def read(of: Commit) -> tuple[dict[str, str], bytes]:
            return await self._threads.run(gitmodules.named, of)

        return await gitmodules.expand(repository, commit, self._pinned, read, sparse)

    async def raw(self, repository: Repository, sha: str) -> bytes:
        """Return an object of a repository as it is in Git, fetching it unless it is here.

        Raises:
            giterrors.GitOperationError: it cannot be fetched.
            gitstore.DamagedError: it is damaged.
        """
        return await (await self._mirror(repository)).raw(sha, repository.timeout_s)

    async def recall(self, repository: Repository, candidate: Candidate) -> Commit | None:
        """Return a commit if it is here already; the remote is not asked."""
        mirror = await self._mirror(repository)
        if not mirror.store.holds(candidate.sha):
            return None
        try:
            info = await self._threads.run(mirror.store.commit, candidate.sha)
        except gitstore.DamagedError:
            return None
        return Commit(candidate, info, mirror.store)

    async def discard(self, repository: Repository) -> None:
        """Throw away what is stored of a repository, after a `gitstore.DamagedError`."""
        await (await self._mirror(repository)).reset()

    async def mend(self, repository: Repository, error: gitstore.DamagedError) -> None:
        """Throw away the store that an error is about; the repository's where that is unknown."""
        damaged = [
            mirror for mirror in self._mirrors.values() if mirror.store.directory == error.directory
        ]
        for mirror in damaged or [await self._mirror(repository)]:
            await mirror.reset()

    async def tidy(self, repository: Repository) -> None:
        """Give memory back, and compact the repository's store if it has grown too much.

        Meant for the time after the result was published; nothing waits for it.
        """
        mirror = await self._mirror(repository)
        try:
            await mirror.tidy()
        except gitstore.DamagedError:
            await mirror.reset()

    def close(self) -> None:
        """Close all connections and files."""
        for mirror in self._mirrors.values():
            mirror.close()
        self._mirrors.clear()

    async def _candidates(self, repository: Repository, reference: Reference) -> list[Candidate]:
        if isinstance(reference, gitref.Pinned):
            with _clear(repository):
                return reference.candidates({})
        refs = await self._references(repository, reference)
        with _clear(repository):
            return reference.candidates(refs)

    async def _references(self, repository: Repository, reference: Reference) -> Refs:
        mirror = await self._mirror(repository)
        refs = await mirror.references(reference.prefix, repository.timeout_s)
        if not refs and not await mirror.references("", repository.timeout_s):
            raise giterrors.EmptyRepositoryError
        return refs

    async def _fetch(
        self, repository: Repository, reference: Reference, candidate: Candidate
    ) -> Commit:
        mirror = await self._mirror(repository)
        label, tips = candidate.label, []
        if isinstance(reference, gitref.Pinned):
            # Flux looks for a pinned commit in the history, so that a commit which only a fork
            # has pushed to the server is not taken for one of this repository.
            label = candidate.sha
            if not mirror.store.holds(candidate.sha):
                refs = await self._references(repository, reference)
                with _clear(repository):
                    tips = reference.tips(refs)
        info = await mirror.fetch(candidate.sha, label, repository.timeout_s, tips=tips)
        return Commit(candidate, info, mirror.store)

    async def _pinned(self, repository: Repository, sha: str) -> Commit:
        """Fetch a commit that somebody else names, wherever in the repository it is."""
        mirror = await self._mirror(repository)
        try:
            info = await mirror.fetch(sha, sha, repository.timeout_s)
        except giterrors.RevisionGoneError:
            # Such a server gives away what it advertises, with history; nothing by name alone.
            reference = gitref.Pinned(sha)
            with _clear(repository):
                tips = reference.tips(await self._references(repository, reference))
            info = await mirror.fetch(sha, sha, repository.timeout_s, tips=tips)
        return Commit(gitref.Candidate(sha, ""), info, mirror.store)

    async def _mirror(self, repository: Repository) -> Mirror:
        async with self._opening:
            found = self._mirrors.get(repository.key) or await self._open(repository)
        found.used_s = self._clock.monotonic()
        if repository.credentials.lender is not None:
            found.renew(repository.credentials.lender)
        return found

    async def _open(self, repository: Repository) -> Mirror:
        self._close_idle()
        remote, store = await self._threads.run(self._connect, repository)
        credentials = repository.credentials
        mirror = self._mirrors[repository.key] = gitmirror.Mirror(
            remote,
            store,
            self._threads,
            self._processes,
            credentials=credentials,
            tokens=self.apps.tokens(credentials.app) if credentials.app else credentials.lender,
            limits=self.limits,
        )
        return mirror

    def _connect(
        self, repository: Repository
    ) -> tuple[gitclient.Remote | gitssh.Remote, gitstore.Store]:
        context = self._context(repository)
        self._delete_unused()
        store = gitstore.Store(self._directory / repository.key, repository.url)
        if repository.credentials.ssh is not None:
            return gitssh.Remote(repository.url, repository.credentials.ssh), store
        return gitclient.Remote(repository.url, context, repository.proxy), store

    def _context(self, repository: Repository) -> ssl.SSLContext | None:
        """Return the TLS context for a remote and its proxy, None where neither speaks TLS."""
        is_proxy_tls = repository.proxy is not None and repository.proxy.is_tls
        if not (is_proxy_tls or repository.url.startswith("https:")):
            return None
        return self.contexts.of(repository.credentials.trust)

    def _close_idle(self) -> None:
        oldest_s = self._clock.monotonic() - IDLE_S
        for key in [key for key, mirror in self._mirrors.items() if mirror.used_s < oldest_s]:
            self._mirrors.pop(key).close()

    def _delete_unused(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        oldest_s = self._clock.now().timestamp() - UNUSED_S
        for path in self._directory.iterdir():
            if path.name not in self._mirrors and path.stat().st_mtime < oldest_s:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _clear(repository: Repository) -> Iterator[None]:
    """Tell users what a reference that means nothing means."""
    try:
        yield
    except gitref.UnresolvedError as err:
        raise giterrors.GitOperationError(f"unable to clone '{repository.url}': {err}") from err
