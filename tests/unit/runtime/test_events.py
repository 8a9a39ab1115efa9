"""The event bus: everybody hears everything, nobody is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from api.meta import ObjectRef
from runtime.events import Event, EventBus

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.events import Subscription


def event(message: str, clock: Clock) -> Event:
    return Event(
        involved=ObjectRef("home", "Kustomization", "flux-system", "apps"),
        api_version="kustomize.toolkit.fluxcd.io/v1",
        uid="u",
        resource_version="1",
        severity="info",
        reason="ReconciliationSucceeded",
        message=message,
        timestamp=clock.now(),
        reporter="kustomize-controller",
    )


async def read(subscription: Subscription) -> list[str]:
    return [each.message async for each in subscription]


async def test_every_subscriber_hears_everything_in_order(clock: Clock) -> None:
    bus = EventBus()
    first, second = bus.subscribe(), bus.subscribe()
    for message in "abc":
        bus.publish(event(message, clock))
    bus.close()
    assert await read(first) == ["a", "b", "c"]
    assert await read(second) == ["a", "b", "c"]


async def test_subscriber_waits_for_what_comes_later(clock: Clock) -> None:
    bus = EventBus()
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read(bus.subscribe()))
        await asyncio.sleep(0)
        bus.publish(event("a", clock))
        await asyncio.sleep(0)
        bus.publish(event("b", clock))
        bus.close()
    assert reader.result() == ["a", "b"]


async def test_closed_subscription_hears_nothing_more(clock: Clock) -> None:
    bus = EventBus()
    with bus.subscribe() as subscription:
        bus.publish(event("a", clock))
    bus.publish(event("b", clock))
    subscription.close()
    assert await read(subscription) == ["a"]


async def test_nobody_listening_is_fine(clock: Clock) -> None:
    EventBus().publish(event("a", clock))


async def test_slow_subscriber_loses_its_oldest_events_and_they_are_counted(clock: Clock) -> None:
    dropped: list[int] = []
    bus = EventBus(lambda: dropped.append(1), limit=2)
    slow = bus.subscribe()
    for message in "abcde":
        bus.publish(event(message, clock))
    assert len(slow) == 2
    bus.close()
    assert await read(slow) == ["d", "e"]
    assert len(dropped) == 3


async def test_events_lost_without_a_counter_do_no_harm(clock: Clock) -> None:
    bus = EventBus(limit=1)
    slow = bus.subscribe()
    bus.publish(event("a", clock))
    bus.publish(event("b", clock))
    assert len(slow) == 1


def test_event_has_no_metadata_unless_given(clock: Clock) -> None:
    async def make() -> Event:
        return event("a", clock)

    assert asyncio.run(make()).metadata == {}
