"""Layers unpacked: what becomes of them, and what is not let in."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from sources import archive, artifact, tree
from sources.oci.content import LayerTree
from sources.untar import ArchiveError, Limits, TooMuchError
from tests.support.registry import tarball

if TYPE_CHECKING:
    from pathlib import Path

PLENTY = Limits(size_bytes=16 * 1024 * 1024, files=1000)


def unpacked(
    content: bytes, scratch: Path, patterns: str | None = None, limits: Limits = PLENTY
) -> dict[str, str]:
    with LayerTree(io.BytesIO(content), scratch, patterns, limits) as layer:
        return {each.path: layer.read(each.path).decode() for each in layer.entries()}


def special(name: str, type_: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Return an archive with a good file and one strange entry."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as made:
        made.addfile(tarfile.TarInfo("good.yaml"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = type_, link
        made.addfile(info)
    return content.getvalue()


def test_files_are_in_the_order_of_a_walk(tmp_path: Path) -> None:
    files = {"b.yaml": "2", "a/z": "3", "a.yaml": "1"}
    assert list(unpacked(tarball(files), tmp_path)) == ["a/z", "a.yaml", "b.yaml"]


def test_dot_in_front_of_names_is_dropped(tmp_path: Path) -> None:
    assert unpacked(tarball({"./": "", "./apps/a.yaml": "1"}), tmp_path) == {"apps/a.yaml": "1"}


def test_later_entry_of_a_name_wins(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as made:
        for text in (b"first", b"last"):
            info = tarfile.TarInfo("a")
            info.size = len(text)
            made.addfile(info, io.BytesIO(text))
    assert unpacked(content.getvalue(), tmp_path) == {"a": "last"}


def test_tree_is_that_of_the_same_files_elsewhere(tmp_path: Path) -> None:
    with LayerTree(io.BytesIO(tarball({"a/b": "1"})), tmp_path, None, PLENTY) as layer:
        with (tmp_path / "artifact").open("wb") as file:
            artifact.write(layer, file)
        stored = archive.ArchiveTree(tmp_path / "artifact", tmp_path)
        assert stored.id == layer.id
        assert layer.entries()[0].id == tree.blob_id(b"1")


def test_ignore_rules_of_spec_and_files_hold(tmp_path: Path) -> None:
    files = {"a.yaml": "1", "b.md": "2", "d/.sourceignore": "c.yaml\n", "d/c.yaml": "3"}
    assert set(unpacked(tarball(files), tmp_path, "*.md")) == {"a.yaml", "d/.sourceignore"}


def test_default_rules_hold_where_nobody_gives_any(tmp_path: Path) -> None:
    files = {"a.yaml": "1", "x.png": "2", ".git/config": "3"}
    assert set(unpacked(tarball(files), tmp_path)) == {"a.yaml"}
    assert set(unpacked(tarball(files), tmp_path, "# mine")) == {"a.yaml"}


def test_symbolic_link_is_passed_over(tmp_path: Path) -> None:
    made = special("link.yaml", tarfile.SYMTYPE, "/etc/passwd")
    assert set(unpacked(made, tmp_path)) == {"good.yaml"}


@pytest.mark.parametrize(
    "name", ["../evil.yaml", "a/../../evil.yaml", "/etc/evil.yaml", "a/..", "a\\b", ".", ""]
)
def test_name_that_leaves_the_directory_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="invalid name"):
        unpacked(special(name), tmp_path)


@pytest.mark.parametrize(
    "type_", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_hard_link_and_device_are_refused(type_: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="unsupported file type"):
        unpacked(special("strange", type_, "good.yaml"), tmp_path)


def test_file_that_is_a_directory_too_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="a is a file and a directory"):
        unpacked(tarball({"a": "1", "a/b": "2"}), tmp_path)


def test_bomb_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    bomb = tarball({"zeros": "0" * 5_000_000})
    assert len(bomb) < 10_000
    with pytest.raises(TooMuchError):
        unpacked(bomb, tmp_path, limits=Limits(size_bytes=1_000_000, files=10))
    assert not list(tmp_path.iterdir())


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with (
        LayerTree(io.BytesIO(tarball({"a": "1"})), tmp_path, None, PLENTY) as layer,
        pytest.raises(FileNotFoundError),
    ):
        layer.read("b")
