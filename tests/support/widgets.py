"""A controller of widgets, whose reconciler does what a test says; in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from api.meta import ObjectRef
from runtime.controller import Controller, Result, Run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runtime.metrics import Metrics

A = ObjectRef("home", "Widget", "default", "a")
B = ObjectRef("home", "Widget", "default", "b")
C = ObjectRef("home", "Widget", "default", "c")
D = ObjectRef("home", "Widget", "default", "d")


class Widgets:
    """A reconciler that does what the test says and remembers when it was asked."""

    kind = "Widget"

    def __init__(self) -> None:
        self.calls: list[tuple[float, str]] = []
        self.causes: list[str] = []
        self.act: Callable[[ObjectRef, Run], Awaitable[Result]] = self.succeed
        self.running = self.peak = 0
        self.called = asyncio.Event()

    @staticmethod
    async def succeed(ref: ObjectRef, run: Run) -> Result:
        return Result()

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        self.calls.append((asyncio.get_running_loop().time(), ref.name))
        self.causes.append(run.work.cause)
        self.called.set()
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            return await self.act(ref, run)
        finally:
            self.running -= 1

    def ends(self, *endings: Result | BaseException) -> None:
        """Let the next runs end so, in order; the last one for good."""
        left = list(endings)

        async def act(ref: ObjectRef, run: Run) -> Result:
            ending = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(ending, BaseException):
                raise ending
            return ending

        self.act = act

    @property
    def times(self) -> list[float]:
        """When each run began."""
        return [time for time, _ in self.calls]


@asynccontextmanager
async def running(controller: Controller) -> AsyncIterator[asyncio.Task[None]]:
    """Run the controller for the length of the block, then cancel it."""
    task = asyncio.get_running_loop().create_task(controller.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def value(metrics: Metrics, metric: str, /, **labels: str) -> float | None:
    """Return a metric of the cluster ``home``."""
    return metrics.registry.get_sample_value(metric, {"cluster": "home", **labels})


def result_count(metrics: Metrics, result: str) -> float | None:
    """Return how many runs ended so."""
    return value(metrics, "controller_runtime_reconcile_total", controller="widget", result=result)
