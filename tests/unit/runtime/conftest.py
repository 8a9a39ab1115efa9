"""What the tests of the runtime share: time that follows the event loop's, metrics, a generator."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from typing import TYPE_CHECKING

import looptime
import pytest

from runtime.controller import Controller
from runtime.metrics import Metrics
from runtime.workqueue import WorkQueue
from tests.support.widgets import Widgets

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from runtime.clock import Clock

START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


class LoopClock:
    """A `runtime.clock.Clock` on the loop's time, which ``virtual_time`` makes virtual."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.monotonic())


@pytest.fixture
async def virtual_time() -> None:
    """Let the event loop skip what nothing happens in, as looptime's own mark would.

    Its plugin is left out: it looks for event loops behind every fixture of every test, which was
    a tenth of all unit tests together.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, asyncio.BaseEventLoop)
    looptime.patch_event_loop(loop)


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


@pytest.fixture
def widgets() -> Widgets:
    return Widgets()


@pytest.fixture
def queue() -> WorkQueue[ObjectRef]:
    return WorkQueue()


@pytest.fixture
def controller(
    widgets: Widgets,
    queue: WorkQueue[ObjectRef],
    clock: Clock,
    metrics: Metrics,
    rng: random.Random,
) -> Controller:
    return Controller(
        widgets, queue, cluster="home", concurrency=2, clock=clock, metrics=metrics, rng=rng
    )
