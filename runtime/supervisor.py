"""Parts of the daemon that must outlive each other's failures: named children that restart.

A TaskGroup cancels every sibling on the first error, which is right inside one piece of work and
wrong between clusters. A supervisor's child that fails is logged, counted and started again after
one second, then two, up to a minute; its siblings hear nothing of it. A child that returns is done.

The first failure of a child is logged as a warning, an unexpected one with its traceback; the same
again only at DEBUG, until the child has run for a minute or says through `Supervisor.healthy` that
it is well.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from runtime import errors, logs

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from runtime.clock import Clock
    from runtime.metrics import Metrics

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0
STOP_S = 8.0
"""Seconds a cancelled child may take to end: its own clean-up has 5."""


class Phase(StrEnum):
    """Where a child stands."""

    RUNNING = "running"
    BACKING_OFF = "backing off"
    STOPPED = "stopped"
    """It returned, or it was stopped."""


@dataclass(slots=True, frozen=True)
class ChildState:
    """What `Supervisor.state` tells of one child."""

    phase: Phase
    restarts: int
    """Starts after failures, since the child was added."""
    error: str
    """The last failure, until the child is well again; empty when well."""
    retry_in_s: float
    """Seconds until the next start while backing off, else 0."""


class _Child:
    def __init__(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self.name, self.run = name, run
        self.phase = Phase.RUNNING
        self.restarts = 0
        self.failures = 0
        self.error = ""
        self.retry_at = 0.0
        self.hurry = asyncio.Event()
        self.task: asyncio.Task[None]


class Supervisor:
    """Owns named children; leave its ``async with`` block to stop them all.

    Args:
        clock: for back-off and state.
        rng: jitters the back-off by a fifth, so that clusters do not come back in step.
        metrics: counts restarts by child.
    """

    def __init__(self, clock: Clock, rng: random.Random, metrics: Metrics) -> None:
        self._clock, self._rng, self._metrics = clock, rng, metrics
        self._children: dict[str, _Child] = {}
        self._failing = logs.FailureLog(logger)
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._children.values():
            child.task.cancel()
        await self._tasks.__aexit__(kind, error, traceback)

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Add a child and start it.

        Args:
            name: unique among the children that have not stopped; a label of the restart counter.
            run: runs the child to its end; called anew for every start.

        Raises:
            ValueError: a child of that name is there already.
        """
        present = self._children.get(name)
        if present is not None and present.phase is not Phase.STOPPED:
            raise ValueError(f"{name} runs already")
        child = self._children[name] = _Child(name, run)
        child.task = self._tasks.create_task(self._keep(child), name=name)

    async def stop(self, name: str, timeout_s: float = STOP_S) -> bool:
        """Cancel a child, wait until it has ended, and forget it.

        Returns:
            Whether it ended within ``timeout_s`` seconds; if not, it is left to end by itself.
        """
        child = self._children.pop(name, None)
        if child is None:
            return True
        child.task.cancel()
        _, pending = await asyncio.wait({child.task}, timeout=timeout_s)
        return not pending

    def healthy(self, name: str) -> None:
        """Record that a child is well: failures are forgotten, and its recovery is logged."""
        child = self._children.get(name)
        if child is not None:
            self._recover(child)

    def retry_now(self, name: str) -> None:
        """Start a child that backs off at once; for changed settings or a returned network."""
        child = self._children.get(name)
        if child is not None:
            child.hurry.set()

    def state(self) -> dict[str, ChildState]:
        """Return how every child stands, in the order they were started."""
        now = self._clock.monotonic()
        return {
            name: ChildState(
                child.phase,
                child.restarts,
                child.error,
                max(0.0, child.retry_at - now) if child.phase is Phase.BACKING_OFF else 0.0,
            )
            for name, child in self._children.items()
        }

    async def _keep(self, child: _Child) -> None:
        try:
            while True:
                loop = asyncio.get_running_loop()
                lasting = loop.call_later(MAX_BACKOFF_S, self._recover, child)
                try:
                    error = await _failure(child)
                finally:
                    lasting.cancel()
                if error is None:
                    return
                if errors.is_cancelled():  # its last words, which do not make up for the end
                    self._failing.failed(child.name, error, "failed to end", child=child.name)
                    return
                await self._back_off(child, error)
        finally:
            child.phase = Phase.STOPPED

    async def _back_off(self, child: _Child, error: Exception) -> None:
        delay_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(child.failures, 10))
        delay_s *= self._rng.uniform(0.8, 1.0)
        child.failures += 1
        child.error = str(error) or type(error).__name__
        self._failing.failed(
            child.name,
            error,
            "failed, starting again",
            child=child.name,
            retry_in_s=round(delay_s, 1),
        )
        child.phase, child.retry_at = Phase.BACKING_OFF, self._clock.monotonic() + delay_s
        child.hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await child.hurry.wait()
        child.phase = Phase.RUNNING
        child.restarts += 1
        self._metrics.child_restarts.labels(child.name).inc()

    def _recover(self, child: _Child) -> None:
        child.failures, child.error = 0, ""
        self._failing.recovered(child.name, "well again", child=child.name)


async def _failure(child: _Child) -> Exception | None:
    """Run a child and return how it failed, or None when it came to its end."""
    try:
        await child.run()
    except asyncio.CancelledError as error:
        bug = errors.unasked_cancellation(error)
        if bug is None:
            raise
        return bug
    except Exception as error:  # noqa: BLE001 - what a supervisor is for
        return error
    return None
