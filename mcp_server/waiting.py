"""The tool that waits: for a condition, a revision, a handled request, or an object's end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from api import durations
from inspection import failure, flux, following, masking, named
from kube import health
from kube.objects import GVK
from mcp_server.exploring import Named
from mcp_server.tool import Answer, Result, Tool

if TYPE_CHECKING:
    from kube.objects import JsonObject, Resource
    from mcp_server.desk import Call, Site

_BEAT_S: Final = 5.0
"""Seconds between two signs of life to the client."""
_LONGEST_S: Final = 1800.0


class WaitQuery(Named, frozen=True, kw_only=True):
    """What to wait for."""

    condition: Annotated[
        str,
        msgspec.Meta(
            description="Condition type to become True, Ready by default; or deleted; of kinds "
            "without conditions Ready means healthy"
        ),
    ] = "Ready"
    revision: Annotated[
        str,
        msgspec.Meta(description="Also wait until this revision, commit or version is applied"),
    ] = ""
    requested_at: Annotated[
        str, msgspec.Meta(description="Also wait until this reconcile request was handled")
    ] = ""
    timeout: Annotated[str, msgspec.Meta(description="How long at most, such as 90s or 5m")] = "1m"


class Waited(Result, frozen=True, kw_only=True):
    """How the wait ended."""

    object: str
    is_met: bool
    state: str
    """The last state that was seen."""
    revision: str = ""
    message: str = ""
    waited_seconds: float = 0.0


async def wait_for(call: Call, args: WaitQuery) -> Answer:
    """Wait until an object is ready, at a revision, or deleted; with progress notifications.

    Returns when it holds, when it cannot hold any more (Stalled, failed), or when the time is over.
    """
    limit_s = _limit(args.timeout)
    site = await call.site(args.cluster)
    served = await named.resource(site.client, site.discovery, args.kind, args.apiVersion)
    if (args.revision or args.requested_at) and not flux.is_flux(served.gvk.group):
        raise failure.UsageError(
            f"a {served.gvk.kind} has no revision and handles no requests; wait for the "
            "Kustomization or HelmRelease that applies it (trace finds it)"
        )
    result = await _follow(call, site, served, args, limit_s)
    if result.is_met:
        text = f"{result.object}: {result.state} after {result.waited_seconds:.1f} s"
        return Answer(f"{text} at {result.revision}" if result.revision else text, result)
    text = (
        f"{result.object} did not get there: {result.state}. {result.message}\n"
        "explain_not_ready tells why"
    )
    return Answer(text, result)


def _limit(text: str) -> float:
    try:
        return min(durations.parse(text), _LONGEST_S)
    except ValueError as err:
        raise failure.UsageError(f"timeout: {err}; write 90s or 5m") from err


async def _follow(
    call: Call, site: Site, served: Resource, args: WaitQuery, limit_s: float
) -> Waited:
    """Follow the object, telling the client of every change and that we are still here."""
    clock = call.desk.clock
    started_s = clock.monotonic()
    last = Waited(
        object=f"{served.gvk.kind}/{args.namespace}/{args.name}",
        is_met=False,
        state="not there",
        message="it does not exist",
    )

    async def beat() -> None:
        while True:
            await call.progress(clock.monotonic() - started_s, limit_s, last.state)
            await asyncio.sleep(_BEAT_S)

    namespace = args.namespace if served.is_namespaced else ""
    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(beat(), name="signs of life")
            seen = following.changes(site.client, served, namespace, args.name)
            async with aclosing(seen) as changes:
                async for obj in changes:
                    last = judge(last, obj, args, call)
                    await call.progress(clock.monotonic() - started_s, limit_s, last.state)
                    if last.is_met or _is_hopeless(obj, args):
                        break
            beating.cancel()
    except TimeoutError:
        waited = f"the time of {args.timeout} is over"
        last = msgspec.structs.replace(last, message=f"{waited}; {last.message}".rstrip("; "))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return msgspec.structs.replace(last, waited_seconds=clock.monotonic() - started_s)


def judge(last: Waited, obj: JsonObject | None, args: WaitQuery, call: Call) -> Waited:
    """Return how an object stands now.

    Args:
        last: how it stood before.
        obj: the object; None where it is not there.
        args: what is waited for.
        call: tells the time.
    """
    is_end = _is_end(args)
    if obj is None:
        return msgspec.structs.replace(last, is_met=is_end, state="not there", message="")
    if not flux.is_flux(GVK.of(obj).group):
        state = health.assess(obj, call.desk.clock.now())
        is_healthy = state.status is health.State.CURRENT
        is_met = is_healthy if args.condition.lower() == "ready" else _holds(obj, args.condition)
        return msgspec.structs.replace(
            last,
            is_met=is_met and not is_end,
            state=str(state.status),
            message=state.message,
        )
    found = flux.FluxObject("", obj)
    holds = _holds(obj, args.condition) and found.is_current
    if args.requested_at:
        holds &= found.status.get("lastHandledReconcileAt") == args.requested_at
    return msgspec.structs.replace(
        last,
        is_met=holds and args.revision in found.revision and not is_end,
        state=str(found.state),
        revision=found.revision,
        message=masking.text(found.message),
    )


def _holds(obj: JsonObject, type_: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    wanted = type_.lower()
    return any(
        str(each.get("type")).lower() == wanted and each.get("status") == "True"
        for each in conditions
    )


def _is_end(args: WaitQuery) -> bool:
    """Tell whether it is waited for the end of an object."""
    return args.condition.lower() == "deleted"


def _is_hopeless(obj: JsonObject | None, args: WaitQuery) -> bool:
    """Tell whether an object cannot get there without a change: it is stalled."""
    if obj is None or _is_end(args):
        return False
    stalled = flux.FluxObject("", obj).condition("Stalled")
    return stalled.get("status") == "True" and not args.requested_at


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool("wait_for", "Wait for an object", WaitQuery, Waited, wait_for),
)
"""Every tool of this module."""
