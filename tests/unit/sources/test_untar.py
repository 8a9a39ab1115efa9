"""Reading tar archives that others wrote."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from sources import untar
from sources.untar import ArchiveError, Kind, Limits, TooMuchError

if TYPE_CHECKING:
    from collections.abc import Callable

PLENTY = Limits(size_bytes=64 * 1024 * 1024, files=1000)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def archive(
    *entries: tuple[str, bytes], format_: int = tarfile.PAX_FORMAT, **fields: object
) -> bytes:
    """Return an archive, not compressed, of regular files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=format_) as made:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(data))
    return content.getvalue()


def read(content: bytes, limits: Limits = PLENTY) -> list[tuple[str, Kind, bytes]]:
    compressed = io.BytesIO(gzip.compress(content))
    return [
        (each.name, each.kind, b"".join(each.content()))
        for each in untar.members(compressed, limits)
    ]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "name", ["a.yaml", "d/" * 20 + "a.yaml", "long-directory/" * 14 + "file.yaml"]
)
def test_files_of_every_format_are_read(name: str, format_: int) -> None:
    entries = ((name, b"x: 1\n"), ("second", b"y" * 512), ("third", b""))
    assert read(archive(*entries, format_=format_)) == [
        (each, Kind.FILE, data) for each, data in entries
    ]


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_and_script_are_read(format_: int) -> None:
    name = "ä/" * 200 + "日本.yaml"
    assert read(archive((name, b"1"), format_=format_)) == [(name, Kind.FILE, b"1")]


def test_content_that_nobody_reads_is_passed_over() -> None:
    content = gzip.compress(archive(("a", b"1" * 5000), ("b", b"2")))
    found = [each.name for each in untar.members(io.BytesIO(content), PLENTY)]
    assert found == ["a", "b"]


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (tarfile.SYMTYPE, Kind.SYMLINK),
        (tarfile.LNKTYPE, Kind.LINK),
        (tarfile.DIRTYPE, Kind.DIRECTORY),
        (tarfile.CHRTYPE, Kind.OTHER),
        (tarfile.BLKTYPE, Kind.OTHER),
        (tarfile.FIFOTYPE, Kind.OTHER),
    ],
)
def test_kinds_are_told_apart(type_: bytes, kind: Kind) -> None:
    made = archive(("a", b""), type=type_, linkname="target")
    assert [each[1] for each in read(made)] == [kind]


def test_mode_is_told() -> None:
    content = io.BytesIO(gzip.compress(archive(("run", b"#!"), mode=0o755)))
    assert [each.mode for each in untar.members(content, PLENTY)] == [0o755]


def test_header_about_all_entries_is_no_entry() -> None:
    content = io.BytesIO()
    with tarfile.open(
        fileobj=content, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "abc"}
    ) as made:
        made.addfile(tarfile.TarInfo("a"))
    assert [each[0] for each in read(content.getvalue())] == ["a"]


def test_archive_without_an_end_mark_is_whole() -> None:
    assert [each[0] for each in read(archive(("a", b"1"))[:1024])] == ["a"]


def _header_damaged(content: bytes) -> bytes:
    return content[:1024] + b"?" + content[1025:]


def _cut_in_content(content: bytes) -> bytes:
    return content[:700]


def _cut_in_header(content: bytes) -> bytes:
    return content[:1100]


def _letters_as_size(content: bytes) -> bytes:
    return content[:124] + b"zzzzzzzzzzz\0" + content[136:]


@pytest.mark.parametrize(
    "damage", [_header_damaged, _cut_in_content, _cut_in_header, _letters_as_size]
)
def test_damage_is_an_error_and_never_the_end(damage: Callable[[bytes], bytes]) -> None:
    whole = archive(("a", b"1" * 500), ("b", b"2"), format_=tarfile.USTAR_FORMAT)
    with pytest.raises(ArchiveError, match="tar error"):
        read(damage(whole))


def test_what_is_not_compressed_is_refused() -> None:
    with pytest.raises(ArchiveError, match="requires gzip-compressed body"):
        list(untar.members(io.BytesIO(archive(("a", b"1"))), PLENTY))


def test_compressed_data_that_ends_early_is_refused() -> None:
    content = gzip.compress(archive(("a", bytes(range(256)) * 64)))
    with pytest.raises(ArchiveError, match="unexpected end"):
        list(untar.members(io.BytesIO(content[: len(content) // 2]), PLENTY))


def test_bytes_are_limited_before_they_are_unpacked() -> None:
    bomb = archive(("zeros", bytes(8 * 1024 * 1024)))
    with pytest.raises(TooMuchError, match="more bytes than allowed"):
        read(bomb, Limits(size_bytes=1024 * 1024, files=10))


def test_claimed_size_costs_no_memory() -> None:
    info = tarfile.TarInfo("a")
    info.size = 2**60
    with pytest.raises(ArchiveError):
        read(info.tobuf(tarfile.GNU_FORMAT), Limits(size_bytes=2**62, files=10))


def test_files_are_limited() -> None:
    many = archive(*((str(number), b"") for number in range(11)))
    with pytest.raises(TooMuchError, match="more than 10 entries"):
        read(many, Limits(size_bytes=2**30, files=10))


def test_long_header_is_refused() -> None:
    with pytest.raises(TooMuchError, match="header of more bytes"):
        read(archive(("a" * 2_000_000, b"")))
