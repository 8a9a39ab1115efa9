"""Reads tar archives that others wrote: strict, bounded, in one pass.

`tarfile` takes a damaged header for the end of the archive, which would look like files that were
removed, and reads a header of any claimed length into memory. This reader refuses both, and knows
no more than what artifacts need: regular files, directories and links, names of any length.

::

    ValueError
    └── ArchiveError        not an archive, damaged, or with something in it that is not let in
        └── TooMuchError    more bytes or files than allowed
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 512
_HEADER_BYTES: Final = 1024 * 1024
"""Bytes that an extended header may have; the longest path has 4 kB."""
_CHUNK: Final = 256 * 1024
_ZEROS: Final = bytes(_BLOCK)


class ArchiveError(ValueError):
    """What was given is no archive, is damaged, or holds what is not let in."""


class TooMuchError(ArchiveError):
    """The archive holds more than allowed."""


class Kind(Enum):
    """What an entry of an archive is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    LINK = "hard link"
    OTHER = "device or pipe"


_KINDS: Final = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.LINK,
    b"2": Kind.SYMLINK,
    b"5": Kind.DIRECTORY,
    b"3": Kind.OTHER,
    b"4": Kind.OTHER,
    b"6": Kind.OTHER,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may unpack to."""

    size_bytes: int
    """Bytes of all of it, headers included."""
    files: int
    """Entries."""


class Member:
    """One entry of an archive; its content can be read once, before the next is asked for."""

    def __init__(self, reader: _Reader, name: str, kind: Kind, mode: int, size: int) -> None:
        self.name = name
        """As it is written in the archive: nothing about it has been checked."""
        self.kind = kind
        self.mode = mode
        self.size = size
        """Bytes of its content."""
        self._reader = reader
        self._left = size

    def content(self) -> Iterator[bytes]:
        """Yield the content piece by piece.

        Raises:
            ArchiveError: the archive ends before it.
        """
        while self._left:
            part = self._reader.exactly(min(self._left, _CHUNK))
            self._left -= len(part)
            yield part


class _Reader:
    """A decompressed stream that is counted."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def block(self) -> bytes:
        """Return the next 512 bytes, or none at the end."""
        data = self._read(_BLOCK)
        if data and len(data) != _BLOCK:
            raise ArchiveError("tar error: unexpected end of the archive")
        return data

    def exactly(self, size: int) -> bytes:
        """Return that many bytes."""
        data = self._read(size)
        if len(data) != size:
            raise ArchiveError("tar error: unexpected end of the archive")
        return data

    def _read(self, size: int) -> bytes:
        if size > self._left:
            raise TooMuchError("the archive unpacks to more bytes than allowed")
        try:
            data = self._stream.read(size)
        except (gzip.BadGzipFile, zlib.error) as err:
            raise ArchiveError(f"requires gzip-compressed body: {err}") from err
        except EOFError as err:
            raise ArchiveError("tar error: unexpected end of the archive") from err
        self._left -= len(data)
        return data


def members(file: BinaryIO, limits: Limits) -> Iterator[Member]:
    """Yield the entries of a ``tar.gz``, in its order.

    Args:
        file: the compressed archive.
        limits: how much it may unpack to.

    Raises:
        ArchiveError: see the module.
        OSError: the file cannot be read.
    """
    count = 0
    with gzip.open(file, "rb") as stream:
        reader = _Reader(stream, limits.size_bytes)
        longer: dict[str, str] = {}
        while (header := reader.block()) and header != _ZEROS:
            size = _checked_size(header)
            flag = header[156:157]
            if flag in b"xgLK":
                longer |= _extended(flag, reader, size)
                continue
            count += 1
            if count > limits.files:
                raise TooMuchError(f"the archive has more than {limits.files} entries")
            member = _member(reader, header, size, longer)
            longer = {}
            yield member
            for _ in member.content():
                pass  # what the caller did not read
            reader.exactly(-member.size % _BLOCK)


def _member(reader: _Reader, header: bytes, size: int, longer: dict[str, str]) -> Member:
    flag = header[156:157]
    name = longer.get("path") or _name(header)
    if flag not in _KINDS or any(key.startswith("GNU.sparse.") for key in longer):
        raise ArchiveError(f"tar file entry {name} contained unsupported file type")
    kind = _KINDS[flag]
    if kind is Kind.FILE and name.endswith("/"):
        kind = Kind.DIRECTORY
    if "size" in longer:
        size = _decimal(longer["size"])
    mode = _number(header[100:108])
    return Member(reader, name, kind, mode, size if kind is Kind.FILE else 0)


def _extended(flag: bytes, reader: _Reader, size: int) -> dict[str, str]:
    """Return what an extended header says of the next entry; one about all entries says nothing."""
    if size > _HEADER_BYTES:
        raise TooMuchError("the archive has a header of more bytes than allowed")
    content = reader.exactly(size)
    reader.exactly(-size % _BLOCK)
    match flag:
        case b"x":
            return dict(_records(content))
        case b"L":
            return {"path": _text(content)}
        case _:
            return {}


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield the ``<length> <key>=<value>`` lines of a pax header."""
    position = 0
    while position < len(content):
        length, space, _ = content[position : position + 20].partition(b" ")
        end = position + _decimal(length.decode("ascii", "replace"))
        record = content[position + len(length) + 1 : end]
        key, equals, value = record.partition(b"=")
        if not (space and equals and value.endswith(b"\n")):
            raise ArchiveError("tar error: damaged header")
        yield key.decode("utf-8", "replace"), value[:-1].decode("utf-8", "surrogateescape")
        position = end


def _checked_size(header: bytes) -> int:
    """Return the size in a header whose checksum is right."""
    unsigned = sum(header) - sum(header[148:156]) + 8 * 32
    if _number(header[148:156]) != unsigned:
        raise ArchiveError("tar error: damaged header")
    return _number(header[124:136])


def _name(header: bytes) -> str:
    name = _text(header[:100])
    is_ustar = header[257:263] == b"ustar\0"
    prefix = _text(header[345:500]) if is_ustar else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """Return an octal number, or a large one in base 256."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    if text and text.strip(b"01234567"):
        raise ArchiveError("tar error: damaged header")
    return int(text, 8) if text else 0


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise ArchiveError("tar error: damaged header")
    return int(text)
