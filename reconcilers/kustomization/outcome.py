"""What a run's end says: conditions, history and events, in Flux's words.

An end that says the same as the one before, about the same revision, says nothing: no event, no
count in the history, and so no write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import durations, meta
from reconcilers.kustomization import history, timing
from runtime import clock, conditions
from runtime.errors import (
    GitOpsError,
    SupersededError,
    TerminalError,
    TransientError,
    WaitingError,
)

if TYPE_CHECKING:
    from api.kustomize import KustomizationStatus
    from reconcilers.kustomization.attempt import Attempt

_COMMIT_STATUS: Final = {f"{meta.KUSTOMIZE_GROUP}/commit_status": "update"}
TRIGGERED_BY: Final = "New reconciliation triggered by "
"""How the message begins that ends a wait for something newer."""
_IN_HISTORY: Final = frozenset(
    {
        meta.RECONCILIATION_SUCCEEDED,
        meta.RECONCILIATION_FAILED,
        meta.PRUNE_FAILED,
        meta.HEALTH_CHECK_FAILED,
    }
)


async def succeed(attempt: Attempt) -> None:
    """End a run that did everything."""
    generation = attempt.item.metadata.generation
    attempt.condition(
        meta.READY,
        "True",
        meta.RECONCILIATION_SUCCEEDED,
        f"Applied revision: {attempt.revision}",
    )
    attempt.without(meta.RECONCILING, meta.STALLED)
    attempt.change(
        observed_generation=generation,
        last_attempted_revision=attempt.revision,
        last_applied_revision=attempt.revision,
        last_applied_origin_revision=attempt.origin_revision,
    )
    if _is_news(attempt) or attempt.notices:
        tell = attempt.notice_quietly if _is_record_alone(attempt) else attempt.notice
        _record(attempt, meta.RECONCILIATION_SUCCEEDED)
        took = durations.format_go(round(attempt.elapsed_s, 6))
        interval = durations.format_go(timing.interval_s(attempt.item.spec))
        tell(
            meta.RECONCILIATION_SUCCEEDED,
            f"Reconciliation finished in {took}, next run in {interval}",
            **_COMMIT_STATUS,
        )
    await attempt.finish()


async def fail(attempt: Attempt, failure: GitOpsError) -> None:
    """End a run that could not go on."""
    attempt.condition(meta.READY, "False", failure.reason, failure.message)
    match failure:
        case TerminalError():
            attempt.condition(meta.STALLED, "True", failure.reason, failure.message)
            if failure.reason == meta.INVALID_CEL_EXPRESSION:
                attempt.change(observed_generation=attempt.item.metadata.generation)
        case TransientError() | WaitingError() | SupersededError():
            attempt.without(meta.STALLED)
            _set_retrying(attempt)
        case _:
            raise failure
    if failure.reason == meta.HEALTH_CHECK_FAILED:
        attempt.condition(meta.HEALTHY, "False", failure.reason, failure.message)
    if _is_news(attempt):
        _record(attempt, failure.reason)
        _tell(attempt, failure)
    await attempt.finish()


def leaf(attempt: Attempt, failure: GitOpsError) -> GitOpsError:
    """Return the outcome for the controller: a failure is tried again after ``retryInterval``."""
    if isinstance(failure, TransientError) and failure.retry_after_s is None:
        return TransientError(
            failure.reason, failure.message, retry_after_s=timing.retry_s(attempt.item.spec)
        )
    return failure


def _set_retrying(attempt: Attempt) -> None:
    """Keep Reconciling with the step that was reached, where one was."""
    old = conditions.get(attempt.status.conditions, meta.RECONCILING)
    message = attempt.progress or (old.message if old else "")
    if message:
        attempt.condition(meta.RECONCILING, "True", meta.PROGRESSING_WITH_RETRY, message)


def _tell(attempt: Attempt, failure: GitOpsError) -> None:
    match failure:
        case SupersededError():
            by = failure.message.removeprefix(TRIGGERED_BY)
            text = f"Health checks canceled due to new reconciliation triggered by {by}"
            attempt.notice(failure.reason, text)
        case WaitingError() if failure.reason == meta.DEPENDENCY_NOT_READY:
            delay = durations.format_go(failure.requeue_after_s)
            text = f"Dependencies do not meet ready condition, retrying in {delay}"
            attempt.notice(failure.reason, text)
        case WaitingError():
            pass
        case TransientError() | TerminalError():
            attempt.notice(failure.reason, failure.message, severity="error")
        case _:
            raise failure


def _record(attempt: Attempt, reason: str) -> None:
    if not attempt.digest or reason not in _IN_HISTORY:
        return
    metadata = {"revision": attempt.revision}
    if attempt.origin_revision:
        metadata["originRevision"] = attempt.origin_revision
    attempt.change(
        history=history.record(
            attempt.status.history,
            digest=attempt.digest,
            reason=reason,
            took_s=round(attempt.elapsed_s, 6),
            now=clock.rfc3339(attempt.context.clock.now()),
            metadata=metadata,
        )
    )


def _is_news(attempt: Attempt) -> bool:
    """Whether this end says anything that the one before did not, or was asked for."""
    return attempt.is_requested or _essence(attempt.before) != _essence(attempt.status)


def _is_record_alone(attempt: Attempt) -> bool:
    """Whether a run found a new revision that changes nothing of what was applied before.

    Of a commit to a mono-repo all but one of its users have nothing to say but where they stand.
    """
    before = attempt.before
    last = before.history[0].digest if before.history else ""
    is_same = conditions.is_true(before.conditions, meta.READY) and last == attempt.digest
    return is_same and not attempt.is_requested and not attempt.notices


def _essence(status: KustomizationStatus) -> tuple[object, ...]:
    ready = conditions.get(status.conditions, meta.READY)
    told = (ready.status, ready.reason, ready.message, ready.observed_generation) if ready else ()
    return (told, status.last_attempted_revision, status.last_applied_revision)
