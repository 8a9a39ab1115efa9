"""A gzip file in segments that are copied, unchanged, from one file to the next.

A segment is one or a few gzip members (RFC 1952 allows any number; every reader joins them), whose
extra field says by which key it is known and how long the member is::

    1f 8b 08 04  00 00 00 00  00 ff     a gzip header with an extra field, without a time
    18 00  "GO"  14 00                  lengths, and the field's name
    <key: 16 bytes> <length: 4 bytes>
    <raw deflate> <CRC-32> <size>

What a file contains follows from its keys and contents alone, so whether a segment was copied or
compressed anew cannot be told from the bytes. There is no index beside the file: hopping from
member to member finds what can be copied, also after a restart.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

KEY_BYTES: Final = 16
"""Length of a segment's key."""
MEMBER_BYTES: Final = 1024 * 1024
"""Uncompressed bytes of one member: what compressing needs in memory."""

_LEVEL: Final = 6
"""zlib's default, as in Flux: half the bytes of level 1 for a third more time."""
_RAW: Final = -15
_HEAD: Final = struct.Struct(f"<10sH2sH{KEY_BYTES}sI")
_TAIL: Final = struct.Struct("<II")
_MAGIC: Final = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff"
_FIELD: Final = b"GO"
_FIELD_BYTES: Final = KEY_BYTES + 4
_COPY_BYTES: Final = 1024 * 1024


class TooLargeError(OSError):
    """The content is larger than what is allowed."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a file that was written."""

    digest: str
    """``sha256:<hex>`` of the file."""
    size: int
    """Bytes of the file."""


class Range(NamedTuple):
    """A part of a file."""

    start: int
    end: int
    content: int
    """How many bytes are compressed in it."""


class Previous:
    """A file written before, whose segments can be copied.

    Args:
        file: the file, which must be whole; it has to stay open meanwhile.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._handle = file.fileno()
        self._ranges: dict[bytes, Range] = {}
        end, last = 0, b""
        for key, length in self._members():
            before = self._ranges[key] if key == last else Range(end, end, 0)
            end, last = end + length, key
            self._ranges[key] = Range(before.start, end, before.content + self._content(end))

    def find(self, key: bytes) -> Range | None:
        """Return where a segment is, or None."""
        return self._ranges.get(key)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of a range.

        Raises:
            OSError: the file cannot be read, or has become shorter.
        """
        while start < end:
            data = os.pread(self._handle, min(end - start, _COPY_BYTES), start)
            if not data:
                raise OSError("the previous artifact has become shorter")
            start += len(data)
            yield data

    def _content(self, end: int) -> int:
        """Return how many bytes are compressed in the member that ends there."""
        tail = os.pread(self._handle, _TAIL.size, end - _TAIL.size)
        return int(_TAIL.unpack(tail)[1]) if len(tail) == _TAIL.size else 0

    def _members(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and length of each member, as far as they are ours."""
        offset = 0
        while len(head := os.pread(self._handle, _HEAD.size, offset)) == _HEAD.size:
            magic, _, field, _, key, length = _HEAD.unpack(head)
            if (magic, field) != (_MAGIC, _FIELD) or length <= _HEAD.size:
                return
            yield key, length
            offset += length


class Writer:
    """Writes such a file. Blocks.

    Args:
        file: where to, open for writing in binary mode.
        previous: what to copy from.
        limit_bytes: of the content, uncompressed; None for no limit.
    """

    def __init__(
        self, file: BinaryIO, previous: Previous | None = None, limit_bytes: int | None = None
    ) -> None:
        self._file = file
        self._previous = previous
        self._limit_bytes = limit_bytes
        self._content = 0
        self._copying = (0, 0)
        self._digest = hashlib.sha256()
        self._size = 0

    def add(self, key: bytes, content: Iterable[bytes]) -> None:
        """Append a segment.

        Args:
            key: stands for the content: equal keys, equal bytes.
            content: pieces; asked for only where the previous file has no such segment.

        Raises:
            OSError: the file system refused.
            TooLargeError: the content is over its limit now.
        """
        found = self._previous.find(key) if self._previous else None
        if found is None:
            self._flush()
            for member in _members(key, self._counted(content)):
                self._put(member)
            return
        self._count(found.content)
        if found.start == self._copying[1]:
            self._copying = (self._copying[0], found.end)
        else:
            self._flush()
            self._copying = (found.start, found.end)

    def close(self) -> Written:
        """Write what is left, and say what became of the file, which stays open.

        Raises:
            OSError: the file system refused.
        """
        self._flush()
        return Written(f"sha256:{self._digest.hexdigest()}", self._size)

    def _counted(self, content: Iterable[bytes]) -> Iterator[bytes]:
        for piece in content:
            self._count(len(piece))
            yield piece

    def _count(self, size: int) -> None:
        self._content += size
        if self._limit_bytes is not None and self._content > self._limit_bytes:
            raise TooLargeError(f"the content is larger than {self._limit_bytes >> 20} MiB")

    def _flush(self) -> None:
        start, end = self._copying
        self._copying = (0, 0)
        if self._previous:
            for data in self._previous.read(start, end):
                self._put(data)

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += self._file.write(data)


def _members(key: bytes, content: Iterable[bytes]) -> Iterator[bytes]:
    """Compress pieces into members; only the last one has less than `MEMBER_BYTES` in it."""
    pending: list[memoryview] = []
    room = MEMBER_BYTES
    for piece in content:
        rest = memoryview(piece)
        while len(rest) >= room:
            yield _member(key, [*pending, rest[:room]])
            rest, pending, room = rest[room:], [], MEMBER_BYTES
        pending.append(rest)
        room -= len(rest)
    if room < MEMBER_BYTES:
        yield _member(key, pending)


def _member(key: bytes, pieces: list[memoryview]) -> bytes:
    data = b"".join(pieces)
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    body = compressor.compress(data) + compressor.flush()
    length = _HEAD.size + len(body) + _TAIL.size
    head = _HEAD.pack(_MAGIC, _FIELD_BYTES + 4, _FIELD, _FIELD_BYTES, key, length)
    return head + body + _TAIL.pack(zlib.crc32(data), len(data))
