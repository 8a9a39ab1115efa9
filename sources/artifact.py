"""Artifacts as files: a reproducible ``tar.gz``, written from a tree and read back as one.

The same tree always gives the same bytes: entries in the order of a directory walk, no owner, no
times, modes reduced to three. A file is a row of segments (`sources.segments`) of some 32 files
each, so that after a small change nearly all of it is copied from the file before.

Reading trusts nothing: links, devices and paths that lead outside are passed over, and what is
shown has the identifiers that the Git tree it came from has.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import weakref
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

from sources import segments
from sources import tree as trees

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

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


class ArchiveTree:
    """The content of a stored ``tar.gz``, unpacked once into a file without a name.

    Args:
        path: the archive. It is opened when the tree is first asked something.
        scratch: a directory for the unpacked content, on disk rather than in memory.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path
        self._scratch = scratch
        self._content: dict[str, tuple[int, int]] = {}
        self._entries: tuple[Entry, ...] | None = None
        self._file: BinaryIO | None = None
        self._id = ""

    @property
    def id(self) -> str:
        """See `sources.tree.Tree`."""
        if not self._id:
            self._id = trees.digest(self.entries())
        return self._id

    def entries(self) -> Sequence[Entry]:
        """See `sources.tree.Tree`.

        Raises:
            OSError: the archive cannot be read, or is damaged.
        """
        if self._entries is None:
            self._entries = tuple(self._unpack())
        return self._entries

    def read(self, path: str) -> bytes:
        """See `sources.tree.Tree`."""
        self.entries()
        if path not in self._content or self._file is None:
            raise FileNotFoundError(path)
        offset, size = self._content[path]
        self._file.seek(offset)
        return self._file.read(size)

    def checkout(self, directory: Path, prefix: str = "") -> None:
        """See `sources.tree.Tree`."""
        trees.write_out(self, directory, prefix)

    def _unpack(self) -> list[Entry]:
        # Closed by the finaliser: a tree lives as long as whoever reads it.
        file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 - see above
        weakref.finalize(self, file.close)
        found: list[Entry] = []
        try:
            with tarfile.open(self._path, "r:gz") as archive:
                for path, mode, content in _regular_files(archive):
                    self._content[path] = (file.tell(), len(content))
                    file.write(content)
                    found.append(trees.Entry(path, trees.blob_id(content), mode))
        except FileNotFoundError as err:
            raise OSError(f"{self._path.name} is not in storage") from err
        except (tarfile.TarError, zlib.error, EOFError) as err:
            raise OSError(f"{self._path.name} is damaged: {err}") from err
        self._file = file
        return sorted(found, key=lambda entry: trees.walk_key(entry.path))


def _regular_files(archive: tarfile.TarFile) -> Iterator[tuple[str, int, bytes]]:
    for member in archive:
        if not member.isreg():
            continue
        try:
            path = trees.check_path(member.name)
        except trees.UnsafePathError:
            continue
        file = archive.extractfile(member)
        mode = trees.EXECUTABLE_MODE if member.mode & 0o111 else trees.FILE_MODE
        yield path, mode, file.read() if file else b""
