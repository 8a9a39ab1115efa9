from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sources import localtree, tree

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_files_come_in_the_order_of_a_walk_with_git_s_identifiers(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "a/z.yaml", "a-b.yaml")

    entries = localtree.LocalTree(tmp_path).entries()

    assert [each.path for each in entries] == ["a/z.yaml", "a-b.yaml", "b.yaml"]
    assert entries[0].id == tree.blob_id(b"a/z.yaml")
    assert {each.mode for each in entries} == {tree.FILE_MODE}


def test_ignore_rules_and_version_control_leave_files_out(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "docs/b.yaml", ".git/config", "sub/.sourceignore", "sub/c.yaml")
    (tmp_path / "sub/.sourceignore").write_text("c.yaml\n")

    found = localtree.LocalTree(tmp_path, "docs/\n").entries()

    assert [each.path for each in found] == ["a.yaml", "sub/.sourceignore"]


def test_links_are_left_out_and_programs_keep_their_mode(tmp_path: Path) -> None:
    write(tmp_path, "run.sh")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link.yaml").symlink_to("/etc/passwd")

    (entry,) = localtree.LocalTree(tmp_path).entries()

    assert (entry.path, entry.mode) == ("run.sh", tree.EXECUTABLE_MODE)


def test_only_the_given_files_are_considered(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "secret.yaml")

    found = localtree.LocalTree(tmp_path, paths=["a.yaml", "deleted.yaml"])

    assert [each.path for each in found.entries()] == ["a.yaml"]
    assert found.read("a.yaml") == b"a.yaml"
    with pytest.raises(FileNotFoundError):
        found.read("secret.yaml")


def test_equal_content_has_equal_identity(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write(tmp_path / folder, "a.yaml")

    one, two = (localtree.LocalTree(tmp_path / folder) for folder in ("one", "two"))

    assert one.id == two.id


def test_checkout_writes_the_files_below_a_prefix(tmp_path: Path) -> None:
    write(tmp_path / "from", "a/b.yaml", "c.yaml")
    (tmp_path / "to").mkdir()

    localtree.LocalTree(tmp_path / "from").checkout(tmp_path / "to", "a")

    assert [path.name for path in (tmp_path / "to").rglob("*.yaml")] == ["b.yaml"]


def test_repository_of_a_directory_is_the_working_tree_around_it(tmp_path: Path) -> None:
    write(tmp_path, ".git/config", "deploy/apps/a.yaml")

    assert localtree.repository_of(tmp_path / "deploy" / "apps") == tmp_path
