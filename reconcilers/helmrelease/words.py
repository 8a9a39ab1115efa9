"""What conditions and events of a HelmRelease say: Flux's reasons and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import durations

if TYPE_CHECKING:
    from api.helm import Snapshot
    from reconcilers.helmrelease.decision import Action

INSTALL_SUCCEEDED: Final = "InstallSucceeded"
INSTALL_FAILED: Final = "InstallFailed"
UPGRADE_SUCCEEDED: Final = "UpgradeSucceeded"
UPGRADE_FAILED: Final = "UpgradeFailed"
PENDING_RELEASE: Final = "PendingRelease"
TEST_SUCCEEDED: Final = "TestSucceeded"
TEST_FAILED: Final = "TestFailed"
AWAITING_TESTS: Final = "AwaitingTests"
ROLLBACK_SUCCEEDED: Final = "RollbackSucceeded"
ROLLBACK_FAILED: Final = "RollbackFailed"
UNINSTALL_SUCCEEDED: Final = "UninstallSucceeded"
UNINSTALL_FAILED: Final = "UninstallFailed"
DRIFT_DETECTED: Final = "DriftDetected"
NO_DRIFT_DETECTED: Final = "NoDriftDetected"
DRIFT_CORRECTED: Final = "DriftCorrected"
DRIFT_CORRECTION_FAILED: Final = "DriftCorrectionFailed"
SOURCE_NOT_READY: Final = "SourceNotReady"
VALUES_ERROR: Final = "ValuesError"
STATE_ERROR: Final = "StateError"
CHART_MUTATE_ERROR: Final = "ChartMutateError"
RECONCILE_ERROR: Final = "ReconcileError"
UNKNOWN_FIELDS: Final = "UnknownFields"
HELM_CHART_CREATED: Final = "HelmChartCreated"
HELM_CHART_CONFIGURED: Final = "HelmChartConfigured"
HELM_CHART_DELETED: Final = "HelmChartDeleted"
HELM_CHART_SYNC_ERROR: Final = "HelmChartSyncErr"

FULFILLING: Final = "Fulfilling prerequisites"
NO_DRIFT: Final = "No drift detected against the cluster state"


def full_name(namespace: str, name: str, version: int) -> str:
    """Return how messages call a revision of a release."""
    return f"{namespace}/{name}.v{version}"


def release_of(snapshot: Snapshot) -> str:
    """Return how messages call a revision that the history has."""
    return full_name(snapshot.namespace, snapshot.name, snapshot.version)


def chart_of(snapshot: Snapshot) -> str:
    """Return how messages call the chart of a revision."""
    return f"{snapshot.chart_name}@{snapshot.chart_version}"


def running(action: Action, timeout_s: float) -> str:
    """Say that an action has begun."""
    limit = durations.format_go(timeout_s)
    return f"Running '{action.value}' action with timeout of {limit}"


def succeeded(what: str, snapshot: Snapshot) -> str:
    """Say that an install or an upgrade succeeded."""
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm {what} succeeded for release {release} with chart {chart}"


def failed(what: str, release: str, chart: str, why: str) -> str:
    """Say that an install or an upgrade failed.

    Args:
        what: ``install`` or ``upgrade``.
        release: ``<namespace>/<name>`` of the release.
        chart: ``<name>@<version>``.
        why: what went wrong.
    """
    return f"Helm {what} failed for release {release} with chart {chart}: {why}"


def awaiting_tests(snapshot: Snapshot) -> str:
    """Say that tests are still to be run."""
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm release {release} with chart {chart} is awaiting tests"


def tested(snapshot: Snapshot) -> str:
    """Say that no test failed."""
    count = len(snapshot.test_hooks or ())
    hooks = "no test hooks"
    if count:
        hooks = f"{count} test hook{'s' if count > 1 else ''} completed successfully"
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm test succeeded for release {release} with chart {chart}: {hooks}"


def test_failed(snapshot: Snapshot, why: str) -> str:
    """Say that a test failed."""
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm test failed for release {release} with chart {chart}: {why}"


def rolled_back(snapshot: Snapshot, why: str = "") -> str:
    """Say how a rollback to a revision went; ``why`` it failed, if it did."""
    end = f"failed: {why}" if why else "succeeded"
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm rollback to previous release {release} with chart {chart} {end}"


def undone(snapshot: Snapshot, why: str = "") -> str:
    """Say how the uninstall of a failed revision went; ``why`` it failed, if it did."""
    end = f"failed: {why}" if why else "succeeded"
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm uninstall remediation for release {release} with chart {chart} {end}"


def uninstalled(snapshot: Snapshot) -> str:
    """Say that a release was uninstalled."""
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm uninstall succeeded for release {release} with chart {chart}"


def uninstall_failed(snapshot: Snapshot, why: str) -> str:
    """Say that a release could not be uninstalled."""
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Helm uninstall failed for release {release} with chart {chart}: {why}"


def not_found(snapshot: Snapshot) -> str:
    """Say that there was no record to uninstall."""
    return f"Release {release_of(snapshot)} was not found, assuming it is uninstalled"


def unlocked(snapshot: Snapshot, status: str) -> str:
    """Say that a record that an operation left pending is not pending any more."""
    release, chart = release_of(snapshot), chart_of(snapshot)
    return f"Unlocked Helm release {release} with chart {chart} in {status} state"


def drifted(snapshot: Snapshot, lines: str) -> str:
    """Say which objects are not as the release left them."""
    return (
        f"Cluster state of release {release_of(snapshot)} has drifted from the desired state:"
        f"\n{lines}"
    )


def corrected(snapshot: Snapshot, lines: str) -> str:
    """Say which objects were put right."""
    return f"Cluster state of release {release_of(snapshot)} has been corrected:\n{lines}"
