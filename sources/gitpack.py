"""Indexing and compacting of pack files, here or in a process of its own.

Resolving the deltas of a large pack costs many times its size in memory, and Python gives little
of that back. So the daemon calls these functions for small packs and runs this file as a program
for large ones. It imports nothing of the daemon's for that reason.

A pack of some kilobytes can describe gigabytes. Before anything is unpacked as a whole, `inspect`
reads what each object claims to be, and holds it to that.

::

    ValueError
    └── LimitError    a pack that is larger than what is allowed, in one way or another
"""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import zlib
from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dulwich.object_store import DiskObjectStore
from dulwich.objects import Commit, ObjectID, parse_tree
from dulwich.pack import UnpackedObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OVER_LIMIT = 3
"""The exit status of a process that met a `LimitError`; its last line says which."""
_MIB = 1024 * 1024
_PIECE = 64 * 1024
_OFS_DELTA, _REF_DELTA = 6, 7
_DELTA_CACHE_BYTES = 4 * 1024 * 1024
KIND = 0o170000
"""The bits of a Git mode that tell files, links, directories and submodules apart."""
DIRECTORY, SUBMODULE, FILE = 0o040000, 0o160000, 0o100000
_LEVEL = 1


class LimitError(ValueError):
    """A pack that is larger than what is allowed; the text says in which way."""


class Limits(NamedTuple):
    """What a repository may cost us."""

    objects: int = 1_000_000
    """Objects of one fetch."""
    bytes: int = 2048 * _MIB
    """Bytes of one fetch as they are sent, and of an artifact's files."""
    file_bytes: int = 256 * _MIB
    """Bytes of one file."""


def inspect(pack: Path, limits: Limits, enough: int | None = None) -> int:
    """Return how many bytes the objects of a pack have in all; unpacks a little at a time.

    Args:
        pack: the file as it was received.
        limits: what it may hold.
        enough: a sum at which it makes no difference how many more there are.

    Raises:
        LimitError: it holds more, or an object holds more than it claims.
        ValueError: it is damaged.
    """
    with pack.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if len(data) < 32 or data[:4] != b"PACK":
            raise ValueError("not a pack")
        count = int.from_bytes(data[8:12], "big")
        if count > limits.objects:
            raise LimitError(f"{count} objects were sent, and {limits.objects} are allowed")
        position, total = 12, 0
        for _ in range(count):
            position, size = _object(data, position, limits.file_bytes)
            total += size
            if enough is not None and total >= enough:
                break
        return total


def _object(data: mmap.mmap, position: int, limit: int) -> tuple[int, int]:
    """Return where the next object begins, and the size of this one, deltas applied."""
    try:
        byte = data[position]
        kind, size, shift = byte >> 4 & 7, byte & 15, 4
        position += 1
        while byte & 0x80:
            byte = data[position]
            size |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
        if kind == _REF_DELTA:
            position += 20
        while kind == _OFS_DELTA:
            position += 1
            if not data[position - 1] & 0x80:
                break
    except IndexError as err:
        raise ValueError("the pack ends in the middle of an object") from err
    _allow(size, limit)
    position, start = _inflate(data, position, size)
    if kind in {_OFS_DELTA, _REF_DELTA}:
        _, rest = _delta_size(start)
        size, _ = _delta_size(rest)
        _allow(size, limit)
    return position, size


def _inflate(data: mmap.mmap, position: int, size: int) -> tuple[int, bytes]:
    """Return where a compressed stream ends, and the first bytes of its content."""
    stream, start, produced = zlib.decompressobj(), b"", 0
    while not stream.eof:
        piece = stream.unconsumed_tail
        if not piece:
            piece = data[position : position + min(_PIECE, size + 64)]
            position += len(piece)
            if not piece:
                raise ValueError("the pack ends in the middle of an object")
        content = stream.decompress(piece, _PIECE)
        start = start or content[:32]
        produced += len(content)
        if produced > size:
            raise LimitError("an object holds more than it claims")
    return position - len(stream.unused_data), start


def _delta_size(text: bytes) -> tuple[int, bytes]:
    size = shift = 0
    for index, byte in enumerate(text):
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, text[index + 1 :]
    raise ValueError("a delta ends before it says how large its result is")


def _allow(size: int, limit: int) -> None:
    if size > limit:
        raise LimitError(f"a file of {size >> 20} MiB was sent, and {limit >> 20} MiB are allowed")


def open_objects(directory: Path) -> DiskObjectStore:
    """Open an object store, or make an empty one.

    Nothing in it is fsynced: all of it can be fetched again.
    """
    if not (directory / "pack").is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        DiskObjectStore.init(directory).close()
    return DiskObjectStore(
        directory, pack_compression_level=_LEVEL, delta_base_cache_limit=_DELTA_CACHE_BYTES
    )


def ingest(objects: DiskObjectStore, pack: Path) -> None:
    """Index a received pack, thin or not, and add it to the store.

    Raises:
        Exception: the pack is damaged, or refers to objects that the store lacks.
    """
    file, commit, abort = objects.add_pack()
    try:
        with pack.open("rb") as source:
            shutil.copyfileobj(source, file)
        commit()
    except BaseException:
        with suppress(FileNotFoundError):  # moved into place before it proved bad
            abort()
        raise


def compact(objects: DiskObjectStore, roots: Iterable[ObjectID], target: Path) -> None:
    """Copy what some commits and trees need into a new store, as one pack.

    Args:
        objects: the store to read.
        roots: commits, whose history is left behind, and trees.
        target: where the new store is made; must not exist.

    Raises:
        KeyError: an object is missing.
    """
    needed = _closure(objects, roots)
    with closing(open_objects(target)) as new:
        new.add_pack_data(len(needed), _whole(objects, needed))


def _closure(objects: DiskObjectStore, roots: Iterable[ObjectID]) -> set[ObjectID]:
    needed: set[ObjectID] = set()
    trees: deque[ObjectID] = deque()
    for root in roots:
        found = objects[root]
        needed.add(root)
        trees.append(found.tree if isinstance(found, Commit) else root)
    while trees:
        tree = trees.popleft()
        needed.add(tree)
        for _, mode, sha in parse_tree(objects.get_raw(tree)[1], 20):
            kind = mode & KIND
            if kind == DIRECTORY and sha not in needed:
                trees.append(ObjectID(sha))
            elif kind != SUBMODULE:
                needed.add(ObjectID(sha))
    return needed


def _whole(objects: DiskObjectStore, needed: Iterable[ObjectID]) -> Iterator[UnpackedObject]:
    for sha in needed:
        kind, data = objects.get_raw(sha)
        yield UnpackedObject(kind, sha=bytes.fromhex(sha.decode()), decomp_chunks=[data])


def main(arguments: Sequence[str]) -> None:
    """Run ``ingest OBJECTS PACK`` or ``compact OBJECTS TARGET ROOT...``.

    Raises:
        Exception: see `ingest` and `compact`.
    """
    action, directory, path, *roots = arguments
    with closing(open_objects(Path(directory))) as objects:
        if action == "ingest":
            ingest(objects, Path(path))
        else:
            compact(objects, [ObjectID(root.encode()) for root in roots], Path(path))


def _main_beside(arguments: Sequence[str]) -> None:
    """Run ``LIMITS ACTION ...`` with limits on memory too, where the system has them."""
    text, *rest = arguments
    limits = Limits(*map(int, text.split(",")))
    path = Path(rest[2])
    try:
        if rest[0] == "ingest":
            inspect(path, limits)
            _bound_memory(path.stat().st_size, limits)
        main(rest)
    except LimitError as err:
        sys.exit(_complain(str(err)))
    except MemoryError:
        sys.exit(_complain("the pack takes more memory to unpack than can be meant in earnest"))


def _bound_memory(pack_bytes: int, limits: Limits) -> None:
    """Let deltas of deltas take so much, and no more than that."""
    import resource

    most = 2 * pack_bytes + 8 * limits.file_bytes + 512 * _MIB
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux" and hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _complain(text: str) -> int:
    sys.stderr.write(text)
    return OVER_LIMIT


if __name__ == "__main__":
    os.nice(5)
    _main_beside(sys.argv[1:])
