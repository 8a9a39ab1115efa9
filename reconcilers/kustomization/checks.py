"""The health step: what is checked, for how long, and what the Healthy condition says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from api import durations, meta
from kube import health as kube_health
from kube.changes import Action
from kube.objects import ObjectId
from reconcilers.kustomization import health, outcome, store, timing
from reconcilers.kustomization.health import CancelledByNews, Checked, HealthError
from runtime import conditions
from runtime.errors import SupersededError, TransientError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterator

    from kube.changes import ChangeSet
    from reconcilers.kustomization.attempt import Attempt
    from reconcilers.kustomization.health import Seen
    from reconcilers.kustomization.store import Build


async def run(
    attempt: Attempt,
    build: Build,
    changes: ChangeSet,
    seen: Seen,
    *,
    rng: random.Random,
    find_news: Callable[[], str | None],
    between: Callable[[], Awaitable[None]],
) -> None:
    """Check health as the spec asks, and wait for it without a worker.

    Args:
        attempt: the run.
        build: what was applied.
        changes: what that did.
        seen: what earlier checks found.
        rng: spreads the pauses of watches.
        find_news: see `health.Wait`.
        between: see `health.Wait`.

    Raises:
        TransientError: something is not healthy.
        SupersededError: something newer is to be applied.
    """
    checked = await _checked(attempt, build, changes)
    if not checked:
        attempt.without(meta.HEALTHY)
        return
    attempt.step("Running health checks")
    at = attempt.target
    wait = health.Wait(
        client=at.client,
        discovery=at.discovery,
        tracker=at.tracker,
        clock=attempt.context.clock,
        rng=rng,
        superseded=attempt.run.work.superseded,
        find_news=find_news,
        between=between,
    )
    await _watch(attempt, health.Watcher(wait, checked, seen), bool(changes.loud))


async def _watch(attempt: Attempt, watcher: health.Watcher, has_changed: bool) -> None:
    clock = attempt.context.clock
    started_s = clock.monotonic()
    try:
        is_waiting = not await watcher.look()
        if is_waiting:
            attempt.is_busy = True
            attempt.publish()
            async with attempt.run.released():
                await watcher.until_healthy(timing.timeout_s(attempt.item.spec))
    except HealthError as err:
        took = durations.format_go(clock.monotonic() - started_s)
        text = f"health check failed after {took}: {err}"
        raise TransientError(meta.HEALTH_CHECK_FAILED, text) from err
    except CancelledByNews as err:
        text = f"{outcome.TRIGGERED_BY}{err}"
        raise SupersededError(meta.HEALTH_CHECK_CANCELED, text) from err
    _pass(attempt, clock.monotonic() - started_s, is_waiting or has_changed)


def _pass(attempt: Attempt, took_s: float, is_news: bool) -> None:
    """Say that everything is healthy; a check that found nothing new leaves its words alone."""
    was_healthy = conditions.is_true(attempt.before.conditions, meta.HEALTHY)
    is_new_revision = attempt.before.last_applied_revision != attempt.revision
    if was_healthy and not is_news and not is_new_revision:
        return
    text = f"Health check passed in {durations.format_go(round(took_s, 6))}"
    attempt.condition(meta.HEALTHY, "True", meta.SUCCEEDED, text)
    if not was_healthy or (is_new_revision and is_news):
        attempt.notice(meta.PROGRESSING, text)


async def _checked(attempt: Attempt, build: Build, changes: ChangeSet) -> list[Checked]:
    spec, own = attempt.item.spec, attempt.ref
    if not spec.wait:
        return [Checked(obj, version) for obj, version in _named(attempt)]
    expiring = await attempt.context.threads.run(_expiring, build)
    return [
        Checked(change.id, change.version, change.id in expiring)
        for change in changes
        if change.action is not Action.SKIPPED
        and change.id != ObjectId(own.namespace, own.name, meta.KUSTOMIZE_GROUP, own.kind)
    ]


def _named(attempt: Attempt) -> Iterator[tuple[ObjectId, str]]:
    for check in attempt.item.spec.health_checks:
        gvk = health.named_gvk(check.api_version, check.kind)
        yield ObjectId(check.namespace, check.name, gvk.group, gvk.kind), gvk.version


def _expiring(build: Build) -> set[ObjectId]:
    """Return the Jobs that remove themselves."""
    jobs = [item for item in build.desired if item.id.kind == "Job"]
    if not jobs:
        return set()
    with store.Reader(build) as reader:
        return {item.id for item in jobs if _expires(orjson.loads(reader.read(item)))}


def _expires(obj: dict[str, Any]) -> bool:
    return kube_health.expires(obj)
