from __future__ import annotations

from mcp_server import returning
from tests.support.fluxobjects import SHA, flux, git, kustomization

GOOD, BAD = f"main@sha1:{'a' * 40}", f"main@sha1:{SHA}"


def snapshot(revision: str, outcome: str) -> dict[str, object]:
    return {
        "metadata": {"revision": revision},
        "lastReconciledStatus": outcome,
        "firstReconciled": "2026-01-02T12:00:00Z",
        "lastReconciled": "2026-01-02T12:30:00Z",
    }


def test_way_back_reverts_what_came_after_the_last_success() -> None:
    item = kustomization(
        "apps",
        ready="False",
        lastAttemptedRevision=BAD,
        history=[snapshot(BAD, "BuildFailed"), snapshot(GOOD, "ReconciliationSucceeded")],
    )

    found = returning.hint(item, git())

    assert (found.current, found.last_good) == (BAD, GOOD)
    assert any("git revert --no-edit aaaaaaaaaaaa..7e0b4c5a9d1f" in step for step in found.steps)
    assert any(f"plan_change with revision={'a' * 40} shows" in step for step in found.steps)
    assert any(f"spec.ref.commit: {'a' * 40}" in step for step in found.steps)


def test_failure_without_a_success_before_it_has_no_way_back() -> None:
    item = kustomization("apps", ready="False", lastAttemptedRevision=BAD)

    assert "no earlier state that worked" in returning.hint(item, git()).steps[0]


def test_release_goes_back_to_the_version_that_worked() -> None:
    history = [
        {"chartVersion": "2.0.0", "status": "failed"},
        {"chartVersion": "1.9.0", "status": "superseded"},
    ]
    release = flux(
        "HelmRelease", "web", ready="False", history=history, lastAttemptedRevision="2.0.0"
    )

    found = returning.hint(release, None)

    assert found.last_good == "1.9.0"
    assert "set the chart's version to 1.9.0" in found.steps[0]


def test_what_is_well_and_has_no_past_needs_nothing() -> None:
    assert "it is ready" in returning.hint(kustomization("apps"), git()).steps[0]
