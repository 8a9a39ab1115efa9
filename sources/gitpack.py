"""Indexing and compacting of pack files, here or in a process of its own.

Resolving the deltas of a large pack costs many times its size in memory, and Python gives little
of that back. So the daemon calls these functions for small packs and runs this file as a program
for large ones. It imports nothing of the daemon's for that reason.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dulwich.object_store import DiskObjectStore
from dulwich.objects import Commit, ObjectID, parse_tree
from dulwich.pack import UnpackedObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DELTA_CACHE_BYTES = 4 * 1024 * 1024
KIND = 0o170000
"""The bits of a Git mode that tell files, links, directories and submodules apart."""
DIRECTORY, SUBMODULE, FILE = 0o040000, 0o160000, 0o100000
_LEVEL = 1


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


if __name__ == "__main__":
    os.nice(5)
    main(sys.argv[1:])
