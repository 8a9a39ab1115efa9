"""How a run over a HelmRelease ends: what its conditions say, and when the next run comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from api import durations, meta
from reconcilers.helmrelease import words
from reconcilers.helmrelease.decision import Stall
from reconcilers.helmrelease.loop import Again, Done
from runtime import conditions
from runtime.controller import Result
from runtime.errors import (
    GitOpsError,
    SupersededError,
    TerminalError,
    TransientError,
    WaitingError,
)

if TYPE_CHECKING:
    from api.helm import HelmReleaseSpec, HelmReleaseStatus
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.loop import Ending

DEFAULT_INTERVAL_S: Final = 600.0
"""Where the interval cannot be read, which the CRD's pattern prevents."""


def interval_s(spec: HelmReleaseSpec) -> float:
    """Return the seconds between runs that nothing else caused."""
    return durations.parse_or(spec.interval, DEFAULT_INTERVAL_S)


async def settle(attempt: Attempt, ending: Ending) -> None:
    """Write how a run ended.

    Raises:
        TerminalError: nothing can be done until something changes.
    """
    generation = attempt.item.metadata.generation
    match ending:
        case Done():
            attempt.change(observed_generation=generation)
            await attempt.finish()
        case Again():
            await attempt.finish()
        case Stall(reason, message):
            attempt.without(meta.RECONCILING)
            attempt.condition(meta.STALLED, "True", reason, message)
            attempt.change(observed_generation=generation)
            await attempt.finish()
            raise TerminalError(reason, message)
        case _:
            assert_never(ending)


def result(ending: Ending, spec: HelmReleaseSpec) -> Result:
    """Return when the next run comes after a success."""
    if isinstance(ending, Again):
        return Result(requeue_after_s=ending.after_s)
    return Result(requeue_after_s=interval_s(spec))


async def fail(attempt: Attempt, failure: GitOpsError) -> None:
    """Write that a run could not go on."""
    match failure:
        case SupersededError():
            pass
        case TerminalError():
            attempt.condition(meta.READY, "False", failure.reason, failure.message)
            attempt.condition(meta.STALLED, "True", failure.reason, failure.message)
            attempt.change(observed_generation=attempt.item.metadata.generation)
        case TransientError() | WaitingError():
            attempt.condition(meta.READY, "False", failure.reason, failure.message)
            attempt.without(meta.STALLED)
            attempt.condition(meta.RECONCILING, "True", meta.PROGRESSING, words.FULFILLING)
        case _:
            raise failure
    if _is_news(attempt):
        _tell(attempt, failure)
    await attempt.finish()


async def fail_unrecorded(attempt: Attempt, message: str) -> GitOpsError:
    """Write that an action failed and left no record; return the outcome.

    Reconciling goes on telling of the action, as in Flux, and nothing stalls.
    """
    ready = conditions.get(attempt.status.conditions, meta.READY)
    if ready is None or ready.status != "False":
        attempt.condition(meta.READY, "False", words.RECONCILE_ERROR, message)
        ready = conditions.get(attempt.status.conditions, meta.READY)
    await attempt.finish()
    return TransientError(ready.reason if ready else words.RECONCILE_ERROR, message)


def _tell(attempt: Attempt, failure: GitOpsError) -> None:
    match failure:
        case WaitingError() if failure.reason == meta.DEPENDENCY_NOT_READY:
            delay = durations.format_go(failure.requeue_after_s)
            text = f"dependencies do not meet ready condition, retrying in {delay}: "
            attempt.notice(failure.reason, text + failure.message)
        case TransientError() | TerminalError():
            if all(each.reason != failure.reason for each in attempt.notices):
                attempt.notice(failure.reason, failure.message, severity="error")
        case _:
            pass


def _is_news(attempt: Attempt) -> bool:
    """Whether this end says anything that the one before did not, or was asked for."""
    return attempt.is_requested or _essence(attempt.before) != _essence(attempt.status)


def _essence(status: HelmReleaseStatus) -> tuple[object, ...]:
    ready = conditions.get(status.conditions, meta.READY)
    return (ready.status, ready.reason, ready.message, ready.observed_generation) if ready else ()
