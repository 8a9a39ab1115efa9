"""Reading archives: shared by threads, bounded, and safe from what is in them."""

from __future__ import annotations

import concurrent.futures
import gc
import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sources import storage, untar
from sources.archive import ArchiveTree
from tests.support import disk
from tests.support.api import ManualClock
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.artifact import Artifact


def packed(path: Path, files: Mapping[str, str], *, times: int = 1) -> Path:
    """Write an archive as others do, with each file as many times."""
    with tarfile.open(path, "w:gz") as file:
        for number in range(times):
            for name, text in files.items():
                content = f"{text}{number}".encode() if times > 1 else text.encode()
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    return path


def open_files() -> int:
    """Count the files that this process holds, after what earlier tests left is gone."""
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


def test_one_tree_serves_many_threads(tmp_path: Path) -> None:
    files = {f"{number}.yaml": f"{number}" * 50 for number in range(200)}
    tree = ArchiveTree(packed(tmp_path / "a.tar.gz", files), tmp_path)

    def read_all(_: int) -> dict[str, str]:
        return {each.path: tree.read(each.path).decode() for each in tree.entries()}

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(found == files for found in pool.map(read_all, range(8)))


def test_archive_is_unpacked_once(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar.gz", {"a": "1"})
    tree = ArchiveTree(path, tmp_path)
    tree.entries()
    path.unlink()
    assert tree.read("a") == b"1"
    assert [each.path for each in tree.entries()] == ["a"]


def test_leading_dots_are_no_part_of_a_path(tmp_path: Path) -> None:
    tree = ArchiveTree(packed(tmp_path / "a.tar.gz", {"./a/b": "1", "././c": "2"}), tmp_path)
    assert [each.path for each in tree.entries()] == ["a/b", "c"]


def test_last_of_two_entries_of_one_name_counts(tmp_path: Path) -> None:
    tree = ArchiveTree(packed(tmp_path / "a.tar.gz", {"a": "n"}, times=3), tmp_path)
    assert len(tree.entries()) == 1
    assert tree.read("a") == b"n2"
    assert tree.id == MemoryTree({"a": "n2"}).id


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (untar.Limits(size_bytes=100_000, files=10), "unpacks to more bytes than allowed"),
        (untar.Limits(size_bytes=10**9, files=1), "has more than 1 entries"),
    ],
)
def test_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, limits: untar.Limits, text: str
) -> None:
    path = packed(tmp_path / "a.tar.gz", {"a": "0" * 1_000_000, "b": ""})
    assert path.stat().st_size < 10_000
    with pytest.raises(OSError, match=text):
        ArchiveTree(path, tmp_path, limits).entries()


def test_unpacked_content_has_no_name_and_goes_with_the_tree(tmp_path: Path) -> None:
    before = open_files()
    tree = ArchiveTree(packed(tmp_path / "a.tar.gz", {"a": "1"}), tmp_path)
    tree.entries()
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar.gz"]
    assert open_files() == before + 1
    del tree
    assert open_files() == before


# In the store -----------------------------------------------------------------------------------


def put(store: storage.Storage, name: str) -> Artifact:
    owner = storage.Owner("Bucket", "ns", name)
    tree = MemoryTree({"a": name})
    return store.put(owner, "1.tar.gz", "sha256:1", tree, is_lasting=False)


def test_all_readers_of_an_artifact_share_one_tree(tmp_path: Path) -> None:
    store = storage.Storage(tmp_path, "host", ManualClock())
    artifact = put(store, "a")
    assert store.open(artifact) is store.open(artifact)


def test_store_keeps_few_trees_unpacked(tmp_path: Path) -> None:
    store = storage.Storage(tmp_path, "host", ManualClock())
    made = [put(store, f"a{number}") for number in range(storage.ARCHIVES + 3)]
    before = open_files()
    for artifact in made:
        store.open(artifact).entries()
    assert open_files() == before + storage.ARCHIVES
    store.remove(storage.Owner("Bucket", "ns", f"a{storage.ARCHIVES}"))
    assert open_files() == before + storage.ARCHIVES - 1


def test_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = storage.Storage(tmp_path, "host", ManualClock())
    kept = put(store, "a")
    owner = storage.Owner("Bucket", "ns", "a")
    large = MemoryTree({"large": hashlib.shake_256(b"x").digest(200_000)})
    with disk.full(), pytest.raises(OSError, match="too large"):
        store.put(owner, "2.tar.gz", "sha256:2", large)
    with disk.full(), pytest.raises(OSError, match="too large"):
        store.put_file(owner, "3.tgz", "sha256:3", io.BytesIO(large.read("large")))
    assert [path.name for path in (tmp_path / owner.folder).iterdir()] == ["1.tar.gz"]
    assert store.holds(kept)
    store.put(owner, "2.tar.gz", "sha256:2", large)


def test_full_disk_while_unpacking_passes(tmp_path: Path) -> None:
    tree = ArchiveTree(packed(tmp_path / "a.tar.gz", {"a": "0" * 200_000}), tmp_path)
    with disk.full(), pytest.raises(OSError, match="too large"):
        tree.entries()
    assert tree.read("a") == b"0" * 200_000


def test_artifact_of_another_digest_under_the_same_name_is_another_tree(tmp_path: Path) -> None:
    store = storage.Storage(tmp_path, "host", ManualClock())
    before = store.open(put(store, "a"))
    assert before.read("a") == b"a"
    owner = storage.Owner("Bucket", "ns", "a")
    after = store.put(owner, "1.tar.gz", "r", MemoryTree({"a": "new"}), is_lasting=False)
    assert store.open(after).read("a") == b"new"
    assert before.read("a") == b"a"


def test_store_knows_what_it_announced_and_what_it_holds(tmp_path: Path) -> None:
    store = storage.Storage(tmp_path, "http://host/home", ManualClock())
    mine = put(store, "a")
    assert store.is_own(mine)
    assert store.holds(mine)
    theirs = storage.Storage(tmp_path / "b", "http://flux/", ManualClock())
    foreign = put(theirs, "a")
    assert not store.is_own(foreign)
    assert store.holds(foreign)  # the same bytes at the same path
    other = theirs.put(storage.Owner("Bucket", "ns", "a"), "1.tar.gz", "r", MemoryTree({"b": "2"}))
    assert not store.holds(other)
    assert store.holds(mine), "what is another's does not cost us ours"
