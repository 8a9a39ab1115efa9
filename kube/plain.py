"""Writes objects by plain creates and updates, where they are not to be owned by an apply.

Two things need that: definitions of a chart, and drift of objects that Helm merges on the client.
What is right is asked of the server all the same, by the dry run of an apply; the write is made of
its answer, on condition that the object did not change meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from kube import errors, examine, health, ignore, readiness, stages, wording
from kube.changes import Action, Change, ChangeSet
from kube.wording import ApplyError, ObjectError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from kube.desired import Desired
    from kube.objects import JsonObject
    from kube.target import Session, Target

TRIES: Final = 5
"""Tries at an object that others keep writing to."""
READY_TIMEOUT_S: Final = 60.0
"""Seconds until definitions have to be served."""


async def restore(session: Session, drifted: Iterable[Desired]) -> ChangeSet:
    """Make objects what an apply would make them; every one is tried.

    Args:
        session: in whose name; fields that its rules leave to others stay as they are.
        drifted: the objects.

    Raises:
        ApplyError: some were refused, or others kept writing to them.
    """
    return await _each(session, drifted, _restore)


async def define(session: Session, definitions: Iterable[Desired], *, replaces: bool) -> ChangeSet:
    """Create definitions that are missing, and wait until all of these are served.

    Args:
        session: in whose name.
        definitions: the definitions.
        replaces: whether those that exist are replaced; else they stay as they are.

    Raises:
        ApplyError: one was refused, or is not served in time.
    """
    written: list[Target] = []

    async def write(session: Session, target: Target) -> Action:
        action = await _define(session, target, replaces=replaces)
        if action is not Action.SKIPPED:
            written.append(target)
        return action

    changes = await _each(session, definitions, write)
    late = await readiness.wait(session, written, READY_TIMEOUT_S)
    if late:
        raise ApplyError([health.describe_timeout(late)], changes)
    return changes


async def _each(
    session: Session,
    objects: Iterable[Desired],
    write: Callable[[Session, Target], Awaitable[Action]],
) -> ChangeSet:
    """Write objects one after the other, in the order of applying."""
    changes, failures = ChangeSet(), list[str]()
    for each in _ordered(objects):
        try:
            target = await examine.locate(session, each)
            action = await _persist(session, target, write)
        except ObjectError as error:
            failures.append(error.text)
        else:
            changes.extend([Change(target.desired.id, each.version, action)])
    if failures:
        raise ApplyError(failures, changes)
    return changes


def _ordered(objects: Iterable[Desired]) -> Sequence[Desired]:
    return sorted(objects, key=lambda each: (stages.stage_of(each.id), stages.sort_key(each.id)))


async def _persist(
    session: Session, target: Target, write: Callable[[Session, Target], Awaitable[Action]]
) -> Action:
    """Write one object, and again where somebody else wrote in between.

    Raises:
        ObjectError: the server refused, or others kept writing.
    """
    obj = target.desired.id
    for attempt in range(1, TRIES + 1):
        try:
            return await write(session, target)
        except (errors.Conflict, errors.NotFound) as error:  # also: it was created or deleted
            if attempt == TRIES:
                raise wording.failed(obj, "update failed", error) from error
        except errors.ApiError as error:
            raise wording.failed(obj, "update failed", error) from error
    raise AssertionError("the last try returns or raises")


async def _restore(session: Session, target: Target) -> Action:
    desired = target.desired
    examine.note_ignored(session, target)
    live = await _live(session, target)
    if live is None:
        raw = await _create(session, target)
        action = Action.CREATED
    else:
        answer = await examine.send(session, target, dry_run=True)
        body = _merged(orjson.loads(answer.raw), live, session.ignored.get(desired.id, ()))
        raw = await _replace(session, target, body)
        action = Action.CONFIGURED
    session.ledger.record(session.owner, desired, raw)
    return action


async def _define(session: Session, target: Target, *, replaces: bool) -> Action:
    live = await _live(session, target)
    if live is None:
        await _create(session, target)
        return Action.CREATED
    if not replaces:
        return Action.SKIPPED
    body: JsonObject = orjson.loads(session.reader.read(target.desired))
    version = live["metadata"]["resourceVersion"]
    body["metadata"] = {**body["metadata"], "resourceVersion": version}
    await _replace(session, target, body)
    return Action.CONFIGURED


def _merged(wanted: JsonObject, live: JsonObject, pointers: Iterable[ignore.Pointer]) -> JsonObject:
    """Return the live object with everything that an apply is about as it should be."""
    right = ignore.adapted(wanted, wanted=wanted, live=live, pointers=pointers)
    marks = {
        key: value
        for key in ("labels", "annotations")
        if (value := right["metadata"].get(key)) is not None
    }
    kept = {"status": live["status"]} if "status" in live else {}
    content = {key: value for key, value in right.items() if key != "status"}
    return {**content, **kept, "metadata": {**live["metadata"], **marks}}


async def _live(session: Session, target: Target) -> JsonObject | None:
    obj = target.desired.id
    try:
        return await session.client.get(target.resource, obj.namespace, obj.name)
    except errors.NotFound:
        return None


async def _create(session: Session, target: Target) -> bytes:
    return await session.client.create(
        target.resource,
        target.desired.id.namespace,
        session.reader.read(target.desired),
        manager=session.identity.manager,
    )


async def _replace(session: Session, target: Target, body: JsonObject) -> bytes:
    obj = target.desired.id
    return await session.client.replace(
        target.resource,
        obj.namespace,
        obj.name,
        orjson.dumps(body),
        manager=session.identity.manager,
    )
