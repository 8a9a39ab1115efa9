"""How a release stands: every row of Flux's table."""

from __future__ import annotations

from typing import Any

import pytest

from reconcilers.helmrelease import state
from reconcilers.helmrelease.state import State
from tests.unit.reconcilers.helmrelease.releases import (
    BAD,
    GOOD,
    release,
    snapshot,
    stored,
    wanted,
)

TESTED = {"test": {"enable": True}}


def test_a_release_without_a_record_is_absent() -> None:
    found = state.determine(release(history=(snapshot(),)), wanted(), None)
    assert found.state is State.ABSENT


@pytest.mark.parametrize(
    "status", ["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"]
)
@pytest.mark.parametrize("history", [(), (snapshot(),), (snapshot(3),)])
def test_a_pending_record_is_locked_whatever_the_history_says(
    status: str, history: tuple[Any, ...]
) -> None:
    found = state.determine(release(history=history), wanted(), stored(status=status))
    assert found == (State.LOCKED, f"release with status '{status}'")


@pytest.mark.parametrize("history", [(), (snapshot(),), (snapshot(digest="sha256:other"),)])
def test_an_uninstalled_release_is_absent(history: tuple[Any, ...]) -> None:
    found = state.determine(release(history=history), wanted(), stored(status="uninstalled"))
    assert found.state is State.ABSENT


@pytest.mark.parametrize(
    "history",
    [
        pytest.param((), id="nothing known of it"),
        pytest.param((snapshot(2),), id="another revision"),
        pytest.param((snapshot(name="other"),), id="another name"),
        pytest.param((snapshot(namespace="other"),), id="another namespace"),
        pytest.param((snapshot(digest="sha256:other"),), id="another digest"),
        pytest.param((snapshot(digest="nonsense"),), id="no digest"),
    ],
)
@pytest.mark.parametrize("status", ["deployed", "failed"])
def test_a_record_that_is_not_the_newest_of_the_history_is_not_ours(
    history: tuple[Any, ...], status: str
) -> None:
    found = state.determine(release(history=history), wanted(), stored(status=status))
    assert found.state is State.UNMANAGED


@pytest.mark.parametrize("version", ["v1", ""])
def test_digests_of_older_snapshots_are_not_compared(version: str) -> None:
    history = (snapshot(digest="sha256:other", api_version=version),)
    found = state.determine(release(history=history), wanted(), stored())
    assert found.state is State.IN_SYNC


def test_a_failed_record_is_failed() -> None:
    item = release(history=(snapshot(status="failed"),))
    found = state.determine(item, wanted(chart_version="2.0.0"), stored(status="failed"))
    assert found.state is State.FAILED


@pytest.mark.parametrize("status", ["superseded", "unknown", ""])
def test_a_status_that_no_finished_operation_leaves_is_an_error(status: str) -> None:
    item = release(history=(snapshot(),))
    with pytest.raises(state.UnexpectedStatusError, match=f"with status '{status}'"):
        state.determine(item, wanted(), stored(status=status))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"chart_name": "other"}, "release chart changed"),
        ({"chart_version": "1.0.1"}, "release chart changed"),
        ({"config_digest": "sha256:other"}, "release config values changed"),
        ({"post_renderers_digest": "sha256:p"}, "post renderers digest has changed"),
        ({"common_metadata_digest": "sha256:m"}, "common metadata digest has changed"),
        ({"chart_version": "2", "config_digest": "sha256:o"}, "release chart changed"),
    ],
)
def test_what_is_wanted_otherwise_is_out_of_sync(change: dict[str, Any], why: str) -> None:
    item = release(history=(snapshot(),), observed_generation=1)
    assert state.determine(item, wanted(**change), stored()) == (State.OUT_OF_SYNC, why)


@pytest.mark.parametrize(
    "change", [{"post_renderers_digest": "p"}, {"common_metadata_digest": "m"}]
)
def test_other_renderers_do_not_count_in_a_generation_that_was_dealt_with(
    change: dict[str, Any],
) -> None:
    item = release(history=(snapshot(),), observed_generation=2)
    assert state.determine(item, wanted(**change), stored()).state is State.IN_SYNC


def test_renderers_that_were_observed_are_no_change() -> None:
    item = release(
        history=(snapshot(),),
        observed_post_renderers_digest="p",
        observed_common_metadata_digest="m",
    )
    as_observed = wanted(post_renderers_digest="p", common_metadata_digest="m")
    assert state.determine(item, as_observed, stored()).state is State.IN_SYNC


@pytest.mark.parametrize(
    ("tests", "spec", "expected"),
    [
        (None, {}, State.IN_SYNC),
        (None, TESTED, State.UNTESTED),
        ({}, TESTED, State.IN_SYNC),
        (GOOD, TESTED, State.IN_SYNC),
        (BAD, TESTED, State.FAILED),
        (BAD, {}, State.IN_SYNC),
        (BAD, {"test": {"enable": True, "ignoreFailures": True}}, State.IN_SYNC),
        (
            BAD,
            TESTED | {"install": {"remediation": {"ignoreTestFailures": True}}},
            State.IN_SYNC,
        ),
        (
            BAD,
            {"test": {"enable": True, "ignoreFailures": True}}
            | {"install": {"remediation": {"ignoreTestFailures": False}}},
            State.FAILED,
        ),
    ],
)
def test_tests_count_where_they_are_asked_for(
    tests: Any, spec: dict[str, Any], expected: State
) -> None:
    item = release(
        spec,
        history=(snapshot(test_hooks=tests),),
        last_attempted_release_action="install",
    )
    assert state.determine(item, wanted(), stored()).state is expected
