"""Brings a bucket's objects together into one tree.

What the last artifact holds under the same key and ETag is taken from there; everything else is
downloaded, several objects at once, into a file that has no name and so outlives nothing.
"""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from runtime import retry
from sources import tree as trees
from sources import web
from sources.bucket import listing
from sources.bucket.listing import BrokenError, BucketError, ListingError, MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runtime.limits import Threads
    from sources.bucket.listing import Bucket, Index, Listed
    from sources.tree import Entry, Tree

MAX_OBJECT_BYTES: Final = 256 * 2**20
"""Bytes of one object."""
IGNORE_FILE_BYTES: Final = 2**20
_BATCH: Final = 256 * 2**10


class Extent(NamedTuple):
    """A stretch of a file."""

    offset: int
    size: int


class Spool:
    """A file without a name that several downloads write to side by side.

    Args:
        directory: a directory on disk. Making the spool blocks.
        limit: bytes that all downloads together may have.

    Raises:
        OSError: the disk refuses.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        # Closed by the finaliser: a spool lives as long as the tree that reads it.
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - see above
        weakref.finalize(self, self._file.close)
        self._size, self._limit = 0, limit

    def take(self, size: int) -> Extent:
        """Give out a stretch to write to.

        Raises:
            BucketError: all of them together are too much.
        """
        extent = Extent(self._size, size)
        self._size += size
        if self._size > self._limit:
            raise BucketError(f"the objects have more than {self._limit} bytes; name a prefix")
        return extent

    def write(self, extent: Extent, data: bytes) -> None:
        """Fill a stretch. Blocks."""
        done = 0
        while done < len(data):
            done += os.pwrite(self._file.fileno(), data[done:], extent.offset + done)

    def read(self, extents: Sequence[Extent]) -> bytes:
        """Return what was written. Blocks."""
        number = self._file.fileno()
        return b"".join(os.pread(number, extent.size, extent.offset) for extent in extents)


@dataclass(frozen=True, slots=True)
class Known:
    """What there is from last time."""

    etags: Mapping[str, str] = field(default_factory=dict)
    """By key."""
    tree: Tree | None = None
    """What the last artifact holds."""


class ObjectTree:
    """Objects at their places; see `sources.tree.Tree`. Its methods block.

    Args:
        spool: holds what was downloaded.
        fetched: where, by path.
        kept: paths to take from the tree there was.
        old: that tree.
    """

    def __init__(
        self,
        spool: Spool,
        fetched: Mapping[str, Sequence[Extent]],
        kept: Sequence[str],
        old: Tree | None,
    ) -> None:
        self._spool, self._fetched, self._kept, self._old = spool, fetched, frozenset(kept), old

    @functools.cached_property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        return trees.digest(self.entries())

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`."""
        return self._entries

    @functools.cached_property
    def _entries(self) -> tuple[Entry, ...]:
        found = [
            trees.Entry(path, trees.blob_id(self.read(path)), trees.FILE_MODE)
            for path in self._fetched
        ]
        found += [entry for entry in self._before() if entry.path in self._kept]
        return tuple(sorted(found, key=lambda entry: trees.walk_key(entry.path)))

    def _before(self) -> Sequence[Entry]:
        return self._old.entries() if self._old else ()

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        extents = self._fetched.get(path)
        if extents is not None:
            return self._spool.read(extents)
        if self._old is None or path not in self._kept:
            raise FileNotFoundError(path)
        return self._old.read(path)

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)


class Fetched(NamedTuple):
    """What came of a fetch."""

    tree: Tree
    etags: dict[str, str]
    """Of the objects in the tree, by key: those that vanished meanwhile are left out, and those
    that changed meanwhile have their newer one."""
    downloaded: int
    """How many objects were downloaded."""


class _Fetch:
    """One fetch. See `fetch`."""

    def __init__(self, bucket: Bucket, wanted: Index, spool: Spool, threads: Threads) -> None:
        self._bucket, self._wanted, self._spool, self._threads = bucket, wanted, spool, threads
        self.extents: dict[str, list[Extent]] = {}
        """By key."""
        self.etags = {key: each.etag for key, each in wanted.items()}
        self._error: Exception | None = None

    async def run(self, keys: Iterator[str]) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(web.CONNECTIONS):
                group.create_task(self._work(keys), name=f"bucket download {number}")
        if self._error is not None:
            raise self._error

    async def _work(self, keys: Iterator[str]) -> None:
        for key in keys:
            if self._error is not None:
                return
            try:
                await retry.idempotent(partial(self._one, self._wanted[key]), on=_may_pass)
            except MissingError:
                del self.etags[key]
            except BucketError as err:
                self._error = BucketError(f"failed to get '{key}' object: {err}")
            except OSError as err:
                self._error = err

    async def _one(self, wanted: Listed) -> None:
        extents: list[Extent] = []
        async with self._bucket.content(wanted.key, MAX_OBJECT_BYTES) as content:
            batch = bytearray()
            async for chunk in content.chunks():
                batch += chunk
                if len(batch) >= _BATCH:
                    extents.append(await self._write(bytes(batch)))
                    batch.clear()
            if batch:
                extents.append(await self._write(bytes(batch)))
        size = sum(extent.size for extent in extents)
        is_same = content.etag in {"", wanted.etag}
        if is_same and not content.is_measured and size != wanted.size:
            raise BucketError(f"it ended after {size} of {wanted.size} bytes")
        self.extents[wanted.key] = extents
        if content.etag:
            self.etags[wanted.key] = content.etag

    async def _write(self, data: bytes) -> Extent:
        extent = self._spool.take(len(data))
        await self._threads.run(self._spool.write, extent, data)
        return extent


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, BrokenError)


async def fetch(
    bucket: Bucket, wanted: Index, known: Known, spool: Spool, threads: Threads
) -> Fetched:
    """Return the objects of a bucket as a tree.

    Args:
        bucket: which.
        wanted: its objects, as listed.
        known: what need not be downloaded.
        spool: holds what is; the tree reads from it.
        threads: reads and writes files.

    Raises:
        BucketError: an object cannot be fetched, or lies where no file can.
        OSError: the disk refuses.
    """
    paths = listing.paths(wanted)
    have: frozenset[str] = frozenset()
    if known.tree is not None:
        have = frozenset(entry.path for entry in await threads.run(known.tree.entries))
    kept = {
        key
        for key, each in wanted.items()
        if known.etags.get(key) == each.etag and paths[key] in have
    }
    run = _Fetch(bucket, wanted, spool, threads)
    await run.run(iter([key for key in wanted if key not in kept]))
    fetched = {paths[key]: extents for key, extents in run.extents.items()}
    tree = ObjectTree(spool, fetched, [paths[key] for key in kept], known.tree)
    return Fetched(tree, run.etags, len(fetched))


async def ignore_file(bucket: Bucket, name: str) -> str:
    """Return the text of the bucket's own ignore file, ``""`` where it has none.

    Raises:
        ListingError: it cannot be read.
    """
    try:
        async with bucket.content(name, IGNORE_FILE_BYTES) as content:
            body = b"".join([chunk async for chunk in content.chunks()])
    except MissingError:
        return ""
    except BucketError as err:
        raise ListingError(f"failed to get Etag for '{name}' object: {err}") from err
    return body.decode("utf-8", "surrogateescape")


# The ETags of the last artifact -----------------------------------------------------------------


def recall(path: Path, revision: str) -> dict[str, str]:
    """Return the ETags that an artifact was made of, or nothing where they are not known. Blocks.

    Args:
        path: where `remember` put them.
        revision: of the artifact. It is a digest of the ETags, so no others pass for them.
    """
    try:
        etags = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return etags if listing.revision(etags) == revision else {}


def remember(path: Path, etags: Mapping[str, str]) -> None:
    """Keep the ETags of an artifact. Blocks.

    Raises:
        OSError: the disk refuses; what was kept before is gone or whole.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_bytes(msgspec.json.encode(etags))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
