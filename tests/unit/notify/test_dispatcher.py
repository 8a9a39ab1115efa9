"""The dispatcher: every piece of news once, to every sink, and no sink holds up another."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from api.meta import ObjectRef
from notify import dispatcher
from notify.dispatcher import Dispatcher, News
from runtime.events import Event, EventBus

if TYPE_CHECKING:
    from collections.abc import AsyncIterable


class StillClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


def event(message: str = "applied", **change: Any) -> Event:
    fields: dict[str, Any] = {
        "involved": ObjectRef("home", "Kustomization", "flux-system", "apps"),
        "api_version": "kustomize.toolkit.fluxcd.io/v1",
        "uid": "u",
        "resource_version": "1",
        "severity": "info",
        "reason": "ReconciliationSucceeded",
        "message": message,
        "timestamp": dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        "reporter": "kustomize-controller",
    }
    return Event(**fields | change)


class Listener:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def run(self, events: AsyncIterable[Event]) -> None:
        async for each in events:
            self.heard.append(each.message)


def revision(value: str) -> dict[str, str]:
    return {"kustomize.toolkit.fluxcd.io/revision": value}


def test_a_repeat_within_the_window_is_no_news() -> None:
    clock = StillClock()
    news = News(clock)
    assert news.is_news(event())
    clock.seconds = dispatcher.WINDOW_S - 1
    assert not news.is_news(event(resource_version="2"))


def test_what_goes_on_happening_is_told_again_after_the_window() -> None:
    clock = StillClock()
    news = News(clock)
    told = []
    for minute in range(12):
        clock.seconds = minute * 60.0
        told.append(news.is_news(event()))
    assert [minute for minute, is_told in enumerate(told) if is_told] == [0, 5, 10]


@pytest.mark.parametrize(
    "change",
    [
        {"message": "other"},
        {"reason": "BuildFailed"},
        {"uid": "recreated"},
        {"involved": ObjectRef("pi", "Kustomization", "flux-system", "apps")},
        {"metadata": revision("main@sha1:2")},
    ],
)
def test_what_differs_in_what_people_read_is_news(change: dict[str, Any]) -> None:
    news = News(StillClock())
    assert news.is_news(event(metadata=revision("main@sha1:1")))
    assert news.is_news(event(**{"metadata": revision("main@sha1:1")} | change))


def test_memory_is_bounded() -> None:
    news = News(StillClock())
    for number in range(dispatcher.REMEMBERED + 1):
        assert news.is_news(event(str(number)))
    assert not news.is_news(event("1"))
    assert news.is_news(event("0")), "the oldest was forgotten"


async def test_every_sink_hears_every_piece_of_news_once() -> None:
    bus = EventBus()
    carrier, one, two = Dispatcher(bus, StillClock()), Listener(), Listener()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for sink in (one, two):
            group.create_task(carrier.feed(sink))
        group.create_task(carrier.run())
        await asyncio.sleep(0)
        for message in ("a", "b", "a"):
            bus.publish(event(message))
        bus.close()
    assert one.heard == two.heard == ["a", "b"]


async def test_a_sink_that_does_not_read_loses_its_oldest_news_alone() -> None:
    bus, lost = EventBus(), []
    carrier = Dispatcher(bus, StillClock(), on_drop=lambda: lost.append(1), limit=2)
    quick = Listener()
    with carrier.subscribe() as slow:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(carrier.feed(quick))
            group.create_task(carrier.run())
            await asyncio.sleep(0)
            for message in "abcd":
                bus.publish(event(message))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            bus.close()
        assert [each.message async for each in slow] == ["c", "d"]
    assert quick.heard == ["a", "b", "c", "d"]
    assert len(lost) == 2


async def test_a_sink_that_breaks_leaves_the_others_alone() -> None:
    class Broken:
        async def run(self, events: AsyncIterable[Event]) -> None:
            async for _ in events:
                raise ConnectionError("no such host")

    bus, listener = EventBus(), Listener()
    carrier = Dispatcher(bus, StillClock())

    async def broken() -> None:
        with pytest.raises(ConnectionError):
            await carrier.feed(Broken())

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(broken())
        group.create_task(carrier.feed(listener))
        group.create_task(carrier.run())
        await asyncio.sleep(0)
        bus.publish(event("a"))
        bus.publish(event("b"))
        bus.close()
    assert listener.heard == ["a", "b"]
