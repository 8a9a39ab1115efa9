"""What counts as well: by the rules of Helm 3, and for hooks."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kube.desired import Desired
from kube.health import State
from kube.objects import ObjectId
from reconcilers.helmrelease import waiting
from reconcilers.helmrelease.bundle import Bundle

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def obj(kind: str, api_version: str = "v1", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "a", "namespace": "ns", "generation": 1},
        "spec": {},
        "status": status,
    }


FAILED_JOB = obj("Job", "batch/v1", conditions=[{"type": "Failed", "status": "True"}])
STUCK = obj(
    "Deployment",
    "apps/v1",
    observedGeneration=1,
    conditions=[
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
    ],
)
BROKEN = obj("Thing", "example.com/v1", conditions=[{"type": "Stalled", "status": "True"}])


@pytest.mark.parametrize(
    ("found", "state"),
    [
        pytest.param(BROKEN, State.CURRENT, id="a kind that Helm 3 did not wait for"),
        pytest.param(STUCK, State.IN_PROGRESS, id="a failure is sat out"),
        pytest.param(FAILED_JOB, State.FAILED, id="a Job that failed has failed"),
        pytest.param(obj("Pod", phase="Pending"), State.IN_PROGRESS, id="a Pod that is to come"),
    ],
)
def test_helm_3_waited_for_few_kinds_and_sat_out_failures(
    found: dict[str, Any], state: State
) -> None:
    assert waiting.LegacyRules().assess(found, NOW).status is state


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (obj("Pod", phase="Succeeded"), State.CURRENT),
        (obj("Pod", phase="Running"), State.IN_PROGRESS),
        (obj("Pod"), State.IN_PROGRESS),
        (obj("Pod", phase="Failed", reason="Evicted"), State.FAILED),
        (FAILED_JOB, State.FAILED),
        (obj("Job", "batch/v1"), State.IN_PROGRESS),
        (STUCK, State.CURRENT),
    ],
)
def test_hooks_are_done_when_their_job_or_pod_is(found: dict[str, Any], state: State) -> None:
    assert waiting.HOOKS.assess(found, NOW).status is state


def test_jobs_and_paused_deployments_need_not_be_waited_for() -> None:
    job, web, held = (
        ObjectId("ns", "a", "batch", "Job"),
        ObjectId("ns", "a", "apps", "Deployment"),
        ObjectId("ns", "b", "apps", "Deployment"),
    )
    found = Bundle(
        tuple(Desired(each, "v1", b"") for each in (job, web, held)),
        paused=frozenset({held}),
        expiring=frozenset({job}),
    )
    checked = waiting.checks(found, with_jobs=True)
    assert [(each.id, each.expires) for each in checked] == [(job, True), (web, False)]
    assert [each.id for each in waiting.checks(found, with_jobs=False)] == [web]
