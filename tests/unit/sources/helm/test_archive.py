"""Packed charts, also hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from sources.helm import archive, package
from sources.helm.errors import ChartError


def packed(*members: tuple[str, bytes | str], kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members:
            header = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else content
            header.size = len(data)
            header.type = kind
            header.linkname = "target"
            file.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def damaged() -> bytes:
    """Return an archive whose second header is damaged, which tarfile takes for the end."""
    plain = bytearray(gzip.decompress(packed(("web/a", "b"), ("web/c", "d"))))
    plain[1024 + 3] ^= 1
    return gzip.compress(bytes(plain))


def test_files_are_read_by_their_path_in_the_chart() -> None:
    content = packed(("web/Chart.yaml", b"\xef\xbb\xbfa"), ("web/a/../b//c", "d"), ("x\\y\\z", "w"))
    assert archive.read(content) == {"Chart.yaml": b"a", "b/c": b"d", "y/z": b"w"}
    assert archive.read(content, lambda path: path == "b/c") == {"b/c": b"d"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("web/../../etc/passwd", "chart illegally references parent directory"),
        ("web/..", "chart illegally references parent directory"),
        ("web//etc/passwd", "chart illegally contains absolute paths"),
        ("etc", "chart illegally contains content outside the base directory: 'etc'"),
        ("web/.", "chart illegally contains content outside the base directory"),
        ("web\\..\\x", "chart illegally references parent directory"),
        ("web/c:/x", "chart contains illegally named files"),
        ("Chart.yaml/x", "chart yaml not in base directory"),
    ],
)
def test_path_out_of_the_chart_is_refused(name: str, said: str) -> None:
    content = packed(("web/Chart.yaml", "a"), (name, "b"))
    with pytest.raises(ChartError, match=said):
        archive.read(content)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a symlink: a"),
        (tarfile.LNKTYPE, "a hard link: a"),
        (tarfile.CHRTYPE, "a device or pipe: a"),
        (tarfile.BLKTYPE, "a device or pipe: a"),
        (tarfile.FIFOTYPE, "a device or pipe: a"),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, said: str) -> None:
    with pytest.raises(ChartError, match=f"chart illegally contains {said}"):
        archive.read(packed(("web/a", ""), kind=kind))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no files in chart archive"),
        (b"plain text", "no gzipped archive"),
        (gzip.compress(b"plain text"), "no gzipped archive"),
        (packed(("web/a", "b" * 100_000))[:-20], "or a damaged one"),
        (damaged(), "damaged header"),
        (packed(), "no files in chart archive"),
        (packed(("web/", ""), kind=tarfile.DIRTYPE), "no files in chart archive"),
    ],
    ids=["nothing", "text", "packed text", "short", "damaged", "empty", "folders"],
)
def test_what_is_no_archive_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ChartError, match=said):
        archive.read(content)


def test_archive_that_grows_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_BYTES", 1_000_000)
    bomb = packed(("web/a", b"\0" * 2_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(ChartError, match="decompressed chart is larger"):
        archive.read(bomb)
    with pytest.raises(ChartError, match="decompressed chart is larger"):
        archive.read(bomb, lambda _: False)


def test_same_files_give_the_same_bytes() -> None:
    files = [("web/Chart.yaml", b"a"), (f"web/{'long/' * 40}ü", b"b")]
    content = package.pack(files)
    assert content == package.pack(files)
    assert archive.read(content) == {"Chart.yaml": b"a", f"{'long/' * 40}ü": b"b"}
    with tarfile.open(fileobj=io.BytesIO(content)) as file:
        members = list(file)
    assert {(each.mode, each.mtime, each.uid, each.uname) for each in members} == {
        (0o644, 0, 0, "")
    }
