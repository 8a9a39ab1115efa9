"""Waits for the objects of a stage that the next stage builds on.

Whatever the answer to the write shows as ready is not asked about again. A definition is ready when
its kind is served as well: the API server says "established" a moment before discovery knows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import orjson

from kube import errors, health, pool, stages
from kube.health import Health, State
from kube.objects import GVK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kube.objects import JsonObject, ObjectId
    from kube.target import Session, Target

POLL_S: Final = (0.05, 1.0)
"""First and longest pause between two looks at an object."""
_NOT_SEEN: Final = Health(State.IN_PROGRESS)


def is_ready(session: Session, target: Target, raw: bytes) -> bool:
    """Whether the answer to a write shows that nothing needs to be waited for."""
    obj = target.desired.id
    if obj.kind == stages.CRD_KIND and obj.group == stages.CRD_GROUP:
        return False
    return health.assess(orjson.loads(raw), session.clock.now()).status is State.CURRENT


async def wait(
    session: Session, targets: Sequence[Target], timeout_s: float
) -> list[tuple[ObjectId, Health]]:
    """Wait until objects are ready.

    Args:
        session: whose apply.
        targets: what to wait for.
        timeout_s: how long, in seconds.

    Returns:
        What was not ready in time, with its last state.
    """
    last: dict[ObjectId, Health] = {target.desired.id: _NOT_SEEN for target in targets}
    try:
        async with asyncio.timeout(timeout_s):
            await pool.each(targets, lambda target: _until_ready(session, target, last))
    except TimeoutError:
        return [(obj, state) for obj, state in last.items() if state.status is not State.CURRENT]
    return []


async def _until_ready(session: Session, target: Target, last: dict[ObjectId, Health]) -> None:
    obj = target.desired.id
    pause_s = POLL_S[0]
    while True:
        last[obj] = await _look(session, target)
        if last[obj].status is State.CURRENT:
            return
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, POLL_S[1])


async def _look(session: Session, target: Target) -> Health:
    obj = target.desired.id
    try:
        live = await session.client.get(target.resource, obj.namespace, obj.name)
        state = health.assess(live, session.clock.now())
        if state.status is State.CURRENT and obj.kind == stages.CRD_KIND:
            await _look_up(session, live)
    except errors.NoMatch as error:
        return Health(State.IN_PROGRESS, error.message)
    except errors.NotFound:
        return Health(State.NOT_FOUND)
    except errors.ApiError as error:
        return Health(State.UNKNOWN, error.message)
    return state


async def _look_up(session: Session, definition: JsonObject) -> None:
    """Ask discovery for every version of a definition.

    Raises:
        NoMatch: one is not served yet.
    """
    spec = definition["spec"]
    session.discovery.invalidate(spec["group"])
    for version in spec["versions"]:
        if version.get("served"):
            gvk = GVK(spec["group"], version["name"], spec["names"]["kind"])
            await session.discovery.resource(gvk)
