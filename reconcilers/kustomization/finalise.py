"""What happens to the applied objects when their Kustomization is deleted.

The finalizer goes last, and stays while objects that should go could not be deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from api import durations, meta
from kube import errors, pool
from kube.changes import Action
from kube.tracker import Mode
from reconcilers import steps, targets
from reconcilers.kustomization import applying, timing
from runtime.errors import TransientError

if TYPE_CHECKING:
    from api.kustomize import KustomizationSpec
    from kube.changes import ChangeSet
    from kube.objects import ObjectId
    from reconcilers.kustomization.attempt import Attempt
    from reconcilers.targets import Target

DELETED: Final = "Deleted"
"""Reason of the event that lists what was deleted; Flux says what Ready's reason was before."""
_WAIT: Final = "WaitForTermination"
RECHECK_S: Final = 30.0
"""Seconds until an object that is going is looked at again although its watch said nothing."""
_POLL_S: Final = 2.0
"""Seconds between looks at an object that may not be watched."""


def deletes(spec: KustomizationSpec) -> bool:
    """Whether the deletion of a Kustomization deletes its objects."""
    if spec.suspend or spec.deletion_policy == "Orphan":
        return False
    return spec.prune or spec.deletion_policy in {"Delete", _WAIT}


async def finalise(attempt: Attempt) -> None:
    """Delete what the policy says, then take the finalizer away.

    Raises:
        TransientError: an object could not be deleted, or its cluster not be reached; retried with
            back-off.
        Conflict: the Kustomization changed meanwhile.
    """
    entries = applying.recorded(attempt)
    if entries and deletes(attempt.item.spec):
        await _clear(attempt, entries)
    steps.publish(attempt.context, attempt.kind, attempt.item, attempt.notices)
    await steps.remove_finalizer(attempt.context, attempt.kind, attempt.written)


async def _clear(attempt: Attempt, entries: list[tuple[ObjectId, str]]) -> None:
    """Delete everything, or say what stays because the account that could is gone, as in Flux."""
    context, item = attempt.context, attempt.item
    if not await targets.may_act(context, item):
        lines = "\n".join(str(obj) for obj, _ in entries)
        attempt.notice(meta.PRUNE_FAILED, f"unable to prune objects: \n{lines}", severity="error")
        return
    changes = await _delete(attempt, entries)
    attempt.notice(DELETED, applying.describe_pruned(changes))
    if item.spec.deletion_policy == _WAIT:
        await _wait(attempt, changes)


async def _delete(attempt: Attempt, entries: list[tuple[ObjectId, str]]) -> ChangeSet:
    try:
        attempt.opened = await targets.find(attempt.context, attempt.item)
        return await applying.delete(attempt, entries)
    except TransientError as err:
        text = f"pruning for deleted resource failed: {err.message}"
        attempt.notice(meta.PRUNE_FAILED, text, severity="error")
        steps.publish(attempt.context, attempt.kind, attempt.item, attempt.notices)
        raise


async def _wait(attempt: Attempt, changes: ChangeSet) -> None:
    """Wait until the deleted objects are gone; when the time is up, say so and go on."""
    gone = [change for change in changes if change.action is Action.DELETED]
    timeout_s = timing.timeout_s(attempt.item.spec)
    try:
        async with attempt.run.released(), asyncio.timeout(timeout_s):
            await pool.each(
                gone, lambda change: _until_gone(attempt, change.id, change.version), limit=8
            )
    except TimeoutError:
        limit = durations.format_go(timeout_s)
        text = f"failed to wait for resources termination: not gone within {limit}"
        attempt.notice(meta.PRUNE_FAILED, text, severity="error")


async def _until_gone(attempt: Attempt, obj: ObjectId, version: str) -> None:
    tracker = attempt.target.tracker
    pause_s = _POLL_S if tracker.mode(obj) is Mode.POLL else RECHECK_S
    with tracker.feed.subscribe([obj]) as changes:
        while await _is_there(attempt.target, obj, version):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await changes.wait()


async def _is_there(at: Target, obj: ObjectId, version: str) -> bool:
    try:
        resource = await at.discovery.for_group_kind(obj.group, obj.kind, version)
        await at.client.metadata(resource, obj.namespace, obj.name)
    except errors.NotFound:
        return False
    return True
