"""The status of a FluxInstance for each way in which a run can end; pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import durations, meta
from api.meta import Snapshot
from reconcilers.instance import sync
from runtime import clock, conditions
from runtime.errors import TerminalError

if TYPE_CHECKING:
    import datetime as dt

    from api.instance import FluxInstance, FluxInstanceStatus
    from runtime.errors import GitOpsError

DISABLED: Final = "ReconciliationDisabled"
HISTORY: Final = 5
"""Snapshots kept in ``status.history``."""


def has_verdict(obj: FluxInstance) -> bool:
    """Tell whether Ready speaks of the object's current generation."""
    ready = conditions.get(obj.status.conditions, meta.READY)
    return ready is not None and ready.observed_generation == obj.metadata.generation


def is_ready(obj: FluxInstance) -> bool:
    """Tell whether Ready is true for the object's current generation."""
    return has_verdict(obj) and conditions.is_true(obj.status.conditions, meta.READY)


def disabled(obj: FluxInstance, now: dt.datetime) -> FluxInstanceStatus:
    """Return the status of an instance that is disabled from the start."""
    text = "Initialized with reconciliation suspended"
    found = _set(obj, obj.status.conditions, now, meta.READY, "True", DISABLED, text)
    return msgspec.structs.replace(obj.status, conditions=found)


def progressing(
    obj: FluxInstance, status: FluxInstanceStatus, message: str, now: dt.datetime
) -> FluxInstanceStatus:
    """Return the status of an instance that is on its way."""
    why = meta.PROGRESSING
    found = _set(obj, status.conditions, now, meta.READY, "Unknown", why, message)
    found = _set(obj, found, now, meta.RECONCILING, "True", why, message)
    return msgspec.structs.replace(status, conditions=found)


def succeeded(
    obj: FluxInstance,
    status: FluxInstanceStatus,
    revision: str,
    elapsed_s: float,
    now: dt.datetime,
) -> FluxInstanceStatus:
    """Return the status of an instance whose revision is in force."""
    why, took = meta.RECONCILIATION_SUCCEEDED, durations.format_go(round(elapsed_s, 3))
    found = conditions.remove(status.conditions, meta.RECONCILING, meta.STALLED)
    found = _set(obj, found, now, meta.READY, "True", why, f"Reconciliation finished in {took}")
    return msgspec.structs.replace(
        status,
        conditions=found,
        last_attempted_revision=revision,
        last_applied_revision=revision,
        history=record(status.history, revision, why, took, now),
    )


def failed(obj: FluxInstance, failure: GitOpsError, now: dt.datetime) -> FluxInstanceStatus:
    """Return the status of an instance that could not be served."""
    found = obj.status.conditions
    found = _set(obj, found, now, meta.READY, "False", failure.reason, failure.message)
    if isinstance(failure, TerminalError):
        found = _set(obj, found, now, meta.STALLED, "True", failure.reason, failure.message)
    else:
        retry = meta.PROGRESSING_WITH_RETRY
        found = _set(obj, found, now, meta.RECONCILING, "True", retry, failure.message)
    return msgspec.structs.replace(obj.status, conditions=found)


def record(
    history: tuple[Snapshot, ...], revision: str, reason: str, took: str, now: dt.datetime
) -> tuple[Snapshot, ...]:
    """Return the history with one more reconciliation of a revision, newest first.

    An entry is one (digest, reason); a repeat is counted and moves to the front.
    """
    digest, moment = revision.partition("@")[2], clock.rfc3339(now)
    same = [
        each for each in history if (each.digest, each.last_reconciled_status) == (digest, reason)
    ]
    newest = Snapshot(
        digest=digest,
        first_reconciled=same[0].first_reconciled if same else moment,
        last_reconciled=moment,
        last_reconciled_duration=took,
        last_reconciled_status=reason,
        total_reconciliations=(same[0].total_reconciliations if same else 0) + 1,
        metadata={"flux": meta.FLUX_VERSION, "gitopsd": sync.VERSION},
    )
    return (newest, *(each for each in history if each not in same))[:HISTORY]


def _set(
    obj: FluxInstance,
    found: conditions.Conditions,
    now: dt.datetime,
    type_: str,
    status: conditions.Status,
    reason: str,
    message: str,
) -> conditions.Conditions:
    generation = obj.metadata.generation
    return conditions.set_(found, type_, status, reason, message, generation=generation, now=now)
