"""Failures that stand, and when they are tried again."""

from __future__ import annotations

import pytest

from api import meta
from reconcilers.kustomization.failures import Failures
from runtime.errors import GitOpsError, SupersededError, TerminalError, TransientError, WaitingError
from tests.support.api import ManualClock

REF = meta.ObjectRef("c1", "Kustomization", "ns", "apps")
HERE = ("inputs",)


def rest(error: GitOpsError, *, later_s: float = 0.0, pause_s: float | None = None) -> GitOpsError:
    """Return what a drift leaves a failure at, some time after it."""
    clock = ManualClock()
    failures = Failures(clock)
    failures.note(REF, HERE, error)
    clock.move(later_s)
    failed = failures.get(REF)
    assert failed is not None
    return failures.rest(failed, pause_s)


@pytest.mark.parametrize(
    "error",
    [
        TransientError("Reason", "text", retry_after_s=60.0),
        WaitingError("Reason", "text", requeue_after_s=60.0),
    ],
)
def test_drift_leaves_the_next_try_where_it_was(error: GitOpsError) -> None:
    left = rest(error, later_s=20.0)
    assert isinstance(left, WaitingError)
    assert left.requeue_after_s == 40.0
    assert (left.reason, left.message) == ("Reason", "text")


def test_pause_of_a_fight_that_ends_before_the_next_try_wakes_sooner() -> None:
    error = TransientError("Reason", "text", retry_after_s=60.0)
    left = rest(error, pause_s=5.0)
    assert isinstance(left, WaitingError)
    assert left.requeue_after_s == 5.0


def test_what_only_a_change_helps_is_not_tried_again() -> None:
    error = TerminalError("Reason", "text")
    assert rest(error, later_s=1e6) is error


def test_run_that_something_newer_ended_is_no_failure() -> None:
    failures = Failures(ManualClock())
    failures.note(REF, HERE, TerminalError("Reason", "text"))
    failures.note(REF, HERE, SupersededError("Reason", "text"))
    assert failures.get(REF) is None
