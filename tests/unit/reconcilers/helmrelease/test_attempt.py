"""What a run says: Ready out of the other conditions, counters, requests, metadata of events."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api import meta
from api.meta import Condition
from reconcilers.helmrelease import loop
from reconcilers.helmrelease.attempt import Attempt, decisive
from reconcilers.helmrelease.decision import Action
from runtime import conditions
from tests.unit.reconcilers.helmrelease.releases import release, snapshot

if TYPE_CHECKING:
    from api.helm import HelmRelease

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TESTED = {"test": {"enable": True}}


def attempt(item: HelmRelease) -> Attempt:
    clock = SimpleNamespace(monotonic=lambda: 0.0, now=lambda: NOW)
    context: Any = SimpleNamespace(name="c", clock=clock)
    return Attempt(context, None, item, None)  # type: ignore[arg-type]  # neither is used here


def said(type_: str, status: str, generation: int = 2) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=f"{type_}{status}",
        message="m",
        last_transition_time="2026-01-01T00:00:00Z",
        observed_generation=generation,
    )


@pytest.mark.parametrize(
    ("spec", "found", "expected"),
    [
        ({}, [said("Released", "True")], ("True", "ReleasedTrue")),
        ({}, [said("Released", "False")], ("False", "ReleasedFalse")),
        (
            {},
            [said("Released", "False"), said("Remediated", "True")],
            ("False", "RemediatedTrue"),
        ),
        (
            {},
            [said("Released", "True"), said("Remediated", "True", 1)],
            ("True", "ReleasedTrue"),
        ),
        (
            TESTED,
            [said("Released", "True"), said("TestSuccess", "Unknown")],
            ("Unknown", "TestSuccessUnknown"),
        ),
        (
            TESTED,
            [said("Released", "True"), said("TestSuccess", "False")],
            ("False", "TestSuccessFalse"),
        ),
        (
            {"test": {"enable": True, "ignoreFailures": True}},
            [said("Released", "True"), said("TestSuccess", "False")],
            ("True", "ReleasedTrue"),
        ),
        ({}, [said("Released", "True"), said("TestSuccess", "False")], ("True", "ReleasedTrue")),
    ],
)
def test_ready_is_what_the_newest_and_weightiest_condition_says(
    spec: dict[str, Any], found: list[Condition], expected: tuple[str, str]
) -> None:
    run = attempt(release(spec, conditions=(*found, said("Stalled", "True"))))
    run.summarise()
    ready = conditions.get(run.status.conditions, meta.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == expected
    assert conditions.is_true(run.status.conditions, meta.STALLED) == (expected[0] != "True")


def test_tests_that_are_switched_off_take_their_condition_along() -> None:
    run = attempt(release(conditions=(said("Released", "True"), said("TestSuccess", "False"))))
    run.summarise()
    assert conditions.get(run.status.conditions, meta.TEST_SUCCESS) is None


def test_without_conditions_ready_stays_as_it_is() -> None:
    run = attempt(release())
    run.summarise()
    assert run.status.conditions == ()
    assert decisive((), ["Released"]) is None


@pytest.mark.parametrize(
    ("action", "counts"), [("install", (1, 1, 0)), ("upgrade", (1, 0, 1)), ("", (1, 0, 0))]
)
def test_only_what_left_a_record_uses_up_an_attempt(
    action: str, counts: tuple[int, int, int]
) -> None:
    run = attempt(release())
    run.count_failure(action)
    status = run.status
    assert (status.failures, status.install_failures, status.upgrade_failures) == counts
    run.forgive()
    assert run.status.failures == run.status.install_failures == run.status.upgrade_failures == 0


@pytest.mark.parametrize(
    ("marks", "handled", "forced"),
    [
        ({}, "", False),
        ({meta.FORCE_AT: "1"}, "", False),
        ({meta.FORCE_AT: "1", meta.REQUESTED_AT: "2"}, "", False),
        ({meta.FORCE_AT: "2", meta.REQUESTED_AT: "2"}, "", True),
        ({meta.FORCE_AT: "2", meta.REQUESTED_AT: "2"}, "2", False),
        ({meta.FORCE_AT: "2", meta.REQUESTED_AT: "2"}, "1", True),
    ],
)
def test_a_request_counts_once_and_with_the_one_it_comes_with(
    marks: dict[str, str], handled: str, forced: bool
) -> None:
    item = release(last_handled_force_at=handled)
    own = msgspec.structs.replace(item.metadata, annotations=marks)
    assert attempt(msgspec.structs.replace(item, metadata=own)).is_force_pending is forced


def test_only_a_release_leaves_open_whether_all_is_well() -> None:
    run = attempt(release(conditions=(said("Ready", "False"),)))
    run.begin(Action.ROLLBACK, 60)
    assert conditions.is_false(run.status.conditions, meta.READY)
    run.begin(Action.UPGRADE, 300)
    found = conditions.get(run.status.conditions, meta.RECONCILING)
    assert found is not None
    assert found.message == "Running 'upgrade' action with timeout of 5m0s"
    ready = conditions.get(run.status.conditions, meta.READY)
    assert ready is not None
    assert (ready.status, ready.message) == ("Unknown", found.message)


def test_events_tell_what_is_released() -> None:
    run = attempt(
        release(
            last_attempted_revision="1.0.0+abc",
            last_attempted_config_digest="sha256:v",
            last_attempted_revision_digest="sha256:o",
            history=(snapshot(app_version="7"),),
        )
    )
    assert run.metadata() == {
        "helm.toolkit.fluxcd.io/revision": "1.0.0+abc",
        "helm.toolkit.fluxcd.io/token": "sha256:v",
        "helm.toolkit.fluxcd.io/app-version": "7",
        "helm.toolkit.fluxcd.io/oci-digest": "sha256:o",
    }


@pytest.mark.parametrize(
    ("failures", "pause"), [(0, 0.0), (1, 0.0), (2, 0.75), (3, 1.5), (5, 6.0), (50, 900.0)]
)
def test_failures_are_tried_again_at_growing_intervals(failures: int, pause: float) -> None:
    assert loop.pause_s(failures) == pause
