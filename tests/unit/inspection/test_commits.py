"""Commits out of the daemon's Git stores, read by their id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Blob, Commit, Tree

from inspection import commits

if TYPE_CHECKING:
    from pathlib import Path


def store(data_dir: Path, repository: str, message: str) -> str:
    """Put a commit into the store of a repository and return its id."""
    folder = data_dir / "git" / repository / "objects-1"
    folder.mkdir(parents=True)
    objects = DiskObjectStore.init(str(folder))
    tree = Tree()
    commit = Commit()
    commit.tree = tree.id
    commit.author = commit.committer = b"Ada Lovelace <ada@example.com>"
    commit.author_time = commit.commit_time = 1767355200
    commit.author_timezone = commit.commit_timezone = 3600
    commit.message = message.encode("utf-8", "surrogateescape")
    for each in (tree, commit, Blob.from_string(b"a")):
        objects.add_object(each)
    objects.close()
    return commit.id.decode()


def test_commit_is_found_in_whichever_store_has_it(tmp_path: Path) -> None:
    store(tmp_path, "one", "first")
    sha = store(tmp_path, "two", "Mend the fleet\n\nBecause it was broken.")

    found = commits.find(tmp_path, sha)

    assert found is not None
    assert (found.sha, found.author) == (sha, "Ada Lovelace <ada@example.com>")
    assert (found.subject, found.time) == ("Mend the fleet", "2026-01-02T12:00:00Z")


@pytest.mark.parametrize("sha", ["0" * 40, "x" * 40, "", "nonsense", "7e0b4c5a"])
def test_commit_that_nobody_fetched_is_none(tmp_path: Path, sha: str) -> None:
    store(tmp_path, "one", "first")

    assert commits.find(tmp_path, sha) is None


def test_blob_is_no_commit(tmp_path: Path) -> None:
    store(tmp_path, "one", "first")

    assert commits.find(tmp_path, Blob.from_string(b"a").id.decode()) is None


def test_message_that_is_no_text_is_shown_all_the_same(tmp_path: Path) -> None:
    sha = store(tmp_path, "one", "caf\udce9")

    found = commits.find(tmp_path, sha)

    assert found is not None
    assert found.subject.startswith("caf")


def test_machine_without_stores_knows_no_commit(tmp_path: Path) -> None:
    assert commits.find(tmp_path / "nowhere", "0" * 40) is None
