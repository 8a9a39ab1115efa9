"""What all users of one remote share: connections, object store, listings and fetches."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from api import durations
from runtime import process, retry
from runtime.errors import GitOpsError
from sources import gitclient, giterrors, gitpack, gitstore
from sources.auth import lent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from runtime.limits import Processes, Threads
    from sources import gitssh
    from sources.auth.basic import Credentials
    from sources.auth.github_tokens import Tokens
    from sources.auth.lent import Lender
    from sources.gitclient import Abort, Remote
    from sources.gitref import Refs
    from sources.gitstore import CommitInfo, Store

T = TypeVar("T")

LARGE_PACK_BYTES = 4 * 1024 * 1024
"""Packs above this are indexed in a child process, whose memory goes back to the system."""
_LARGE_CONTENT = 8 * LARGE_PACK_BYTES
"""Likewise those with so much in them."""
_INDEXING_S = 600.0
"""Seconds that a child process may take, beyond which something is badly wrong."""


@dataclass(slots=True)
class _Listing:
    """One listing of references, for everybody who asked before it began."""

    prefixes: set[str] = field(default_factory=set)
    refs: Refs | None = None
    error: GitOpsError | None = None


class Mirror:
    """A remote and what is here of it.

    Args:
        remote: speaks to the server.
        store: keeps the objects.
        threads: runs blocking calls.
        processes: runs the indexing of large packs.
        credentials: what is presented to the server.
        tokens: what to present where the credentials only say who gives it.
        limits: what may be fetched.
    """

    def __init__(
        self,
        remote: Remote | gitssh.Remote,
        store: Store,
        threads: Threads,
        processes: Processes,
        *,
        credentials: Credentials,
        tokens: Tokens | Lender | None = None,
        limits: gitpack.Limits | None = None,
    ) -> None:
        self.store = store
        self.used_s = 0.0
        """When it was last asked for, in the clock's monotonic seconds; kept by its owner."""
        self._remote = remote
        self._threads = threads
        self._processes = processes
        self._credentials = credentials
        self._tokens = tokens
        self._limits = limits or gitpack.Limits()
        self._next = _Listing()
        self._listing = asyncio.Lock()
        self._storing = asyncio.Lock()

    def renew(self, lender: Lender) -> None:
        """Borrow in the way of this lender from now on; what is lent already stays."""
        if isinstance(self._tokens, lent.Lender):
            self._tokens.borrow = lender.borrow

    async def references(self, prefix: str, timeout_s: float) -> Refs:
        """Return what the remote advertises under a prefix, together with all who ask meanwhile.

        A listing that has begun may miss a push that the caller knows of, so the caller joins the
        next one. Whoever gets the lock first lists for all; if that caller is cancelled, the next
        one does.

        Raises:
            giterrors.GitOperationError: the remote did not answer as it should.
            TransientError: there is nothing to present to it.
        """
        listing = self._next
        listing.prefixes.add(prefix)
        async with self._listing:
            if listing.refs is None and listing.error is None:
                await self._list(listing, timeout_s)
        if listing.error is not None:
            raise listing.error
        refs = listing.refs or {}
        return {name: sha for name, sha in refs.items() if name.startswith(prefix)}

    async def fetch(
        self, sha: str, label: str, timeout_s: float, *, tips: Sequence[str] = ()
    ) -> CommitInfo:
        """Return a commit, after fetching it unless it is here.

        Args:
            sha: the commit.
            label: under which the store remembers it.
            timeout_s: seconds that all of it may take.
            tips: where given, these are fetched with their whole history instead, and the commit
                must be in it.

        Raises:
            giterrors.GitOperationError: it could not be fetched.
            TransientError: there is nothing to present to the remote.
            gitstore.DamagedError: what is stored is damaged, or is not a commit.
        """
        async with self._storing:
            if not self.store.holds(sha):
                await self._bounded(timeout_s, "clone", self._receive(tips or [sha], tips))
            return await self._threads.run(self._record, sha, label)

    async def raw(self, sha: str, timeout_s: float) -> bytes:
        """Return any object as it is in Git, after fetching it unless it is here.

        Raises:
            giterrors.GitOperationError: it could not be fetched.
            TransientError: there is nothing to present to the remote.
            gitstore.DamagedError: what is stored is damaged.
        """
        async with self._storing:
            found = await self._threads.run(self.store.raw, sha)
            if found is None:
                await self._bounded(timeout_s, "clone", self._receive([sha], ()))
                found = await self._threads.run(self.store.raw, sha)
        if found is None:
            raise self._failure("clone", f"object {sha} not found")
        return found

    async def reset(self) -> None:
        """Throw the store's content away."""
        async with self._storing:
            await self._threads.run(self.store.reset)

    async def tidy(self) -> None:
        """Give memory back, and compact the store if it has grown too much.

        Raises:
            gitstore.DamagedError: the store is damaged.
        """
        async with self._storing:
            plan = await self._threads.run(self.store.plan_compaction)
            if plan is not None:
                await self._pack(plan.size, "compact", plan.source, plan.target, *plan.roots)
                await self._threads.run(self.store.adopt, plan)
            await self._threads.run(self.store.trim)

    def close(self) -> None:
        """Close connections and files; everything stays usable."""
        self._remote.close()
        self.store.close()

    async def _list(self, listing: _Listing, timeout_s: float) -> None:
        if self._next is listing:
            self._next = _Listing()
        prefixes = sorted(listing.prefixes)
        call = retry.idempotent(
            lambda: self._call(lambda abort: self._remote.list_refs(prefixes, abort)),
            on=giterrors.may_pass,
        )
        try:
            listing.refs = await self._bounded(timeout_s, "list remote for", call)
        except GitOpsError as err:
            listing.error = err

    async def _receive(self, wants: Sequence[str], tips: Sequence[str]) -> None:
        pack = await self._call(
            lambda abort: self._download(wants, abort, depth=None if tips else 1)
        )
        if pack is not None:
            try:
                await self._pack(LARGE_PACK_BYTES, "ingest", self.store.objects_directory, pack)
            finally:
                await self._threads.run(pack.unlink, missing_ok=True)

    def _download(self, wants: Sequence[str], abort: Abort, *, depth: int | None) -> Path | None:
        """Receive a pack and index it; return its path instead where it is a large one. Blocks."""
        descriptor, pack = self.store.spool()
        try:
            with os.fdopen(descriptor, "wb") as file:
                haves = self.store.haves() if depth else []
                sink = partial(_spool, file, self._limits.bytes)
                self._remote.fetch(wants, haves, depth=depth, sink=sink, abort=abort)
            size = pack.stat().st_size
            if size >= LARGE_PACK_BYTES or (size and self._is_large(pack)):
                return pack
            if size:
                _run_here(["ingest", str(self.store.objects_directory), str(pack)])
        except BaseException:
            pack.unlink(missing_ok=True)
            raise
        pack.unlink()
        return None

    def _is_large(self, pack: Path) -> bool:
        with gitstore.translating():
            return gitpack.inspect(pack, self._limits, _LARGE_CONTENT) >= _LARGE_CONTENT

    async def _pack(self, size: int, action: str, *arguments: Path | str) -> None:
        """Run `gitpack`, here or beside.

        Raises:
            gitpack.LimitError: there is more in it than is allowed.
            gitstore.DamagedError: it failed.
        """
        line = [action, *(str(argument) for argument in arguments)]
        if size < LARGE_PACK_BYTES:
            await self._threads.run(_run_here, line)
            return
        done = await self._processes.run(
            [sys.executable, "-I", gitpack.__file__, ",".join(map(str, self._limits)), *line],
            cwd=self.store.directory,
            env={},
            timeout_s=_INDEXING_S,
        )
        if done.returncode == gitpack.OVER_LIMIT:
            raise gitpack.LimitError(done.stderr.decode(errors="replace"))
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise gitstore.DamagedError(f"{action} failed: {last}")

    def _record(self, sha: str, label: str) -> CommitInfo:
        if not self.store.contains(sha):
            raise self._failure("clone", f"object {sha} not found")
        return self.store.record(label, sha)

    async def _call(self, call: Callable[[Abort], T]) -> T:
        """Run a blocking call of the remote; being cancelled ends the call too."""
        if self._tokens is None:
            self._remote.authorization = self._credentials.authorization
        else:
            self._remote.authorization = await self._tokens.authorization(self._remote.url)
        abort = gitclient.Abort()
        try:
            return await self._threads.run(call, abort)
        except BaseException:
            abort.trigger()
            raise

    async def _bounded(self, timeout_s: float, doing: str, work: Awaitable[T]) -> T:
        """Await something under a deadline; what fails about Git is told in users' words."""
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except TimeoutError as err:
            limit = durations.format_go(timeout_s)
            raise self._failure(doing, f"timed out after {limit}") from err
        except (gitstore.DamagedError, GitOpsError):
            raise
        except (process.ProcessError, OSError) as err:
            raise self._failure(doing, str(err)) from err
        except Exception as err:
            if self._tokens is not None and giterrors.is_refusal(err):
                self._tokens.doubt()
            doing = f"unable to {doing} '{self._remote.url}'"
            raise giterrors.translate(err, doing, self._credentials) from err

    def _failure(self, doing: str, text: str) -> giterrors.GitOperationError:
        return giterrors.GitOperationError(f"unable to {doing} '{self._remote.url}': {text}")


def _spool(file: BinaryIO, limit: int, data: bytes) -> None:
    """Write what was received.

    Raises:
        gitpack.LimitError: it is more than is allowed.
    """
    if file.tell() + len(data) > limit:
        raise gitpack.LimitError(f"more than {limit >> 20} MiB were sent")
    file.write(data)


def _run_here(line: Sequence[str]) -> None:
    with gitstore.translating():
        gitpack.main(line)
