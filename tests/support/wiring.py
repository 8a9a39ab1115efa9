"""What wakes whom in a world of Kustomizations, as the daemon's engine wires it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconcilers import referenced, targets, triggers

if TYPE_CHECKING:
    import asyncio

    from api import meta
    from api.kustomize import Kustomization
    from api.source import GitRepository
    from kube.judgement import Drift
    from kube.objects import ObjectId
    from runtime.events import Event, EventBus
    from tests.support.kustomizer import World


class Finished:
    """Hears from a queue when a run has ended; a `runtime.workqueue.QueueObserver`."""

    def __init__(self, news: asyncio.Event) -> None:
        self._news = news

    def added(self) -> None:
        """Say nothing."""

    def started(self, waited_s: float) -> None:
        """Say nothing."""

    def finished(self, took_s: float) -> None:
        """Say that there is news."""
        del took_s
        self._news.set()


def wire(world: World, bus: EventBus) -> None:
    """Let changes, announcements, drift and events reach a world."""
    context = world.context

    def wake(ref: meta.ObjectRef, cause: str) -> None:
        world.wakes.append((ref, cause))
        world.news.set()
        world.controller.wake(ref, cause)

    def changed(old: Kustomization | None, new: Kustomization | None) -> None:
        world.news.set()
        everything = context.kustomizations.items()
        for ref, cause in triggers.on_kustomization("test", old, new, everything):
            wake(ref, cause)
        if new is not None:
            context.references.refer(new.ref("test"), referenced.of(new))
        elif old is not None:
            context.references.drop(old.ref("test"))
            targets.forget(context, old.ref("test"))

    def announced(old: GitRepository | None, new: GitRepository | None) -> None:
        for ref, cause in triggers.on_source("test", old, new, context.kustomizations.items()):
            wake(ref, cause)

    def drifted(owner: meta.ObjectRef, obj: ObjectId, drift: Drift) -> None:
        context.tracker.on_drift(owner, obj, drift)

    def publish(event: Event) -> None:
        world.events.append(event)
        world.news.set()

    context.wake = context.references.wake = wake
    context.remotes.wake = wake
    context.remotes.on_drift = drifted
    context.kustomizations.subscribe(changed)
    context.gitrepositories.subscribe(announced)
    bus.publish = publish  # type: ignore[method-assign]  # every event, without a task
