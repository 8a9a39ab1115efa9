"""Recreates an object whose immutable field changes, without losing it on the way.

Before the old object is deleted, its successor is tried out under another name where its kind
allows that; should the successor be refused all the same, the old object is put back.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final

import orjson

from kube import errors, wording
from kube.examine import send
from kube.normalise import canonical

if TYPE_CHECKING:
    from kube.client import Applied
    from kube.objects import JsonObject
    from kube.target import Session, Target

POLL_S: Final = (0.05, 2.0)
"""First and longest pause between looks whether a deleted object is gone."""
RESTORE_S: Final = 10.0
"""Seconds that putting the old object back may take, also when the apply is being cancelled."""

_NAMED_BY_CONTENT: Final = frozenset({"CustomResourceDefinition", "APIService", "CSINode", "Lease"})
"""Kinds whose name is bound to their content, so that no other name can be tried."""
_HOLDS_ADDRESSES: Final = "Service"
"""A second Service cannot ask for the addresses and ports that the first one holds."""
_SERVER_FIELDS: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


async def recreate(session: Session, target: Target) -> Applied:
    """Replace an object by a new one of the same name.

    Returns:
        The answer to the apply that created it.

    Raises:
        ObjectError: it could not be replaced; the old object stays, or is back, unless the text
            says otherwise.
    """
    obj = target.desired.id
    await _rehearse(session, target)
    old = await _delete(session, target)
    try:
        await _until_gone(session, target)
    except errors.ApiError as error:
        step = "immutable field detected, failed to wait for object to be deleted"
        raise wording.failed(obj, step, error) from error
    try:
        return await send(session, target)
    except errors.ApiError as error:
        outcome = await _restore(session, target, old)
        failure = wording.failed(obj, "apply failed", error)
        raise wording.ObjectError(obj, f"{failure.text}; {outcome}") from error


async def _rehearse(session: Session, target: Target) -> None:
    """Dry-run the creation under a temporary name."""
    obj = target.desired.id
    if obj.kind in _NAMED_BY_CONTENT or obj.kind == _HOLDS_ADDRESSES:
        return
    name = f"gitopsd-{uuid.uuid4().hex[:12]}"
    body: JsonObject = orjson.loads(session.reader.read(target.desired))
    body["metadata"]["name"] = name
    try:
        await session.client.apply(
            target.resource,
            canonical(body),
            obj.namespace,
            name,
            manager=session.identity.manager,
            dry_run=True,
        )
    except errors.ApiError as error:
        raise wording.refused(obj, error) from error


async def _delete(session: Session, target: Target) -> JsonObject | None:
    """Delete the old object and return it; None where it was gone already."""
    obj = target.desired.id
    try:
        old = await session.client.get(target.resource, obj.namespace, obj.name)
        uid = old["metadata"]["uid"]
        await session.client.delete(target.resource, obj.namespace, obj.name, uid=uid)
    except errors.NotFound:
        return None
    except errors.ApiError as error:
        step = "immutable field detected, failed to delete object"
        raise wording.failed(obj, step, error) from error
    return old


async def _until_gone(session: Session, target: Target) -> None:
    """Look until the object is gone; the run's own deadline ends it."""
    obj = target.desired.id
    pause_s = 0.0
    while True:
        try:
            await session.client.metadata(target.resource, obj.namespace, obj.name)
        except errors.NotFound:
            return
        pause_s = min(max(2 * pause_s, POLL_S[0]), POLL_S[1])
        await asyncio.sleep(pause_s)


async def _restore(session: Session, target: Target, old: JsonObject | None) -> str:
    """Put the old object back and say how that went."""
    if old is None:
        return "there was no previous object"
    old.pop("status", None)
    for field in _SERVER_FIELDS:
        old["metadata"].pop(field, None)
    body, manager = orjson.dumps(old), session.identity.manager
    try:
        async with asyncio.timeout(RESTORE_S):
            await session.client.create(
                target.resource, target.desired.id.namespace, body, manager=manager
            )
    except (errors.ApiError, TimeoutError) as error:
        return f"the previous object could not be restored: {error}"
    return "the previous object was restored"
