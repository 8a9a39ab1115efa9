"""Chart repositories over HTTP: their index and their charts.

An index is downloaded only when it changed, as the server's ``ETag`` and ``Last-Modified`` tell,
and once for everything that names the repository with the same credentials. What was downloaded
lies on disk, converted, and holds no memory; the files may be deleted at any time.

Everything that goes wrong between us and a server is a `sources.oci.errors.RegistryError`, as with
registries.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime import process, retry
from sources.helm import convert, kept, server, urls
from sources.oci import joint
from sources.oci.errors import ConnectionFailed, ContentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from yarl import URL

    from runtime.clock import Clock
    from runtime.limits import Processes, Threads
    from sources.helm.index import Entry
    from sources.helm.server import Repository

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
        self._server = server.Server(threads)
        self._fetching: joint.Joint[Index] = joint.Joint()
        self._is_swept = False

    async def aclose(self) -> None:
        """Close all connections."""
        await self._server.aclose()

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
            oldest = self._clock.now().timestamp() - UNUSED_S
            await self._threads.run(kept.sweep, self._directory, oldest)
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
        async with server.within(repository, url):
            await self._receive(repository, url, CHART_BYTES, content)
        expected = entry.digest.removeprefix("sha256:").lower()
        found = hashlib.sha256(content).hexdigest()
        if expected and found != expected:
            raise ContentError(
                f"{server.shown(url)} has the digest sha256:{found}, and not sha256:{expected} as "
                "the index says; update the index, or the chart in it"
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
        known = await self._threads.run(kept.read, folder)
        url = urls.index_of(repository.url)
        async with server.within(repository, url):
            found = await self._download(
                repository, url, downloaded, known.conditions if known else {}
            )
        state = found or known
        if state is None:
            raise ConnectionFailed(f"{server.shown(url)} is said to be unchanged, unasked")
        target = folder / state.file
        if known is None or known.digest != state.digest:
            await self._convert(downloaded, target)
        if found is None:
            await self._threads.run(os.utime, folder / kept.STATE)  # for `_sweep`
        else:
            await self._threads.run(kept.write, folder, found, known)
        return Index(target, f"sha256:{state.digest}")

    async def _download(
        self, repository: Repository, url: URL, target: Path, conditions: Mapping[str, str]
    ) -> kept.State | None:
        """Write an index to a file, unless it is the one we know; None where it is."""

        async def once() -> kept.State | None:
            file = await self._threads.open(target.open, "wb")
            try:
                return await self._receive_index(repository, url, file, conditions)
            finally:
                await self._threads.run(file.close)

        return await retry.idempotent(once, on=server.may_pass)

    async def _receive_index(
        self, repository: Repository, url: URL, file: IO[bytes], conditions: Mapping[str, str]
    ) -> kept.State | None:
        digest, pending = hashlib.sha256(), bytearray()
        async with self._server.open(repository, url, conditions) as response:
            if response.status == HTTPStatus.NOT_MODIFIED:
                return None
            async for chunk in server.chunks(response, url, INDEX_BYTES):
                digest.update(chunk)
                pending += chunk
                if len(pending) >= _WRITE_BYTES:
                    await self._threads.run(file.write, bytes(pending))
                    pending.clear()
            etag = response.headers.get("ETag", "")
            modified = response.headers.get("Last-Modified", "")
        await self._threads.run(file.write, bytes(pending))
        return kept.State(kept.FORMAT, digest.hexdigest(), etag, modified)

    async def _receive(
        self, repository: Repository, url: URL, limit: int, content: bytearray
    ) -> None:
        async def once() -> None:
            content.clear()
            async with self._server.open(repository, url, {}) as response:
                async for chunk in server.chunks(response, url, limit):
                    content.extend(chunk)

        await retry.idempotent(once, on=server.may_pass)

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
