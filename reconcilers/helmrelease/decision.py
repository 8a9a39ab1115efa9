"""Which action follows from how a release stands: Flux's table as one pure function."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, assert_never

from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease import policy
from reconcilers.helmrelease.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.helm import HelmRelease, Snapshot


class Class(enum.Enum):
    """What kind of thing an action is; one of each kind is done in a run."""

    RELEASE = enum.auto()
    REMEDIATE = enum.auto()
    TEST = enum.auto()
    UNLOCK = enum.auto()
    DRIFT = enum.auto()


class Action(enum.Enum):
    """What can be done about a release; the value is what messages call it."""

    INSTALL = "install"
    UPGRADE = "upgrade"
    TEST = "test"
    ROLLBACK = "rollback"
    UNINSTALL = "uninstall"
    """Undoes a failed install or upgrade."""
    UNLOCK = "unlock"
    CORRECT = "correct cluster drift"

    @property
    def class_(self) -> Class:
        """What kind of thing it is."""
        match self:
            case Action.INSTALL | Action.UPGRADE:
                return Class.RELEASE
            case Action.ROLLBACK | Action.UNINSTALL:
                return Class.REMEDIATE
            case Action.TEST:
                return Class.TEST
            case Action.UNLOCK:
                return Class.UNLOCK
            case Action.CORRECT:
                return Class.DRIFT
            case _:
                assert_never(self)

    @property
    def is_release(self) -> bool:
        """Whether it makes a new revision of what is wanted."""
        return self.class_ is Class.RELEASE


@dataclass(frozen=True, slots=True)
class Act:
    """Do something."""

    action: Action
    forgets_history: bool = False
    """Whether what the history tells can no longer be relied upon."""


@dataclass(frozen=True, slots=True)
class Rest:
    """There is nothing to do."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing can be done until something changes."""

    reason: str
    message: str


Decision: TypeAlias = Act | Rest | Stall
RETRIES_EXCEEDED = "RetriesExceeded"
MISSING_ROLLBACK_TARGET = "MissingRollbackTarget"
_UPGRADE = Act(Action.UPGRADE)


def decide(
    item: HelmRelease,
    state: State,
    *,
    is_forced: bool,
    is_intact: Callable[[Snapshot], bool],
) -> Decision:
    """Return what to do next.

    Args:
        item: the HelmRelease, with the status as it is at this moment of the run.
        state: how its release stands.
        is_forced: whether somebody asks for an install or upgrade in any case.
        is_intact: tells whether storage still has a revision as the history tells of it.
    """
    match state:
        case State.IN_SYNC:
            return _UPGRADE if is_forced else Rest()
        case State.LOCKED:
            return Act(Action.UNLOCK)
        case State.UNMANAGED:
            return Act(Action.UPGRADE, forgets_history=True)
        case State.ABSENT:
            return _attempt(item, Action.INSTALL, is_forced=is_forced)
        case State.OUT_OF_SYNC:
            return _attempt(item, Action.UPGRADE, is_forced=is_forced)
        case State.DRIFTED:
            mode = item.spec.drift_detection.mode if item.spec.drift_detection else ""
            return Act(Action.CORRECT) if mode == "enabled" else Rest()
        case State.UNTESTED:
            return Act(Action.TEST)
        case State.FAILED:
            return _after_failure(item, is_forced=is_forced, is_intact=is_intact)
        case _:
            assert_never(state)


def exhausted(item: HelmRelease) -> Stall:
    """Return the end of a HelmRelease that has no attempt left."""
    action = item.status.last_attempted_release_action
    failures = policy.failures_of(item.status, action)
    return Stall(RETRIES_EXCEEDED, f"Failed to {action} after {failures} attempt(s)")


def is_exhausted(item: HelmRelease) -> bool:
    """Whether the action that was attempted last has no attempt left."""
    active = policy.active(item.spec, item.status)
    return active is not None and active.is_exhausted(
        policy.failures_of(item.status, active.action)
    )


def _attempt(item: HelmRelease, action: Action, *, is_forced: bool) -> Decision:
    own = policy.of_install if action is Action.INSTALL else policy.of_upgrade
    failures = policy.failures_of(item.status, action.value)
    if not is_forced and own(item.spec).is_exhausted(failures):
        return exhausted(item)
    return Act(action)


def _after_failure(
    item: HelmRelease, *, is_forced: bool, is_intact: Callable[[Snapshot], bool]
) -> Decision:
    active = policy.active(item.spec, item.status)
    if active is None or active.retry_s is not None or is_forced:
        return _UPGRADE
    failures = policy.failures_of(item.status, active.action)
    if failures <= 0:
        return _UPGRADE
    if active.is_exhausted(failures) and not active.remediates_last:
        return exhausted(item)
    if active.strategy == "uninstall":
        return Act(Action.UNINSTALL)
    target = histories.previous(item.status.history, ignores_tests=active.ignores_test_failures)
    if target is None:
        why = "missing target release for rollback: cannot remediate failed release"
        return Stall(MISSING_ROLLBACK_TARGET, f"Failed to perform remediation: {why}")
    return Act(Action.ROLLBACK) if is_intact(target) else _UPGRADE
