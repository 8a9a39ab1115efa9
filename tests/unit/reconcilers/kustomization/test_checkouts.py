"""Build directories that are kept: what is written again, and what goes when there is no room."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconcilers.kustomization.checkouts import Checkout, Checkouts
from sources.tree import Entry, UnsafePathError, blob_id
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a.yaml": "a", "base/b.yaml": "b", "base/deep/c.yaml": "c"}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "build")
    assert update(made, FILES) == 3
    return made


def update(checkout: Checkout, files: dict[str, str]) -> int:
    tree = MemoryTree(files)
    return checkout.update(tree, tree.entries())


def held(checkout: Checkout) -> dict[str, str]:
    """Return the files below the directory, and the directories, which end in a slash."""
    found: dict[str, str] = {}
    for path in checkout.directory.rglob("*"):
        name = str(path.relative_to(checkout.directory))
        found |= {f"{name}/": ""} if path.is_dir() else {name: path.read_text()}
    return found


def test_directory_holds_what_was_asked_for(checkout: Checkout) -> None:
    assert held(checkout) == FILES | {"base/": "", "base/deep/": ""}
    assert (len(checkout), checkout.size_bytes) == (3, 3)


def test_same_files_are_not_written_again(checkout: Checkout) -> None:
    assert update(checkout, FILES) == 0


def test_changed_file_is_the_only_one_written(checkout: Checkout) -> None:
    assert update(checkout, FILES | {"a.yaml": "new"}) == 1
    assert held(checkout)["a.yaml"] == "new"
    assert checkout.size_bytes == 5


def test_file_that_left_takes_its_empty_directories_along(checkout: Checkout) -> None:
    assert update(checkout, {"a.yaml": "a", "base/b.yaml": "b"}) == 0
    assert held(checkout) == {"a.yaml": "a", "base/b.yaml": "b", "base/": ""}
    assert update(checkout, {"a.yaml": "a"}) == 0
    assert held(checkout) == {"a.yaml": "a"}


def test_last_file_that_left_leaves_the_directory(checkout: Checkout) -> None:
    assert update(checkout, {}) == 0
    assert held(checkout) == {}
    assert checkout.directory.is_dir()


def test_directory_may_become_a_file_and_a_file_a_directory(checkout: Checkout) -> None:
    assert update(checkout, {"a.yaml/x": "1", "base": "2"}) == 2
    assert held(checkout) == {"a.yaml/": "", "a.yaml/x": "1", "base": "2"}


def test_mode_that_changed_is_a_change(checkout: Checkout) -> None:
    tree = MemoryTree(FILES)
    entries = [entry._replace(mode=0o700) for entry in tree.entries()]
    assert checkout.update(tree, entries) == 3
    assert os.access(checkout.directory / "a.yaml", os.X_OK)


def test_file_that_somebody_touched_is_written_again(checkout: Checkout) -> None:
    (checkout.directory / "a.yaml").write_text("z")  # of the same size
    assert update(checkout, FILES) == 1
    assert held(checkout)["a.yaml"] == "a"


def test_file_that_became_a_link_is_replaced_and_not_followed(
    checkout: Checkout, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    (checkout.directory / "a.yaml").unlink()
    (checkout.directory / "a.yaml").symlink_to(outside)
    assert update(checkout, FILES | {"a.yaml": "new"}) == 1
    assert outside.read_text() == "theirs"
    assert held(checkout)["a.yaml"] == "new"


def test_directory_that_was_deleted_is_made_again(checkout: Checkout) -> None:
    for path in sorted(checkout.directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    checkout.directory.rmdir()
    assert update(checkout, FILES) == 3
    assert held(checkout) == FILES | {"base/": "", "base/deep/": ""}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//x", ""])
def test_path_that_leaves_the_directory_is_refused(checkout: Checkout, path: str) -> None:
    entry = Entry(path, blob_id(b"x"), 0o600)
    with pytest.raises(UnsafePathError):
        checkout.update(MemoryTree({}), [entry])


def test_what_is_taken_is_not_there_for_a_second_user(checkout: Checkout) -> None:
    kept = Checkouts()
    assert kept.give("ns.apps", checkout) == []
    assert kept.take("ns.other") is None
    assert kept.take("ns.apps") is checkout
    assert kept.take("ns.apps") is None


def test_second_directory_of_a_name_replaces_the_first(checkout: Checkout, tmp_path: Path) -> None:
    kept, other = Checkouts(), Checkout(tmp_path / "other")
    assert kept.give("ns.apps", checkout) == []
    assert kept.give("ns.apps", other) == [checkout]
    assert kept.take("ns.apps") is other


@pytest.mark.parametrize("limit", [{"max_files": 11}, {"max_bytes": 8}])
def test_those_used_longest_ago_go_when_there_is_no_room(
    tmp_path: Path, limit: dict[str, int]
) -> None:
    kept = Checkouts(**limit)
    made = [Checkout(tmp_path / str(number)) for number in range(4)]
    for each in made:
        update(each, FILES)
    assert [kept.give(str(number), made[number]) for number in (0, 1)] == [[], []]
    assert kept.take("0") is made[0]
    assert kept.give("0", made[0]) == []
    assert kept.give("2", made[2]) == [made[1]]
    assert kept.give("3", made[3]) == [made[0]]


def test_directory_larger_than_the_room_is_not_kept(checkout: Checkout) -> None:
    kept = Checkouts(max_bytes=2)
    assert kept.give("ns.apps", checkout) == [checkout]
    assert kept.take("ns.apps") is None
