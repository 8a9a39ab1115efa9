"""What the tests of the runtime share: time that follows the event loop's, metrics, a generator."""

from __future__ import annotations

import asyncio
import datetime as dt
import random

import pytest

from runtime.metrics import Metrics

START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


class LoopClock:
    """A `runtime.clock.Clock` on the loop's time, which is virtual under ``looptime``."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.monotonic())


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)
