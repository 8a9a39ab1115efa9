"""Artifacts as files: a reproducible ``tar.gz``, written from a tree; `sources.archive` reads it.

The same tree always gives the same bytes: entries in the order of a directory walk, no owner, no
times, modes reduced to three. A file is a row of segments (`sources.segments`) of some 32 files
each, so that after a small change nearly all of it is copied from the file before.
"""

from __future__ import annotations

import hashlib
import tarfile
from typing import TYPE_CHECKING, BinaryIO, Final

from sources import segments
from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sources.segments import Written
    from sources.tree import Entry, Tree

_BLOCK: Final = 512
_USTAR: Final = b"ustar\x0000"
_END: Final = b"\0" * (2 * _BLOCK)
_FORMAT: Final = b"gitopsd tar 1"
"""Part of every segment's key; to be changed with anything that changes the bytes."""
_CUT: Final = 0x1F
"""Where a file's id has these bits clear a segment ends: after 32 files on average."""
_LONGEST: Final = 128
"""Files after which one ends at the latest."""


def write(
    tree: Tree,
    file: BinaryIO,
    previous: BinaryIO | None = None,
    *,
    limit_bytes: int | None = None,
) -> Written:
    """Write a tree as a reproducible ``tar.gz``. Blocks; needs memory for one file at a time.

    Args:
        tree: what to pack.
        file: where to write, open for writing in binary mode.
        previous: a whole file written by this function; what is equal in it is copied, so that
            only changed files, and some beside them, are read and compressed. It does not change
            what is written.
        limit_bytes: what the uncompressed content may have; None for no limit.

    Raises:
        OSError: the file system refused.
        segments.TooLargeError: there is more content than that.
    """
    writer = segments.Writer(file, segments.Previous(previous) if previous else None, limit_bytes)
    seen = {""}
    for group in _groups(tree.entries()):
        parents = [_new_parents(entry.path, seen) for entry in group]
        writer.add(_key(group, parents), _parts(tree, group, parents))
    writer.add(hashlib.blake2b(_FORMAT, digest_size=segments.KEY_BYTES).digest(), [_END])
    return writer.close()


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut the files into segments by what they are, so that a change moves no other border."""
    group: list[Entry] = []
    for entry in entries:
        group.append(entry)
        if not entry.id[0] & _CUT or len(group) == _LONGEST:
            yield group
            group = []
    if group:
        yield group


def _key(group: list[Entry], parents: list[Sequence[str]]) -> bytes:
    """Return what stands for the content of a segment."""
    state = hashlib.blake2b(_FORMAT, digest_size=segments.KEY_BYTES)
    for (path, blob, mode), directories in zip(group, parents, strict=True):
        name = path.encode("utf-8", "surrogateescape")
        state.update(b"%d %o %b %b\0" % (len(directories), mode, blob, name))
    return state.digest()


def _parts(tree: Tree, group: list[Entry], parents: list[Sequence[str]]) -> Iterator[bytes]:
    for (path, _, mode), directories in zip(group, parents, strict=True):
        for directory in directories:
            yield _header(f"{directory}/", trees.DIRECTORY_MODE, 0, b"5")
        content = tree.read(path)
        yield _header(path, mode, len(content), b"0")
        yield content
        yield b"\0" * (-len(content) % _BLOCK)


def _new_parents(path: str, seen: set[str]) -> Sequence[str]:
    """Return the directories above ``path`` that were not seen yet, outermost first."""
    new: list[str] = []
    parent = path.rpartition("/")[0]
    while parent not in seen:
        seen.add(parent)
        new.append(parent)
        parent = parent.rpartition("/")[0]
    return new[::-1]


def _header(name: str, mode: int, size: int, kind: bytes) -> bytes:
    """Return the tar header of one entry.

    `tarfile` takes ten times as long for the common case of a short ASCII name, which is why it is
    asked for the others only.
    """
    if len(name) > 100 or not name.isascii() or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.mode, info.size, info.type = mode, size, kind
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    head = b"%b%07o\x000000000\x000000000\x00%011o\x0000000000000\x00" % (
        name.encode().ljust(100, b"\0"),
        mode,
        size,
    )
    tail = kind + b"\0" * 100 + _USTAR + b"\0" * 247
    checksum = sum(head) + sum(tail) + 8 * 32
    return b"%b%06o\0 %b" % (head, checksum, tail)
