"""Artifacts that somebody else stores, fetched once for all who read them.

A file is named by its digest, so it never goes stale; the last used ones are kept.

::

    DownloadError    an artifact that cannot be had, or is not what was announced
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from sources.archive import ArchiveTree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from api.artifact import Artifact
    from runtime.limits import Threads
    from sources.tree import Tree
    from sources.untar import Limits

    Stream = Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]
    """Opens what is to be downloaded."""

KEPT: Final = 16
"""Files that are kept, the last used ones, packed and unpacked."""
DIGEST: Final = re.compile(
    r"(?:(?P<algorithm>sha256|sha384|sha512|sha1):)?(?P<hex>[0-9a-f]{40,128})"
)
_BATCH: Final = 256 * 2**10
_ABANDONED_S: Final = 3600.0
"""Seconds after which nobody writes any more to a file that is not whole."""


class DownloadError(Exception):
    """An artifact that cannot be had; the text is fit for users."""


class Downloads:
    """The downloaded artifacts of one cluster.

    Args:
        directory: for the files; made when it is first needed.
        threads: hashes and writes.
    """

    def __init__(self, directory: Path, threads: Threads) -> None:
        self._directory, self._threads = directory, threads
        self._trees: dict[str, ArchiveTree] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def open(self, artifact: Artifact, stream: Stream, limits: Limits) -> Tree:
        """Return the content of an artifact.

        Args:
            artifact: what was announced.
            stream: opens the file where it is; not called where it is here already.
            limits: how large it may be, packed and unpacked.

        Raises:
            DownloadError: see there.
            OSError: the disk refused.
        """
        path = await self.file(artifact, stream, limits.size_bytes)
        tree = self._trees.pop(path.name, None) or ArchiveTree(path, self._directory, limits)
        self._trees[path.name] = tree
        while len(self._trees) > KEPT:
            self._trees.pop(next(iter(self._trees)))
        return tree

    async def file(self, artifact: Artifact, stream: Stream, limit: int) -> Path:
        """Return the file of an artifact; arguments and errors as for `open`."""
        found = DIGEST.fullmatch(artifact.digest)
        if not found:
            raise DownloadError(
                "failed to verify archive: "
                + (f"unknown digest '{artifact.digest}'" if artifact.digest else "empty digest")
            )
        algorithm = found["algorithm"] or "sha256"
        path = self._directory / f"{algorithm}-{found['hex']}"
        async with self._turn(path.name):
            if not await self._threads.run(_is_whole, path, algorithm, found["hex"]):
                await self._fetch(path, algorithm, found["hex"], stream, limit)
        return path

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Let one caller at a time see to a file."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop(name, None)

    async def _fetch(
        self, path: Path, algorithm: str, digest: str, stream: Stream, limit: int
    ) -> None:
        """Download a file and put it into its place.

        Raises:
            DownloadError: it is too large, or has another digest.
            OSError: the disk refused; nothing is left.
        """
        writer = await self._threads.open(_Writer, self._directory, algorithm)
        try:
            failure = await _pour(stream, writer, self._threads, limit)
            if failure is not None:
                raise failure
            if writer.state.hexdigest() != digest:
                raise DownloadError(
                    f"computed digest doesn't match provided '{algorithm}:{digest}' (check whether "
                    "file size exceeds max download size)"
                )
            await self._threads.run(writer.keep, path)
        finally:
            await self._threads.run(writer.close)
        await self._threads.run(_prune, self._directory, path)


class _Writer:
    """A file beside the others, hashed as it is written. Its methods block."""

    def __init__(self, directory: Path, algorithm: str) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=directory, prefix=".writing-")
        self._file, self._path = os.fdopen(handle, "wb"), Path(name)
        self.state = hashlib.new(algorithm, usedforsecurity=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        self.state.update(data)
        self._file.write(data)

    def keep(self, path: Path) -> None:
        self._file.close()
        self._path.replace(path)

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            self._path.unlink(missing_ok=True)


async def _pour(stream: Stream, writer: _Writer, threads: Threads, limit: int) -> Exception | None:
    """Write what a stream gives; return what went wrong on this side of it."""
    batch, size = bytearray(), 0
    async with stream() as chunks:
        async for chunk in chunks:
            batch += chunk
            size += len(chunk)
            if size > limit:
                return DownloadError(f"the artifact is larger than {limit} bytes")
            if len(batch) >= _BATCH and (failure := await _written(writer, batch, threads)):
                return failure
    return await _written(writer, batch, threads)


async def _written(writer: _Writer, batch: bytearray, threads: Threads) -> OSError | None:
    try:
        await threads.run(writer.write, bytes(batch))
    except OSError as err:
        return err
    batch.clear()
    return None


def _is_whole(path: Path, algorithm: str, digest: str) -> bool:
    """Say whether a file is there and has a digest, and note that it is used."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        os.utime(path)
    except OSError:
        return False
    return found == digest


def _prune(directory: Path, newest: Path) -> None:
    """Remove the files that were not used for longest, and what a crash left behind."""
    abandoned = newest.stat().st_mtime - _ABANDONED_S
    for path in directory.glob(".writing-*"):
        if path.stat().st_mtime < abandoned:
            path.unlink(missing_ok=True)
    files = sorted(directory.glob("sha*-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT:]:
        path.unlink(missing_ok=True)
