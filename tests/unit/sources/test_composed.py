"""What an artifact is put together of: sparse directories, submodules, included artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sources import composed
from sources.composed import ComposedTree, MisplacedError, MissingDirectoryError, Part, TreeFiles
from sources.tree import walk_key
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def part(files: Mapping[str, str], source: str = "", target: str = "") -> Part:
    return Part(TreeFiles(MemoryTree(files)), target=target, source=source)


def content(tree: ComposedTree) -> dict[str, str]:
    return {entry.path: tree.read(entry.path).decode() for entry in tree.entries()}


REPOSITORY = {"README.md": "r", "deploy/a.yaml": "a", "deploy/b/c.yaml": "c", "docs/x.md": "x"}


def test_repository_alone_is_itself() -> None:
    tree = ComposedTree([part(REPOSITORY)], None)
    assert content(tree) == REPOSITORY
    assert tree.id == MemoryTree(REPOSITORY).id


def test_missing_file_is_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError):
        ComposedTree([part(REPOSITORY)], "/docs").read("docs/y.md")


def test_submodules_appear_in_their_directories_and_in_the_order_of_a_walk() -> None:
    tree = ComposedTree([part({"z": "1", "a": "2"}), part({"k": "3"}, target="lib/sub")], None)
    assert content(tree) == {"a": "2", "lib/sub/k": "3", "z": "1"}
    assert [each.path for each in tree.entries()] == ["a", "lib/sub/k", "z"]


def test_files_are_written_out_at_their_places(tmp_path: Path) -> None:
    tree = ComposedTree([part(REPOSITORY)], None, included=[part({"x/y": "1"}, "x", "vendor")])
    tree.checkout(tmp_path, "vendor")
    assert (tmp_path / "vendor/y").read_text() == "1"
    assert not (tmp_path / "README.md").exists()


# Sparse checkout: paths are compared as they are, as by Flux's Git library --------------------


@pytest.mark.parametrize(
    ("sparse", "expected"),
    [
        (["deploy"], ["deploy/a.yaml", "deploy/b/c.yaml"]),
        (["./deploy"], ["deploy/a.yaml", "deploy/b/c.yaml"]),
        (["deploy/"], ["deploy/a.yaml", "deploy/b/c.yaml"]),
        (["deploy/b"], ["deploy/b/c.yaml"]),
        (["docs", "deploy/b"], ["deploy/b/c.yaml", "docs/x.md"]),
        (["README.md"], ["README.md"]),
        (["./"], sorted(REPOSITORY, key=walk_key)),
        ([""], sorted(REPOSITORY, key=walk_key)),
    ],
)
def test_sparse_paths_leave_out_all_others(sparse: list[str], expected: list[str]) -> None:
    tree = ComposedTree([part(REPOSITORY)], None, sparse=sparse)
    assert [each.path for each in tree.entries()] == expected


def test_sparse_path_takes_neighbours_whose_name_begins_the_same() -> None:
    tree = ComposedTree([part({"deploy/a": "1", "deployments/b": "2"})], None, sparse=["deploy"])
    assert content(tree) == {"deploy/a": "1", "deployments/b": "2"}


@pytest.mark.parametrize(
    "sparse", ["nope", "Deploy", "/deploy", "dep", "../deploy", "docs/../deploy"]
)
def test_sparse_path_that_is_not_there_is_named(sparse: str) -> None:
    tree = ComposedTree([part(REPOSITORY)], None, sparse=["docs", sparse])
    with pytest.raises(MissingDirectoryError) as caught:
        tree.entries()
    assert str(caught.value) == (
        f"sparse checkout dir '{sparse}' does not exist in repository: no such file or directory"
    )


def test_sparse_paths_say_nothing_about_included_files() -> None:
    tree = ComposedTree(
        [part(REPOSITORY)], None, sparse=["docs"], included=[part({"k": "1"}, target="lib")]
    )
    assert content(tree) == {"docs/x.md": "x", "lib/k": "1"}


# Included artifacts ----------------------------------------------------------------------------

OTHER = {"a.yaml": "1", "base/b.yaml": "2", "base/sub/c.yaml": "3", "base.yaml": "4"}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("", "other", {f"other/{name}": text for name, text in OTHER.items()}),
        ("base", "lib", {"lib/b.yaml": "2", "lib/sub/c.yaml": "3"}),
        ("base/sub", "deploy/lib", {"deploy/lib/c.yaml": "3"}),
        ("base.yaml", "lib/one.yaml", {"lib/one.yaml": "4"}),
        ("base.yaml", "README.md", {"README.md": "4"}),
    ],
)
def test_included_files_are_copied_to_their_place(
    source: str, target: str, expected: dict[str, str]
) -> None:
    tree = ComposedTree([part(REPOSITORY)], None, included=[part(OTHER, source, target)])
    assert content(tree) == REPOSITORY | expected


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("nope", "lib", "nope: no such file or directory"),
        ("", "deploy", "deploy: file exists"),
        ("", "README.md", "README.md: file exists"),
        ("", "", "/: file exists"),
        ("base.yaml", "deploy", "deploy: file exists"),
        ("", "README.md/lib", "README.md: not a directory"),
    ],
)
def test_place_that_is_taken_is_an_error(source: str, target: str, text: str) -> None:
    wanted = part(OTHER, source, target)
    with pytest.raises(MisplacedError) as caught:
        ComposedTree([part(REPOSITORY)], None, included=[wanted]).entries()
    assert (str(caught.value), caught.value.part) == (text, wanted)


def test_later_include_may_lie_in_an_earlier_one_and_not_over_it() -> None:
    first, second = part({"a": "1"}, target="lib"), part({"b": "2"}, target="lib/more")
    tree = ComposedTree([part(REPOSITORY)], None, included=[first, second])
    assert content(tree) == REPOSITORY | {"lib/a": "1", "lib/more/b": "2"}
    with pytest.raises(MisplacedError, match="lib: file exists"):
        ComposedTree([part(REPOSITORY)], None, included=[second, first]).entries()


@pytest.mark.parametrize(
    ("patterns", "files", "expected"),
    [
        ("/lib/b", {"a": "1", "b": "2"}, ["lib/a"]),
        (None, {"a": "1", "b.jpg": "2"}, ["lib/a"]),
        (None, {".sourceignore": "/b\n", "a": "1", "b": "2"}, ["lib/.sourceignore", "lib/a"]),
    ],
)
def test_ignore_rules_reach_included_files(
    patterns: str | None, files: dict[str, str], expected: Sequence[str]
) -> None:
    tree = ComposedTree([part({})], patterns, included=[part(files, target="lib")])
    assert [each.path for each in tree.entries()] == expected


def test_ignore_file_that_is_not_checked_out_does_not_count() -> None:
    files = {".sourceignore": "*.md\n", "docs/x.md": "x"}
    assert content(ComposedTree([part(files)], None, sparse=["docs"])) == {"docs/x.md": "x"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""), (".", ""), ("/", ""), ("./a", "a"), ("/a/b/", "a/b"), ("../../etc", "etc"),
        ("a/../../b", "b"), ("//a", "a"),
    ],
)  # fmt: skip
def test_paths_stay_inside(path: str, expected: str) -> None:
    assert composed.inside(path) == expected
