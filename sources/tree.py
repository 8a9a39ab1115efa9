"""A read-only view of what an artifact contains, wherever the bytes lie.

Reconcilers read artifacts through `Tree` alone. `sources.gittree.GitTree` reads straight from the
bare object store, `sources.archive.ArchiveTree` from the stored tarball; both show the same
entries under the same identifiers, so a build that was cached from the one is valid for the other.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FILE_MODE = 0o600
"""Mode of an ordinary file in an artifact, as in Flux."""
EXECUTABLE_MODE = 0o700
"""Mode of a file with any execute bit."""
DIRECTORY_MODE = 0o750


class UnsafePathError(ValueError):
    """A path that would leave its directory, or that no file system should be given."""


class Entry(NamedTuple):
    """One regular file."""

    path: str
    """Slash-separated and relative. Bytes that are not UTF-8 are surrogate-escaped."""
    id: bytes
    """The Git blob id of the content, 20 bytes: equal exactly when the content is."""
    mode: int
    """`FILE_MODE` or `EXECUTABLE_MODE`."""


class Tree(Protocol):
    """What an artifact contains: ignore rules applied, no symlinks, no unsafe paths."""

    @property
    def id(self) -> str:
        """A hex digest that changes exactly when a path, a mode or a content changes."""
        ...

    def entries(self) -> Sequence[Entry]:
        """Return all files in the order of a lexical directory walk."""
        ...

    def read(self, path: str) -> bytes:
        """Return one file's content.

        Raises:
            FileNotFoundError: the tree has no such file.
        """
        ...

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """Write the files below ``prefix`` into an empty directory, with their full paths.

        Args:
            directory: where to write; nothing is written outside it.
            prefix: a directory of the tree, ``""`` for all of it.

        Raises:
            OSError: the file system refused.
        """
        ...


def walk_key(path: str) -> str:
    """Return the sort key that orders paths as a lexical directory walk visits them."""
    return path.replace("/", "\0")


def check_component(name: str) -> str:
    """Return one path component.

    Raises:
        UnsafePathError: it is empty, ``.`` or ``..``, or holds a separator or a NUL byte.
    """
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise UnsafePathError(f"unsafe path component {name!r}")
    return name


def check_path(path: str) -> str:
    """Return a relative path whose every component is safe.

    Raises:
        UnsafePathError: see `check_component`.
    """
    for component in path.split("/"):
        check_component(component)
    return path


def digest(entries: Iterable[Entry]) -> str:
    """Return the `Tree.id` of these entries."""
    state = hashlib.blake2b(digest_size=16)
    for path, blob, mode in entries:
        state.update(b"%o %b %b\0" % (mode, blob, path.encode("utf-8", "surrogateescape")))
    return state.hexdigest()


class BlobHash:
    """The Git blob id of content that arrives piece by piece.

    Args:
        size: bytes of all of it.
    """

    def __init__(self, size: int) -> None:
        self._state = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, part: bytes) -> None:
        """Take the next piece."""
        self._state.update(part)

    def digest(self) -> bytes:
        """Return the id, 20 bytes."""
        return self._state.digest()


def blob_id(content: bytes) -> bytes:
    """Return the Git blob id of some content, 20 bytes."""
    state = BlobHash(len(content))
    state.update(content)
    return state.digest()


def below(entries: Iterable[Entry], prefix: str) -> Iterable[Entry]:
    """Return the entries of one directory and everything under it; ``""`` and ``.`` mean all."""
    start = prefix.strip("/").removeprefix("./")
    if start in {"", "."}:
        return entries
    return (entry for entry in entries if entry.path.startswith(f"{start}/"))


def write_out(tree: Tree, directory: Path, prefix: str = "") -> None:
    """Materialise a tree; the common half of every `Tree.checkout`.

    Raises:
        OSError: the file system refused; a file that exists already is refused too.
    """
    made = {""}
    for path, _, mode in below(tree.entries(), prefix):
        parent = path.rpartition("/")[0]
        if parent not in made:
            (directory / parent).mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            made.add(parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(directory / path, flags, mode), "wb") as file:
            file.write(tree.read(path))
