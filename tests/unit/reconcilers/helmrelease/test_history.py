"""What of a release's history is known, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from reconcilers.helmrelease import history
from tests.unit.reconcilers.helmrelease.releases import BAD, GOOD, snapshot


def versions(found: history.History) -> list[int]:
    return [each.version for each in found]


def test_a_new_revision_comes_first() -> None:
    found = history.recorded((snapshot(1),), snapshot(2))
    assert versions(found) == [2, 1]


def test_a_superseded_revision_is_rewritten_and_keeps_tests_and_origin() -> None:
    before = (snapshot(1, test_hooks=GOOD, oci_digest="sha256:o", action="install"),)
    after = snapshot(1, status="superseded")
    newest, old = history.recorded(before, snapshot(2), after)
    assert newest.version == 2
    assert (old.status, old.test_hooks, old.oci_digest) == ("superseded", GOOD, "sha256:o")
    assert old.action == ""


def test_a_superseded_revision_that_is_not_known_stays_unknown() -> None:
    assert versions(history.recorded((), snapshot(2), snapshot(1, status="superseded"))) == [2]


def test_the_newest_revision_is_rewritten_in_place() -> None:
    known = (snapshot(2), snapshot(1))
    found = history.recorded(known, snapshot(2, test_hooks=BAD))
    assert versions(found) == [2, 1]
    assert found[0].test_hooks == BAD


@pytest.mark.parametrize(
    ("statuses", "kept"),
    [
        (["deployed"], 1),
        (["deployed", "superseded", "superseded"], 2),
        (["failed", "failed", "superseded", "superseded"], 3),
        (["failed"] * 7, 5),
        (["deployed", "failed", "uninstalled"], 3),
        ([], 0),
    ],
)
def test_a_success_keeps_the_history_back_to_the_last_good_revision(
    statuses: list[str], kept: int
) -> None:
    count = len(statuses)
    known = tuple(snapshot(count - i, status=status) for i, status in enumerate(statuses))
    found = history.truncated(known, ignores_tests=False, retries=False)
    assert found == known[:kept]


def test_failed_tests_make_a_revision_no_good_unless_they_are_ignored() -> None:
    known = (
        snapshot(4),
        snapshot(3, status="superseded", test_hooks=BAD),
        snapshot(2, status="superseded"),
        snapshot(1, status="superseded"),
    )
    assert len(history.truncated(known, ignores_tests=False, retries=False)) == 3
    assert len(history.truncated(known, ignores_tests=True, retries=False)) == 2
    assert history.previous(known, ignores_tests=False) == known[2]
    assert history.previous(known, ignores_tests=True) == known[1]


def test_retries_keep_the_newest_five() -> None:
    known = tuple(snapshot(version) for version in range(9, 0, -1))
    assert versions(history.truncated(known, ignores_tests=False, retries=True)) == [9, 8, 7, 6, 5]


@pytest.mark.parametrize(
    ("tests", "is_tested", "has_failed"),
    [(None, False, False), ({}, True, False), (GOOD, True, False), (BAD, True, True)],
)
def test_no_tests_asked_for_and_no_tests_found_are_told_apart(
    tests: Any, is_tested: bool, has_failed: bool
) -> None:
    found = snapshot(test_hooks=tests)
    assert (history.is_tested(found), history.has_failed_test(found)) == (is_tested, has_failed)
