"""Waits for the objects of a release, woken by watches: until they are well, done, or gone.

What counts as well is the wait strategy's: ``poller`` judges every kind by its status and ends as
soon as one cannot get well; ``legacy`` has an opinion on few kinds and sits out every failure, as
Helm 3 did. Hooks are judged by completion.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Final

from kube import errors, health, pool
from kube.health import Health, State
from kube.health_rules import KSTATUS, HealthRules
from kube.objects import GVK
from reconcilers.kustomization import health as health_waits
from reconcilers.kustomization.health import Checked, Seen

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Awaitable, Callable, Iterable

    from kube.objects import JsonObject, ObjectId
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.bundle import Bundle

GONE_TICK_S: Final = 2.0
"""Seconds between looks at an object that is to go, should no watch tell of it."""
_RNG: Final = random.Random()  # noqa: S311 - spreads load, guards nothing
_LEGACY: Final = frozenset(
    {
        ("", "Pod"),
        ("", "PersistentVolumeClaim"),
        ("", "Service"),
        ("", "ReplicationController"),
        ("apps", "Deployment"),
        ("apps", "DaemonSet"),
        ("apps", "StatefulSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    }
)
"""The kinds that Helm 3 waited for."""


class LegacyRules(HealthRules):
    """Judges as Helm 3 did: few kinds, and none of them ever fails before the time is up."""

    def assess(self, obj: JsonObject, now: dt.datetime) -> Health:
        """Judge an object; see `kube.health.assess`."""
        gvk = GVK.of(obj)
        if (gvk.group, gvk.kind) not in _LEGACY:
            return health.CURRENT
        found = health.assess(obj, now)
        is_failed_job = gvk.kind == "Job" and found.status is State.FAILED
        if found.status is State.FAILED and not is_failed_job:
            return Health(State.IN_PROGRESS, found.message)
        return found


class HookRules(HealthRules):
    """Judges hooks: Jobs and Pods by completion, everything else is well once it is there.

    Args:
        custom: the release's own rules, which come first.
    """

    def __init__(self, custom: HealthRules = KSTATUS) -> None:
        super().__init__()
        self._custom = custom

    def assess(self, obj: JsonObject, now: dt.datetime) -> Health:
        """Judge an object; see `kube.health.assess`."""
        gvk = GVK.of(obj)
        if self._custom.has_rule(gvk.group, gvk.kind):
            return self._custom.assess(obj, now)
        if (gvk.group, gvk.kind) == ("batch", "Job"):
            return health.assess(obj, now)
        if (gvk.group, gvk.kind) == ("", "Pod"):
            return _completed(obj)
        return health.CURRENT


def _completed(pod: JsonObject) -> Health:
    status = pod.get("status") or {}
    match status.get("phase"):
        case "Succeeded":
            return Health(State.CURRENT, "Pod has completed")
        case "Failed":
            message = status.get("message") or status.get("reason") or ""
            return Health(State.FAILED, f"Pod has failed{': ' if message else ''}{message}")
        case phase:
            return Health(State.IN_PROGRESS, f"Pod is {phase or 'Pending'}")


def checks(applied: Bundle, *, with_jobs: bool) -> list[Checked]:
    """Return the objects of a release that have to become well."""
    return [
        Checked(each.id, each.version, each.id in applied.expiring)
        for each in applied.desired
        if each.id not in applied.paused
        and (with_jobs or (each.id.group, each.id.kind) != ("batch", "Job"))
    ]


async def healthy(
    attempt: Attempt,
    checked: Iterable[Checked],
    rules: HealthRules,
    timeout_s: float,
    find_news: Callable[[], str | None],
) -> None:
    """Wait until objects are well, without a worker.

    Args:
        attempt: the run.
        checked: the objects.
        rules: who judges.
        timeout_s: how long, in seconds.
        find_news: names what is newer than this run, if anything is.

    Raises:
        health_waits.HealthError: one is not, and never will be or is late; the message names it.
        health_waits.CancelledByNews: something newer is to be released.
    """
    at = attempt.target
    wait = health_waits.Wait(
        client=at.client,
        discovery=at.discovery,
        tracker=at.tracker,
        clock=attempt.context.clock,
        rng=_RNG,
        superseded=attempt.run.work.superseded,
        find_news=find_news,
        between=_nothing,
    )
    watcher = health_waits.Watcher(wait, checked, Seen(rules=rules))
    if await watcher.look():
        return
    attempt.publish()
    async with attempt.run.released():
        await watcher.until_healthy(timeout_s)


async def gone(
    attempt: Attempt, objects: Iterable[tuple[ObjectId, str]], timeout_s: float
) -> list[ObjectId]:
    """Wait until objects do not exist any more.

    Args:
        attempt: the run.
        objects: which, with their API versions.
        timeout_s: how long, in seconds.

    Returns:
        What is still there when the time is up.

    Raises:
        errors.ApiError: the API server does not say.
    """
    left = dict(objects)

    async def follow(obj: ObjectId) -> None:
        await _until_gone(attempt, obj, left[obj])
        del left[obj]

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await pool.each(list(left), follow)
    return sorted(left)


async def _until_gone(attempt: Attempt, obj: ObjectId, version: str) -> None:
    at = attempt.target
    with at.tracker.feed.subscribe([obj]) as changes:
        while True:
            try:
                resource = await at.discovery.for_group_kind(obj.group, obj.kind, version)
                await at.client.metadata(resource, obj.namespace, obj.name)
            except errors.NotFound:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GONE_TICK_S):
                    await changes.wait()


def _nothing() -> Awaitable[None]:
    return asyncio.sleep(0)
