"""Archives: reproducible, readable by tar, and nothing to fear from hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources import archive, artifact, fallback, segments
from sources import tree as trees
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def pack(files: Mapping[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    written = artifact.write(MemoryTree(files), file)
    data = file.getvalue()
    assert written == segments.Written(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    return data


def stored(tmp_path: Path, data: bytes) -> archive.ArchiveTree:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(data)
    return archive.ArchiveTree(path, tmp_path)


def test_same_content_gives_the_same_bytes_in_whatever_order_it_comes() -> None:
    assert pack({"b": "2", "a/x": "1"}) == pack({"a/x": "1", "b": "2"})


def test_entries_have_no_owner_no_time_and_three_modes() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack({"a/b/c.yaml": "x", "d": "y"}))) as archive:
        found = {member.name: (member.mode, member.type) for member in archive}
        assert found == {
            "a": (0o750, tarfile.DIRTYPE),
            "a/b": (0o750, tarfile.DIRTYPE),
            "a/b/c.yaml": (0o600, tarfile.REGTYPE),
            "d": (0o600, tarfile.REGTYPE),
        }
        assert {(m.uid, m.gid, m.mtime, m.uname, m.gname) for m in archive} == {(0, 0, 0, "", "")}


def test_entries_come_in_the_order_of_a_directory_walk() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack({"a/z": "", "a-b": "", "a.c": ""}))) as archive:
        assert archive.getnames() == ["a", "a/z", "a-b", "a.c"]


def test_gzip_header_has_no_time() -> None:
    assert pack({"a": "1"})[4:8] == b"\0\0\0\0"


def test_system_tar_reads_it(tmp_path: Path) -> None:
    files = {"a.yaml": "x" * 1000, "deep/" * 40 + "f": "long path", "ü/ß": "not ASCII"}
    (tmp_path / "a.tar.gz").write_bytes(pack(files))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xzf", "a.tar.gz", "-C", "out"], cwd=tmp_path, check=True)
    for path, content in files.items():
        assert (tmp_path / "out" / path).read_text() == content


NAME = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60)


@given(
    st.dictionaries(
        st.lists(NAME.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=3)
        .map("/".join)
        .map(lambda path: f"d/{path}/f"),
        st.binary(max_size=2000),
        max_size=8,
    )
)
def test_archive_shows_what_was_packed(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    source = MemoryTree(files)
    tree = stored(tmp_path_factory.mktemp("a"), pack(files))
    assert tree.id == source.id
    assert list(tree.entries()) == source.entries()
    assert {each.path: tree.read(each.path) for each in tree.entries()} == files


class Counting(MemoryTree):
    """Counts the files that are read."""

    reads = 0

    def read(self, path: str) -> bytes:
        self.reads += 1
        return super().read(path)


def repack(tmp_path: Path, before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Pack one tree after another; the bytes must not tell. Return how many files were read."""
    (tmp_path / "before").write_bytes(pack(before))
    tree, file = Counting(after), io.BytesIO()
    with (tmp_path / "before").open("rb") as previous:
        artifact.write(tree, file, previous)
    assert file.getvalue() == pack(after)
    return tree.reads


FILES = {f"d{n // 40}/{n}.yaml": f"number: {n}\n" for n in range(2000)}


@pytest.mark.parametrize(
    ("after", "limit"),
    [
        (FILES, 0),
        (FILES | {"d7/300.yaml": "changed"}, artifact._LONGEST),
        (FILES | {"d7/300a.yaml": "new"}, artifact._LONGEST),
        (FILES | {"a/first.yaml": "new directory"}, artifact._LONGEST),
        (
            {name: text for name, text in FILES.items() if name != "d0/0.yaml"},
            2 * artifact._LONGEST,
        ),
        ({name: text for name, text in FILES.items() if "d3/" not in name}, 2 * artifact._LONGEST),
        ({f"moved/{name}": text for name, text in FILES.items()}, len(FILES)),
        ({}, 0),
    ],
)
def test_small_change_reads_little_and_leaves_no_trace_in_the_bytes(
    tmp_path: Path, after: dict[str, str], limit: int
) -> None:
    assert repack(tmp_path, FILES, after) <= limit


def test_renamed_file_is_written_anew(tmp_path: Path) -> None:
    assert repack(tmp_path, {"a": "1"}, {"b": "1"}) == 1


@settings(max_examples=25)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12"), max_size=6),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12"), max_size=6),
)
def test_bytes_depend_on_the_tree_alone(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, str], after: dict[str, str]
) -> None:
    def spread(names: dict[str, str]) -> dict[str, str]:
        return {f"{name}/{n}": f"{text}{n}" for name, text in names.items() for n in range(9)}

    repack(tmp_path_factory.mktemp("a"), spread(before), spread(after))


def test_hostile_members_are_passed_over(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, kind in [
            ("../up", tarfile.REGTYPE),
            ("/absolute", tarfile.REGTYPE),
            ("a/../../up", tarfile.REGTYPE),
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("device", tarfile.CHRTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("good", tarfile.REGTYPE),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    tree = stored(tmp_path, file.getvalue())
    assert [each.path for each in tree.entries()] == ["good"]


@pytest.mark.parametrize(
    "data",
    [b"", b"not gzip", pack({"a": "1" * 9000})[:60], gzip.compress(b"not tar" * 200)],
    ids=["nothing", "text", "short", "packed text"],
)
def test_damaged_archive_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(OSError, match="damaged"):
        stored(tmp_path, data).entries()


def test_archive_that_is_gone_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not in storage") as caught:
        archive.ArchiveTree(tmp_path / "nope.tar.gz", tmp_path).entries()
    assert not isinstance(caught.value, FileNotFoundError)


def test_missing_path_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        stored(tmp_path, pack({"a": "1"})).read("b")


def test_checkout_writes_one_directory_with_its_full_paths(tmp_path: Path) -> None:
    tree = stored(tmp_path, pack({"deploy/a": "1", "deploy/sub/b": "2", "deploy2/c": "3"}))
    for number, prefix in enumerate(("deploy", "./deploy", "deploy/", "/deploy")):
        target = tmp_path / f"out{number}"
        target.mkdir()
        tree.checkout(target, prefix)
        found = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
        assert found == {"deploy/a", "deploy/sub/b"}
        assert (target / "deploy/a").stat().st_mode & 0o777 == 0o600


def test_checkout_follows_no_link_that_lies_in_wait(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="exists"):
        stored(tmp_path, pack({"a": "1"})).checkout(target)
    assert not (tmp_path / "victim").exists()


class Broken(MemoryTree):
    def read(self, path: str) -> bytes:
        raise OSError("gone bad")


def test_second_tree_takes_over_when_the_first_fails() -> None:
    files = {"a": "1"}
    tree = fallback.FallbackTree(Broken(files), MemoryTree(files))
    assert tree.read("a") == b"1"
    assert tree.id == MemoryTree(files).id
    with pytest.raises(FileNotFoundError):
        tree.read("b")


def test_failure_of_both_trees_is_raised() -> None:
    files = {"a": "1"}
    tree = fallback.FallbackTree(Broken(files), Broken(files))
    with pytest.raises(OSError, match="gone bad"):
        tree.read("a")


@pytest.mark.parametrize("path", ["", "..", "a/..", "/a", "a//b", "./a", "a/\0"])
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(trees.UnsafePathError):
        trees.check_path(path)


def test_blob_id_is_gits() -> None:
    assert trees.blob_id(b"hello\n").hex() == "ce013625030ba8dba906f756967f9e9ca394464a"
