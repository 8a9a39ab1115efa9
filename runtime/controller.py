"""The loop that turns keys into reconciles, and their outcomes into what happens next.

One dispatcher per controller waits for a ready key, then for a slot, and starts a task. A run that
waits for the health of what it applied gives its slot back (`Run.released`), so waiting holds up
nobody, while its key stays serialised. How a run ended is judged in one table, `_judge`:

======================== ================================ ============ ==============
how it ended             next run                         failures     result label
======================== ================================ ============ ==============
Result, no timer         none but by a wake-up            forgotten    success
Result, 0 s              at once                          forgotten    requeue
Result, later            after that, jittered             forgotten    requeue_after
WaitingError             after its delay                  forgotten    requeue_after
SupersededError          at once                          untouched    requeue
TerminalError            none but by a wake-up            forgotten    error
TransientError, delay    after its delay                  untouched    error
TransientError           as the rate limiter says         counted      error
anything else, a bug     as the rate limiter says         counted      error
======================== ================================ ============ ==============

A group of exceptions, as a TaskGroup raises it, counts as the first of its leaves if all of them
are in the taxonomy, and as a bug otherwise. The first failure of a key is logged, and its recovery;
the same failure again only at DEBUG.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

from runtime import errors, logs, workqueue
from runtime.errors import (
    GitOpsError,
    SupersededError,
    TerminalError,
    TransientError,
    WaitingError,
)

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from api.meta import ObjectRef
    from runtime.clock import Clock
    from runtime.metrics import Metrics
    from runtime.workqueue import Work, WorkQueue

logger = logging.getLogger(__name__)

JITTER = 0.05
"""Share by which an interval is made shorter or longer, as in Flux."""


@dataclass(slots=True, frozen=True)
class Result:
    """A reconcile that did what it could."""

    requeue_after_s: float | None = None
    """Seconds until the next run: None for no timer, 0 for at once."""
    jitter: bool = True
    """Whether the controller makes the seconds up to 5 % shorter or longer."""


class Reconciler(Protocol):
    """Makes the world agree with one object of one kind."""

    kind: str
    """The kind whose objects it is given; in lower case the name of the controller in metrics."""

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Read the object anew and act on what it says.

        Never runs twice at once for the same object.

        Raises:
            GitOpsError: one of its four leaves; see the module's table.
        """
        ...


class Run:
    """One reconcile of one object, as its reconciler sees it."""

    def __init__(self, work: Work[ObjectRef], slots: asyncio.Semaphore) -> None:
        self.work = work
        """Why it runs, and whether newer input has arrived since."""
        self.has_slot = True
        """Whether it counts against the controller's concurrency."""
        self._slots = slots
        self.task: asyncio.Task[None]
        """What it runs in; the controller sets it."""
        self._is_waiting = False
        self._is_stopping = False

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Let another object use this run's slot inside the block; for waits without work.

        The key stays serialised. Leaving the block waits for a slot again, unless the run is
        cancelled. Where the controller stops intake, the block is cancelled: a wait can be taken up
        again after the next start.
        """
        self._release()
        self._is_waiting = True
        if self._is_stopping:
            self.cancel()
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            await self._acquire()
            raise
        else:
            await self._acquire()

    def stop_waiting(self) -> None:
        """Cancel the run if it waits for nothing but health, now or once it comes to that."""
        self._is_stopping = True
        if self._is_waiting:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the run."""
        self.task.cancel()

    def end(self) -> None:
        """Give the slot back, unless the run ended without one."""
        if self.has_slot:
            self._release()

    def _release(self) -> None:
        self.has_slot = False
        self._slots.release()

    async def _acquire(self) -> None:
        self._is_waiting = False
        await self._slots.acquire()
        self.has_slot = True


class _Failures(Enum):
    """What an outcome does to the failures that the rate limiter has counted for the key."""

    FORGOTTEN = auto()
    UNTOUCHED = auto()
    COUNTED = auto()


class _Outcome(NamedTuple):
    """A row of the module's table."""

    label: str
    failures: _Failures
    delay_s: float | None = None
    """Seconds until the next run; None for none, or for the rate limiter's where it counted."""


_SUCCESS = _Outcome("success", _Failures.FORGOTTEN)
_AT_ONCE = _Outcome("requeue", _Failures.FORGOTTEN, 0.0)
_SUPERSEDED = _Outcome("requeue", _Failures.UNTOUCHED, 0.0)
_STALLED = _Outcome("error", _Failures.FORGOTTEN)
_FAILED = _Outcome("error", _Failures.COUNTED)


def _judge(ending: Result | Exception) -> _Outcome:
    """Return the row of the module's table for how a run ended, before jitter."""
    match ending:
        case Result(requeue_after_s=None):
            return _SUCCESS
        case Result(requeue_after_s=delay_s):
            return _Outcome("requeue_after", _Failures.FORGOTTEN, delay_s) if delay_s else _AT_ONCE
        case WaitingError():
            return _Outcome("requeue_after", _Failures.FORGOTTEN, ending.requeue_after_s)
        case SupersededError():
            return _SUPERSEDED
        case TerminalError():
            return _STALLED
        case TransientError() if ending.retry_after_s is not None:
            return _Outcome("error", _Failures.UNTOUCHED, ending.retry_after_s)
        case _:
            return _FAILED


class Controller:
    """Runs one reconciler over one queue.

    Args:
        reconciler: does the work.
        queue: says what is to be done; the controller is its only consumer.
        cluster: the name of the cluster, for metrics.
        concurrency: objects reconciled at once, not counting those that only wait.
        clock: measures durations.
        metrics: counts outcomes under the names of controller-runtime.
        rng: jitters intervals and back-off.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        queue: WorkQueue[ObjectRef],
        *,
        cluster: str,
        concurrency: int,
        clock: Clock,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self.name = reconciler.kind.lower()
        self._reconciler, self._queue = reconciler, queue
        self._clock, self._rng = clock, rng
        self._counts = metrics.controller(self.name, cluster)
        self._limiter: workqueue.RateLimiter[ObjectRef] = workqueue.RateLimiter(rng)
        self._failing = logs.FailureLog(logger)
        self._slots = asyncio.Semaphore(concurrency)
        self._runs: dict[ObjectRef, Run] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._dispatcher: asyncio.Task[None] | None = None
        self._is_stopping = False
        metrics.watch_queue(self.name, cluster, queue)
        metrics.watch_workers(self.name, cluster, self.active, concurrency)

    def wake(self, ref: ObjectRef, cause: str = "", *, low: bool = False) -> None:
        """Ask for an object to be reconciled now; see `WorkQueue.add`."""
        self._queue.add(ref, cause=cause, low=low)

    def active(self) -> int:
        """Return how many slots are in use; may be called from any thread."""
        return sum(run.has_slot for run in tuple(self._runs.values()))

    def waiting(self) -> int:
        """Return how many runs have given their slot back and only wait."""
        return len(self._runs) - self.active()

    async def run(self) -> None:
        """Reconcile until cancelled, or until `stop_intake` was called and every run has ended."""
        if self._is_stopping:
            return
        async with asyncio.TaskGroup() as tasks:
            dispatch = self._dispatch(tasks)
            self._dispatcher = tasks.create_task(dispatch, name=f"{self.name}-dispatcher")

    def stop_intake(self) -> None:
        """Start no further run, and end those that only wait for health. Final."""
        self._is_stopping = True
        if self._dispatcher is not None:
            self._dispatcher.cancel()
        for run in self._runs.values():
            run.stop_waiting()

    async def drain(self, timeout_s: float) -> bool:
        """Stop intake, wait for the runs that are under way, then cancel those that are left.

        Returns:
            Whether all of them ended within ``timeout_s`` seconds. If not, they have been cancelled
            and `run` returns when they have cleaned up.
        """
        self.stop_intake()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            for run in self._runs.values():
                run.cancel()
            return False
        return True

    async def _dispatch(self, tasks: asyncio.TaskGroup) -> None:
        """Start runs: no slot without a ready key, and the key chosen once there is a slot.

        So a slot never lies idle while a run wants it back, and a push that arrives while all
        slots are taken still goes ahead of what has waited at low priority.
        """
        while True:
            await self._queue.ready()
            await self._slots.acquire()
            work = self._queue.take()
            run = self._runs[work.key] = Run(work, self._slots)
            self._idle.clear()
            run.task = tasks.create_task(self._process(run), name=str(work.key))
            # A task that is cancelled before its first step runs none of its code, not even a
            # finally; its key and its slot must come back all the same.
            run.task.add_done_callback(functools.partial(self._ended, run))

    def _ended(self, run: Run, _task: asyncio.Task[None]) -> None:
        del self._runs[run.work.key]
        run.end()
        self._queue.done(run.work)
        if not self._runs:
            self._idle.set()

    async def _process(self, run: Run) -> None:
        cluster, kind, namespace, name = ref = run.work.key
        started = self._clock.monotonic()
        reconcile_id = f"{self._rng.getrandbits(64):016x}"
        with logs.bind(
            cluster=cluster, kind=kind, namespace=namespace, name=name, reconcile_id=reconcile_id
        ):
            ending = await self._reconcile(ref, run)
            seconds = self._clock.monotonic() - started
            outcome = _judge(ending)
            delay_s = self._delay(ref, ending, outcome)
            self._count(ending, outcome, seconds)
            self._report(run.work, ending, seconds, delay_s)
        if delay_s is not None:
            cause = "interval" if isinstance(ending, Result) else "retry"
            self._queue.add_after(ref, delay_s, cause=cause)

    async def _reconcile(self, ref: ObjectRef, run: Run) -> Result | Exception:
        try:
            return await self._reconciler.reconcile(ref, run)
        except asyncio.CancelledError as error:
            bug = errors.unasked_cancellation(error)
            if bug is None:
                raise
            return bug
        except Exception as error:  # noqa: BLE001 - the one place that turns failures into outcomes
            return _leaf(error)

    def _delay(self, ref: ObjectRef, ending: Result | Exception, outcome: _Outcome) -> float | None:
        if outcome.failures is _Failures.COUNTED:
            return self._limiter.when(ref)
        if outcome.failures is _Failures.FORGOTTEN:
            self._limiter.forget(ref)
        if outcome.delay_s and isinstance(ending, Result) and ending.jitter:
            return outcome.delay_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
        return outcome.delay_s

    def _count(self, ending: Result | Exception, outcome: _Outcome, seconds: float) -> None:
        counts = self._counts
        counts.results[outcome.label].inc()
        counts.seconds.observe(seconds)
        if outcome.label != "error":
            return
        counts.errors.inc()
        if isinstance(ending, TerminalError):
            counts.terminal_errors.inc()
        else:
            counts.retries.inc()
            if not isinstance(ending, TransientError):
                counts.panics.inc()

    def _report(
        self,
        work: Work[ObjectRef],
        ending: Result | Exception,
        seconds: float,
        delay_s: float | None,
    ) -> None:
        """Log how a run ended: changes are the reconciler's to tell, failures are told here."""
        match ending:
            case Result():
                self._failing.recovered(work.key, "reconciled again")
            case WaitingError() | SupersededError():
                pass
            case _:
                next_s = None if delay_s is None else round(delay_s, 3)
                self._failing.failed(work.key, ending, "reconcile failed", next_try_in_s=next_s)
                return
        if logger.isEnabledFor(logging.DEBUG):
            told = {
                "cause": work.cause,
                "ended": str(ending) if isinstance(ending, Exception) else "",
                "seconds": round(seconds, 6),
                "next_run_in_s": delay_s,
            }
            logger.debug("reconciled", extra=told)


def _leaf(error: Exception) -> Exception:
    """Return the first leaf of a group that holds the taxonomy alone, else the error itself."""
    if isinstance(error, ExceptionGroup) and error.split(GitOpsError)[1] is None:
        return _leaf(error.exceptions[0])
    return error
