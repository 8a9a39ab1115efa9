"""Waiting for a reconcile that was asked for: by watch, until it is handled or the time is over."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

from api import meta
from inspection import failure
from kube import errors, watch
from runtime import clock, conditions

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.meta import Condition
    from api.served import AnyKind
    from daemon.kinds import Kind
    from kube.client import Client

Verdict = bool | None
"""True: it is done. False: it failed. None: not yet."""


def handled(obj: AnyKind, token: str) -> Verdict:
    """Judge an object after a request: whether that request was handled, and how it went.

    Unlike the flux CLI, which waits out its time-out, a failure ends the wait.

    Args:
        obj: the object as it is now.
        token: the value of the request annotation.
    """
    ready = ready_of(obj)
    if getattr(obj.status, "last_handled_reconcile_at", "") != token or ready is None:
        return None
    return judged(obj)


def judged(obj: AnyKind) -> Verdict:
    """Judge an object by its Ready condition, if that is about its present generation."""
    ready = ready_of(obj)
    if ready is None or ready.observed_generation != obj.metadata.generation:
        return None
    return {"True": True, "False": False}.get(ready.status)


def ready_of(obj: AnyKind) -> Condition | None:
    """Return an object's Ready condition."""
    return conditions.get(getattr(obj.status, "conditions", ()), meta.READY)


async def until(
    client: Client,
    kind: Kind,
    obj: AnyKind,
    judge: Callable[[AnyKind], Verdict],
    timeout_s: float,
) -> AnyKind:
    """Follow an object until it is judged.

    Args:
        client: the cluster.
        kind: the object's kind.
        obj: the object, as it is before the wait.
        judge: says whether it is done.
        timeout_s: seconds to wait.

    Returns:
        The object when it was done.

    Raises:
        failure.CommandError: it failed, was deleted, or the time is over; the message says which.
    """
    last = obj
    try:
        async with asyncio.timeout(timeout_s):
            last = await _follow(client, kind, obj, judge)
    except TimeoutError as err:
        raise failure.CommandError(_timed_out(kind, obj, timeout_s)) from err
    if judge(last) is False:
        ready = ready_of(last)
        raise failure.CommandError(
            f"{_title(kind, obj)} failed: {ready.message if ready else 'no Ready condition'}"
        )
    return last


async def _follow(
    client: Client, kind: Kind, obj: AnyKind, judge: Callable[[AnyKind], Verdict]
) -> AnyKind:
    """Watch one object until its judge has a verdict."""
    selection = watch.Selection(
        namespace=obj.metadata.namespace, field_selector=f"metadata.name={obj.metadata.name}"
    )
    changes = watch.watch(
        client,
        kind.resource,
        kind.type,
        selection,
        clock=clock.SystemClock(),
        rng=random.Random(),  # noqa: S311 - spreads time-outs, guards nothing
    )
    async with aclosing(changes) as events:
        async for event in events:
            match event:
                case watch.Deleted():
                    raise failure.CommandError(f"{_title(kind, obj)} was deleted meanwhile")
                case watch.Interrupted(error=errors.Unauthorized() as error):
                    raise error
                case watch.Added(object=now) | watch.Modified(object=now):
                    seen: tuple[AnyKind, ...] = (now,)
                case watch.Listed(items=items):
                    seen = items
                case _:
                    continue
            for each in seen:
                if judge(each) is not None:
                    return each
    raise failure.CommandError(f"{_title(kind, obj)}: the watch ended")


def _title(kind: Kind, obj: AnyKind) -> str:
    return f"{kind.name}/{obj.metadata.namespace}/{obj.metadata.name}"


def _timed_out(kind: Kind, obj: AnyKind, timeout_s: float) -> str:
    """Say what did not happen, and where to look."""
    return (
        f"{_title(kind, obj)} was not reconciled within {timeout_s:g} s; "
        "does the daemon run, and does it serve this cluster? see `gitopsd status`"
    )
