"""Brings a release to what is wanted, one action after the other, each decided on what is then.

As in Flux no kind of action is done twice in a run, and a run ends with what undoes a failure. The
status is written before each action, and once more when the last one has ended.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from api import durations, meta
from kube import ownership
from kube.helm import record
from kube.helm.storage import SECRETS
from reconcilers.helmrelease import (
    applying,
    decision,
    drift,
    policy,
    records,
    release,
    remedy,
    state,
    testing,
    unlock,
    words,
)
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease import terms as all_terms
from reconcilers.helmrelease.decision import Act, Action, Class, Rest, Stall
from reconcilers.helmrelease.state import State
from runtime import conditions
from runtime.errors import TransientError, WaitingError

if TYPE_CHECKING:
    from api.helm import Snapshot
    from reconcilers.helmrelease.state import Standing
    from reconcilers.helmrelease.work import Work

FIRST_PAUSE_S: Final = 0.75
MAX_PAUSE_S: Final = 900.0
BUSY_S: Final = 10.0
"""Seconds until a release that somebody else works on is looked at again."""


@dataclass(frozen=True, slots=True)
class Done:
    """There is nothing left to do."""


@dataclass(frozen=True, slots=True)
class Again:
    """There is more to do, in another run."""

    after_s: float
    """Seconds until then; 0 for at once."""


Ending: TypeAlias = Done | Again | Stall


async def run(work: Work) -> Ending:
    """Do what there is to do.

    Returns:
        How the run ends; the status says so too, and is still to be written.

    Raises:
        NothingRecorded: an action failed and left no record.
        TransientError: how the release stands cannot be told.
        WaitingError: somebody else works on the release.
        SupersededError: something newer is to be released.
        ApiError: the API server refused, or did not answer.
    """
    done: set[Class] = set()
    await work.read()
    work.preserve_values()
    while True:
        standing = await _look(work)
        choice = await _decide(work, standing)
        match choice:
            case Rest():
                return _rest(work, standing)
            case Stall():
                return choice
            case Act(action):
                if action.class_ in done:
                    return stop(work)
                await _act(work, choice)
                if action.class_ is Class.REMEDIATE:
                    return stop(work)
                done.add(action.class_)
            case _:
                assert_never(choice)


def stop(work: Work) -> Ending:
    """End a run that may not go on: with another attempt, if one remains.

    Raises:
        TransientError: nothing failed, and yet the same is to be done again.
    """
    attempt = work.attempt
    active = policy.active(work.spec, attempt.status)
    if active is not None and active.retry_s is not None:
        text = f"retrying after {durations.format_go(active.retry_s)}"
        attempt.condition(meta.RECONCILING, "True", meta.PROGRESSING_WITH_RETRY, text)
        return Again(active.retry_s)
    if decision.is_exhausted(attempt.item):
        return decision.exhausted(attempt.item)
    if not attempt.status.failures:
        text = "the release is not what is wanted although it was made just now"
        raise TransientError(words.RECONCILE_ERROR, text)
    ready = conditions.get(attempt.status.conditions, meta.READY)
    text = ready.message if ready else ""
    attempt.condition(meta.RECONCILING, "True", meta.PROGRESSING_WITH_RETRY, text)
    return Again(pause_s(attempt.status.failures))


def pause_s(failures: int) -> float:
    """Return the seconds until a failure is tried again: none at first, 15 minutes at most."""
    return 0.0 if failures <= 1 else min(FIRST_PAUSE_S * 2.0 ** min(failures - 2, 16), MAX_PAUSE_S)


async def _look(work: Work) -> Standing:
    """Find out how the release stands, its objects included.

    Raises:
        TransientError: that cannot be told.
    """
    attempt, stored = work.attempt, None
    if work.last is not None:
        oci_digest = work.newest.oci_digest if work.newest else ""
        stored = await attempt.context.threads.run(records.stored, work.last, oci_digest)
    try:
        standing = state.determine(attempt.item, work.wanted, stored)
    except state.UnexpectedStatusError as err:
        text = f"Could not determine release state: {err}"
        raise TransientError(words.STATE_ERROR, text) from err
    if standing.state is State.IN_SYNC and await _has_drifted(work):
        return state.Standing(State.DRIFTED, "objects are not as the release left them")
    return standing


async def _has_drifted(work: Work) -> bool:
    """Look for drift where that is asked for, and tell of it."""
    attempt = work.attempt
    if not drift.is_looked_for(attempt.item):
        attempt.without(meta.DRIFTED)
        return False
    if work.last is None or work.newest is None:
        return False
    work.applied = work.applied or await applying.bundle_of(attempt, work.last)
    work.drifted = await drift.find(attempt, work.applied)
    drift.tell(attempt, work.newest, work.drifted)
    return bool(work.drifted)


async def _decide(work: Work, standing: Standing) -> decision.Decision:
    """Choose what to do.

    Raises:
        WaitingError: somebody else works on the release.
    """
    attempt = work.attempt
    if standing.state is State.LOCKED:
        await _wait_for_others(work)
    target = remedy.rollback_target(work) if standing.state is State.FAILED else None
    intact = target is not None and await remedy.is_intact(work, target)

    def is_intact(_: Snapshot) -> bool:
        return intact

    return decision.decide(
        attempt.item,
        standing.state,
        is_forced=attempt.is_force_pending,
        is_intact=is_intact,
    )


async def _wait_for_others(work: Work) -> None:
    """Leave a release alone that helm is at work on, run by somebody else.

    A record that we left pending is known by its writer. Another's is taken for abandoned when its
    time is up, or somebody asks for a reconciliation.

    Raises:
        WaitingError: it is not yet.
    """
    attempt, last = work.attempt, work.last
    if last is None or attempt.is_requested:
        return
    name = record.secret_name(work.name, last.version)
    metadata = await attempt.target.client.metadata(SECRETS, work.storage.namespace, name)
    writer = ownership.last_writer(metadata, meta.HELM_MANAGER)
    begun = last.info.deleted or last.info.last_deployed
    if writer == meta.HELM_MANAGER or not begun:
        return
    age_s = (attempt.context.clock.now() - _parsed(begun)).total_seconds()
    left_s = policy.timeout_s(work.spec) - age_s
    if left_s > 0:
        text = f"release {last.full_name} is {last.status}: {writer} is at work on it"
        raise WaitingError(words.PENDING_RELEASE, text, requeue_after_s=min(left_s, BUSY_S))


def _parsed(moment: str) -> dt.datetime:
    return dt.datetime.fromisoformat(records.to_seconds(moment))


async def _act(work: Work, choice: Act) -> None:
    attempt, action = work.attempt, choice.action
    if choice.forgets_history:
        attempt.change(history=())
    attempt.begin(action, all_terms.of(work.spec, action).timeout_s)
    await attempt.write()
    match action:
        case Action.INSTALL | Action.UPGRADE:
            await release.release(work, action)
        case Action.TEST:
            await testing.test(work)
        case Action.ROLLBACK:
            _shorten(work)
            await remedy.roll_back(work)
        case Action.UNINSTALL:
            _shorten(work)
            await remedy.undo(work)
        case Action.UNLOCK:
            await unlock.unlock(work)
        case Action.CORRECT:
            await _correct(work)
        case _:
            assert_never(action)
    attempt.publish()


async def _correct(work: Work) -> None:
    if work.applied is None or work.newest is None:
        raise AssertionError("drift is found before it is corrected")
    await drift.correct(work.attempt, work.newest, work.applied, work.drifted)


def _rest(work: Work, standing: Standing) -> Done:
    """Say that all is well: what an earlier failure has left in the conditions goes."""
    attempt = work.attempt
    _shorten(work)
    newest = work.newest
    if newest is not None and standing.state in {State.IN_SYNC, State.DRIFTED}:
        _repair(work, newest)
    attempt.without(meta.RECONCILING)
    attempt.summarise()
    release.observe(work)
    return Done()


def _repair(work: Work, newest: Snapshot) -> None:
    """Let Released be true where the release is in force, whatever came before."""
    attempt = work.attempt
    said = attempt.status.conditions
    if conditions.is_true(said, meta.REMEDIATED):
        attempt.without(meta.REMEDIATED)
    elif conditions.is_true(said, meta.RELEASED):
        return
    is_first = newest.version == 1
    reason = words.INSTALL_SUCCEEDED if is_first else words.UPGRADE_SUCCEEDED
    text = words.succeeded("install" if is_first else "upgrade", newest)
    attempt.condition(meta.RELEASED, "True", reason, text)


def _shorten(work: Work) -> None:
    """Drop what nobody needs from the history."""
    attempt = work.attempt
    active = policy.active(work.spec, attempt.status)
    attempt.change(
        history=histories.truncated(
            attempt.status.history,
            ignores_tests=policy.ignores_test_failures(work.spec, attempt.status),
            retries=active is not None and active.retry_s is not None,
        )
    )
