"""Files in segments: one gzip file for every reader, and the same bytes however it came about."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from sources import segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=segments.KEY_BYTES).digest()


class Reading:
    """The content of a segment, which notes whether anybody asked for it."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.was_read = False

    def __iter__(self) -> Iterator[bytes]:
        self.was_read = True
        return iter(self.pieces)


def write(
    path: Path, contents: Mapping[str, bytes], previous: Path | None = None
) -> tuple[bytes, set[str]]:
    """Write a file; return its bytes, and the names of the segments that were compressed."""
    readings = {name: Reading(content) for name, content in contents.items()}
    with path.open("wb") as file:
        if previous is None:
            written = add(segments.Writer(file), readings)
        else:
            with previous.open("rb") as old:
                written = add(segments.Writer(file, segments.Previous(old)), readings)
    data = path.read_bytes()
    assert written == segments.Written(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    return data, {name for name, reading in readings.items() if reading.was_read}


def add(writer: segments.Writer, readings: Mapping[str, Reading]) -> segments.Written:
    for name, reading in readings.items():
        writer.add(key(name), reading)
    return writer.close()


def test_every_reader_of_gzip_sees_one_stream(tmp_path: Path) -> None:
    data, _ = write(tmp_path / "a.gz", {"1": b"one ", "2": b"two ", "3": b"three"})
    assert gzip.decompress(data) == b"one two three"
    assert subprocess.check_output(["gzip", "-dc", tmp_path / "a.gz"]) == b"one two three"


def test_equal_segments_are_copied_without_being_read(tmp_path: Path) -> None:
    write(tmp_path / "1", {"a": b"a" * 99, "b": b"b" * 99, "c": b"c" * 99, "d": b"d" * 99})
    contents = {"d": b"d" * 99, "a": b"a" * 99, "b": b"b" * 99, "new": b"new"}
    copied, compressed = write(tmp_path / "2", contents, tmp_path / "1")
    assert compressed == {"new"}
    anew, _ = write(tmp_path / "3", contents)
    assert copied == anew
    assert gzip.decompress(copied) == b"".join(contents.values())


def test_large_segment_is_several_members_of_one_key(tmp_path: Path) -> None:
    large = random.Random(1).randbytes(2 * segments.MEMBER_BYTES + 7)
    data, _ = write(tmp_path / "1", {"small": b"s", "large": large, "last": b"l"})
    assert gzip.decompress(data) == b"s" + large + b"l"
    copied, compressed = write(tmp_path / "2", {"large": large}, tmp_path / "1")
    assert compressed == set()
    assert gzip.decompress(copied) == large


def test_segment_that_fills_a_member_exactly_has_no_empty_one_behind(tmp_path: Path) -> None:
    data, _ = write(tmp_path / "1", {"a": b"x" * segments.MEMBER_BYTES})
    assert data.count(key("a")) == 1
    assert len(gzip.decompress(data)) == segments.MEMBER_BYTES


def test_segment_without_content_takes_no_room(tmp_path: Path) -> None:
    data, _ = write(tmp_path / "1", {"empty": b"", "a": b"a"})
    assert data == write(tmp_path / "2", {"a": b"a"})[0]


@pytest.mark.parametrize(
    "previous",
    # The time in the third would make another test of it in each process that collects it.
    [b"", b"\x1f\x8b\x08\0", gzip.compress(b"of another program", mtime=0), b"\0" * 400],
)
def test_file_of_another_program_is_of_no_use_and_does_no_harm(
    tmp_path: Path, previous: bytes
) -> None:
    (tmp_path / "old").write_bytes(previous)
    data, compressed = write(tmp_path / "new", {"a": b"a"}, tmp_path / "old")
    assert compressed == {"a"}
    assert gzip.decompress(data) == b"a"


def test_file_that_becomes_shorter_meanwhile_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "old", {"a": b"a" * 1000, "b": b"b"})
    with (tmp_path / "old").open("rb+") as old:
        writer = segments.Writer(io.BytesIO(), segments.Previous(old))
        writer.add(key("b"), [b"b"])
        old.truncate(10)
        with pytest.raises(OSError, match="shorter"):
            writer.close()
