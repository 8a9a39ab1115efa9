"""What a HelmRelease asks for where an action fails: its spec with Flux's defaults filled in.

Which part of the spec counts is decided by the action that was attempted last, an install or an
upgrade. Under ``RetryOnFailure`` nothing is ever undone and no attempt is the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from api import durations

if TYPE_CHECKING:
    from api.helm import HelmReleaseSpec, HelmReleaseStatus
    from api.helmactions import Strategy

TIMEOUT_S: Final = 300.0
"""Seconds an operation may take where the spec does not say."""
RETRY_S: Final = 300.0
"""Seconds between attempts under ``RetryOnFailure`` where the spec does not say."""
MAX_HISTORY: Final = 5
"""Revisions kept in storage where the spec does not say."""
INSTALL: Final = "install"
UPGRADE: Final = "upgrade"
_RETRY_ON_FAILURE: Final = "RetryOnFailure"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about failures of one kind of action."""

    action: str
    """``install`` or ``upgrade``."""
    retries: int = 0
    """Attempts after the first; negative for no limit."""
    ignores_test_failures: bool = False
    remediates_last: bool = False
    """Whether the failure after which no attempt remains is undone too."""
    strategy: Literal["rollback", "uninstall"] = "uninstall"
    """How a failure is undone."""
    retry_s: float | None = None
    """Seconds between attempts that are repeated without end and never undone; None otherwise."""

    def is_exhausted(self, failures: int) -> bool:
        """Whether no attempt remains after so many failures."""
        return self.retry_s is None and 0 <= self.retries < failures


def of_install(spec: HelmReleaseSpec) -> Policy:
    """Return what is done about failed installs."""
    install = spec.install
    retry_s = _retry_s(install.strategy if install else None)
    found = install.remediation if install else None
    if found is None:
        return Policy(INSTALL, ignores_test_failures=_ignores_tests(spec), retry_s=retry_s)
    return Policy(
        INSTALL,
        found.retries,
        _either(found.ignore_test_failures, default=_ignores_tests(spec)),
        _either(found.remediate_last_failure, default=False),
        retry_s=retry_s,
    )


def of_upgrade(spec: HelmReleaseSpec) -> Policy:
    """Return what is done about failed upgrades."""
    upgrade = spec.upgrade
    retry_s = _retry_s(upgrade.strategy if upgrade else None)
    found = upgrade.remediation if upgrade else None
    if found is None:
        ignores = _ignores_tests(spec)
        return Policy(UPGRADE, ignores_test_failures=ignores, strategy="rollback", retry_s=retry_s)
    return Policy(
        UPGRADE,
        found.retries,
        _either(found.ignore_test_failures, default=_ignores_tests(spec)),
        _either(found.remediate_last_failure, default=found.retries > 0),
        "uninstall" if found.strategy == "uninstall" else "rollback",
        retry_s,
    )


def active(spec: HelmReleaseSpec, status: HelmReleaseStatus) -> Policy | None:
    """Return the policy of the action that was attempted last; None before the first attempt."""
    match status.last_attempted_release_action:
        case "install":
            return of_install(spec)
        case "upgrade":
            return of_upgrade(spec)
        case _:
            return None


def failures_of(status: HelmReleaseStatus, action: str) -> int:
    """Return how often an action has failed since the counters were reset."""
    return status.install_failures if action == INSTALL else status.upgrade_failures


def ignores_test_failures(spec: HelmReleaseSpec, status: HelmReleaseStatus) -> bool:
    """Whether a failed test is no failure of the release."""
    found = active(spec, status)
    return found.ignores_test_failures if found else _ignores_tests(spec)


def tests(spec: HelmReleaseSpec) -> bool:
    """Whether the tests of the chart are to be run."""
    return spec.test is not None and spec.test.enable


def timeout_s(spec: HelmReleaseSpec, own: str | None = None) -> float:
    """Return how long an operation may take, in seconds.

    Args:
        spec: the HelmRelease's.
        own: the time limit of the operation itself, where it has one.
    """
    given = own or spec.timeout
    return durations.parse_or(given, TIMEOUT_S) if given else TIMEOUT_S


def max_history(spec: HelmReleaseSpec) -> int:
    """Return how many revisions stay in storage; 0 for all."""
    return MAX_HISTORY if spec.max_history is None else spec.max_history


def _retry_s(strategy: Strategy | None) -> float | None:
    if strategy is None or strategy.name != _RETRY_ON_FAILURE:
        return None
    return (
        durations.parse_or(strategy.retry_interval, RETRY_S)
        if strategy.retry_interval
        else (RETRY_S)
    )


def _ignores_tests(spec: HelmReleaseSpec) -> bool:
    return spec.test is not None and spec.test.ignore_failures


def _either(given: bool | None, *, default: bool) -> bool:
    return default if given is None else given
