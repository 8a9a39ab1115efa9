"""How the controller runs objects, what it makes of each ending, and how it stops."""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from api.meta import ObjectRef
from runtime import logs
from runtime.controller import Controller, Result, Run
from runtime.errors import (
    GitOpsError,
    SupersededError,
    TerminalError,
    TransientError,
    WaitingError,
)
from runtime.workqueue import WorkQueue

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runtime.clock import Clock
    from runtime.metrics import Metrics

pytestmark = pytest.mark.usefixtures("virtual_time")

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
        return [time for time, _ in self.calls]


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
    return metrics.registry.get_sample_value(metric, {"cluster": "home", **labels})


def result_count(metrics: Metrics, result: str) -> float | None:
    return value(metrics, "controller_runtime_reconcile_total", controller="widget", result=result)


async def test_woken_object_is_reconciled_with_its_cause(
    controller: Controller, widgets: Widgets
) -> None:
    async with running(controller):
        controller.wake(A, "push")
        await asyncio.sleep(1)
    assert widgets.calls == [(0, "a")]
    assert widgets.causes == ["push"]


async def test_object_without_a_timer_runs_only_when_woken(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(100_000)
        controller.wake(A)
        await asyncio.sleep(10)
    assert widgets.times == [0, 100_000]
    assert result_count(metrics, "success") == 2


async def test_interval_is_jittered_by_five_percent(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    widgets.ends(Result(requeue_after_s=600))
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(600 * 50)
    gaps = [later - earlier for earlier, later in itertools.pairwise(widgets.times)]
    assert len(gaps) >= 45
    assert all(569.9 <= gap <= 630.1 for gap in gaps)
    assert max(gaps) - min(gaps) > 30
    assert set(widgets.causes[1:]) == {"interval"}
    assert result_count(metrics, "requeue_after") == len(widgets.times)


async def test_interval_without_jitter_is_exact(controller: Controller, widgets: Widgets) -> None:
    widgets.ends(Result(requeue_after_s=30, jitter=False))
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(95)
    assert widgets.times == [0, 30, 60, 90]


async def test_result_of_zero_runs_again_at_once(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    widgets.ends(Result(requeue_after_s=0), Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(1)
    assert widgets.times == [0, 0]
    assert result_count(metrics, "requeue") == 1


async def test_transient_failure_backs_off_and_success_forgets_it(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    failure = TransientError("Failed", "connection refused")
    widgets.ends(failure, failure, failure, Result(), failure, Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(20)
        controller.wake(A)
        await asyncio.sleep(20)
    gaps = [later - earlier for earlier, later in itertools.pairwise(widgets.times)]
    for index, nominal in ((0, 0.75), (1, 1.5), (2, 3.0), (4, 0.75)):
        assert 0.8 * nominal <= gaps[index] <= 1.2 * nominal + 0.001
    assert len(widgets.times) == 6
    assert result_count(metrics, "error") == 4
    assert value(metrics, "controller_runtime_reconcile_errors_total", controller="widget") == 4
    assert value(metrics, "controller_runtime_reconcile_panics_total", controller="widget") == 0
    assert value(metrics, "workqueue_retries_total", name="widget", controller="widget") == 4


async def test_transient_failure_with_a_delay_keeps_to_it(
    controller: Controller, widgets: Widgets
) -> None:
    widgets.ends(TransientError("Failed", "slow down", retry_after_s=60))
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(200)
    assert widgets.times == [0, 60, 120, 180]
    assert widgets.causes == ["", "retry", "retry", "retry"]


async def test_waiting_is_no_error_and_forgets_failures(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    failure = TransientError("Failed", "connection refused")
    waiting = WaitingError("DependencyNotReady", "not yet", requeue_after_s=30)
    widgets.ends(failure, failure, waiting, failure, Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(100)
    assert widgets.times[3] - widgets.times[2] == 30
    assert widgets.times[4] - widgets.times[3] < 1
    assert result_count(metrics, "requeue_after") == 1
    assert result_count(metrics, "error") == 3


async def test_terminal_failure_waits_for_a_wake_up(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    widgets.ends(TerminalError("BuildFailed", "no such file"), Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(100_000)
        assert len(widgets.times) == 1
        controller.wake(A)
        await asyncio.sleep(1)
    assert len(widgets.times) == 2
    labels = {"controller": "widget"}
    assert value(metrics, "controller_runtime_terminal_reconcile_errors_total", **labels) == 1
    assert value(metrics, "controller_runtime_reconcile_errors_total", **labels) == 1


async def test_superseded_run_starts_again_at_once_and_is_no_error(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        if len(widgets.calls) > 1:
            return Result()
        await run.work.superseded.wait()
        raise SupersededError("HealthCheckCanceled", run.work.superseded_by)

    widgets.act = act
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(5)
        controller.wake(A, "push")
        await asyncio.sleep(5)
    assert widgets.times == [0, 5]
    assert result_count(metrics, "requeue") == 1
    assert result_count(metrics, "error") == 0


async def test_bug_is_logged_with_its_traceback_and_retried(
    controller: Controller,
    widgets: Widgets,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    widgets.ends(ZeroDivisionError("oops"), Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(5)
    assert len(widgets.times) == 2
    assert value(metrics, "controller_runtime_reconcile_panics_total", controller="widget") == 1
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_group_of_known_failures_counts_as_its_first(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    terminal = TerminalError("BuildFailed", "no such file")
    widgets.ends(ExceptionGroup("tasks", [ExceptionGroup("inner", [terminal])]), Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(5000)
    assert len(widgets.times) == 1
    assert value(metrics, "controller_runtime_reconcile_panics_total", controller="widget") == 0


async def test_group_with_an_unknown_failure_is_a_bug(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    group = ExceptionGroup("tasks", [TerminalError("BuildFailed", "x"), KeyError("y")])
    widgets.ends(group, Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(5)
    assert value(metrics, "controller_runtime_reconcile_panics_total", controller="widget") == 1


async def test_cancellation_that_nobody_asked_for_is_a_bug_and_loses_no_key(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    widgets.ends(asyncio.CancelledError(), Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(5)
    assert len(widgets.times) == 2
    assert value(metrics, "controller_runtime_reconcile_panics_total", controller="widget") == 1


async def test_first_failure_and_recovery_are_logged_and_repeats_only_at_debug(
    controller: Controller, widgets: Widgets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "runtime.controller")
    failure = TransientError("GitOperationFailed", "connection refused")
    other = TransientError("AuthenticationFailed", "wrong password")
    widgets.ends(failure, failure, other, other, Result(), Result())
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(30)
    told = [
        (record.levelname, record.getMessage(), getattr(record, "failures", None))
        for record in caplog.records
        if record.getMessage() != "reconciled"
    ]
    assert told == [
        ("WARNING", "reconcile failed", 1),
        ("DEBUG", "reconcile failed", 2),
        ("WARNING", "reconcile failed", 3),
        ("DEBUG", "reconcile failed", 4),
        ("INFO", "reconciled again", 4),
    ]


async def test_run_without_change_is_told_at_debug_alone(
    controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "runtime.controller")
    async with running(controller):
        controller.wake(A, "push")
        await asyncio.sleep(1)
    assert [(r.levelname, r.getMessage(), r.cause) for r in caplog.records] == [  # type: ignore[attr-defined]  # extra
        ("DEBUG", "reconciled", "push")
    ]


async def test_fields_of_the_object_are_bound_while_it_runs(
    controller: Controller, widgets: Widgets
) -> None:
    seen: dict[str, object] = {}

    async def act(ref: ObjectRef, run: Run) -> Result:
        seen.update(logs.fields())
        return Result()

    widgets.act = act
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(1)
    assert len(str(seen.pop("reconcile_id"))) == 16
    assert seen == {"cluster": "home", "kind": "Widget", "namespace": "default", "name": "a"}
    assert not logs.fields()


async def test_concurrency_is_bounded(
    controller: Controller, widgets: Widgets, metrics: Metrics
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        await asyncio.sleep(10)
        return Result()

    widgets.act = act
    async with running(controller):
        for ref in (A, B, C):
            controller.wake(ref)
        await asyncio.sleep(5)
        assert (controller.active(), controller.waiting()) == (2, 0)
        labels = {"controller": "widget"}
        assert value(metrics, "controller_runtime_active_workers", **labels) == 2
        assert value(metrics, "controller_runtime_max_concurrent_reconciles", **labels) == 2
        assert value(metrics, "workqueue_depth", name="widget", **labels) == 1
        await asyncio.sleep(20)
    assert widgets.calls == [(0, "a"), (0, "b"), (10, "c")]
    assert widgets.peak == 2


async def test_one_object_is_never_run_twice_at_once(
    controller: Controller, widgets: Widgets
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        await asyncio.sleep(10)
        return Result()

    widgets.act = act
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(1)
        controller.wake(A)
        await asyncio.sleep(30)
    assert widgets.times == [0, 10]
    assert widgets.peak == 1


async def test_waiting_run_gives_its_slot_to_others_and_keeps_its_key(
    controller: Controller, widgets: Widgets
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        async with run.released():
            await asyncio.sleep(60)
        return Result()

    widgets.act = act
    async with running(controller):
        for ref in (A, B, C):
            controller.wake(ref)
        await asyncio.sleep(1)
        controller.wake(A)
        assert (controller.active(), controller.waiting()) == (0, 3)
        await asyncio.sleep(200)
    assert widgets.calls == [(0, "a"), (0, "b"), (0, "c"), (60, "a")]


async def test_run_takes_a_slot_again_when_its_wait_is_over(
    controller: Controller, widgets: Widgets
) -> None:
    ended = []

    async def act(ref: ObjectRef, run: Run) -> Result:
        if ref == A:
            async with run.released():
                await asyncio.sleep(1)
        else:
            await asyncio.sleep(10)
        ended.append((ref.name, asyncio.get_running_loop().time()))
        return Result()

    widgets.act = act
    async with running(controller):
        for ref in (A, B, C):
            controller.wake(ref)
        await asyncio.sleep(30)
        assert controller.active() == 0
    assert ended == [("b", 10), ("c", 10), ("a", 10)]


async def test_run_gets_its_slot_back_although_nothing_else_is_to_be_done(
    widgets: Widgets, clock: Clock, metrics: Metrics, rng: random.Random
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        async with run.released():
            await asyncio.sleep(10)
        return Result(requeue_after_s=5, jitter=False)

    widgets.act = act
    queue: WorkQueue[ObjectRef] = WorkQueue()
    controller = Controller(
        widgets, queue, cluster="home", concurrency=1, clock=clock, metrics=metrics, rng=rng
    )
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(20)
    assert widgets.times == [0, 15]


async def test_urgent_key_goes_first_although_it_came_while_all_slots_were_taken(
    controller: Controller, widgets: Widgets
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        await asyncio.sleep(10)
        return Result()

    widgets.act = act
    async with running(controller):
        for ref in (A, B, C):
            controller.wake(ref, low=True)
        await asyncio.sleep(5)
        controller.wake(D)
        await asyncio.sleep(30)
    assert widgets.calls[2] == (10, "d")


async def test_failure_inside_a_wait_takes_a_slot_for_what_follows(
    controller: Controller, widgets: Widgets
) -> None:
    had_slot = []

    async def act(ref: ObjectRef, run: Run) -> Result:
        try:
            async with run.released():
                had_slot.append(run.has_slot)
                raise TerminalError("HealthCheckFailed", "timed out")
        except GitOpsError:
            had_slot.append(run.has_slot)
            raise

    widgets.act = act
    async with running(controller):
        controller.wake(A)
        await asyncio.sleep(1)
    assert had_slot == [False, True]


async def test_stopped_intake_lets_runs_finish_and_starts_none(
    controller: Controller, widgets: Widgets, queue: WorkQueue[ObjectRef]
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        await asyncio.sleep(10)
        return Result()

    widgets.act = act
    async with running(controller) as task:
        for ref in (A, B, C):
            controller.wake(ref)
        await asyncio.sleep(1)
        assert await controller.drain(20)
        await asyncio.wait({task}, timeout=1)
        assert task.done()
        assert task.exception() is None
    assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)
    assert [name for _, name in widgets.calls] == ["a", "b"]
    assert queue.depth() == 1


async def test_drain_cancels_what_outlasts_its_deadline(
    controller: Controller, widgets: Widgets, queue: WorkQueue[ObjectRef]
) -> None:
    cleaned = []

    async def act(ref: ObjectRef, run: Run) -> Result:
        try:
            await asyncio.sleep(1000)
        finally:
            cleaned.append(ref.name)
        return Result()

    widgets.act = act
    async with running(controller) as task:
        controller.wake(A)
        await asyncio.sleep(1)
        assert not await controller.drain(20)
        await asyncio.wait({task}, timeout=1)
        assert task.done()
    assert cleaned == ["a"]
    assert not queue.is_processing(A)


async def test_stop_ends_waits_for_health_now_and_those_to_come(
    controller: Controller, widgets: Widgets
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        if ref == B:
            await asyncio.sleep(5)
        async with run.released():
            await asyncio.sleep(1000)
        return Result()

    widgets.act = act
    async with running(controller) as task:
        controller.wake(A)
        controller.wake(B)
        await asyncio.sleep(1)
        assert await controller.drain(20)
        assert task.done() or (await asyncio.wait({task}, timeout=1))[0]
    assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)


async def test_controller_stopped_before_it_ran_does_nothing(
    controller: Controller, widgets: Widgets
) -> None:
    controller.wake(A)
    assert await controller.drain(1)
    await controller.run()
    assert widgets.calls == []


async def test_cancelled_controller_gives_every_key_back_and_can_run_again(
    controller: Controller, widgets: Widgets, queue: WorkQueue[ObjectRef]
) -> None:
    async def act(ref: ObjectRef, run: Run) -> Result:
        await asyncio.sleep(1000)
        return Result()

    widgets.act = act
    async with running(controller):
        controller.wake(A)
        controller.wake(B)
        await asyncio.sleep(1)
    assert queue.processing() == ()
    widgets.act = widgets.succeed
    async with running(controller):
        for ref in (A, B, C):
            controller.wake(ref)
        await asyncio.sleep(1)
    assert [name for _, name in widgets.calls] == ["a", "b", "a", "b", "c"]


async def test_run_cancelled_before_its_first_step_gives_key_and_slot_back(
    widgets: Widgets, clock: Clock, metrics: Metrics, rng: random.Random
) -> None:
    class CancelOnStart:
        """Cancels the controller the moment a key is handed out, before its run takes a step."""

        task: asyncio.Task[None]

        def added(self) -> None: ...
        def started(self, waited_s: float) -> None:
            self.task.cancel()

        def finished(self, took_s: float) -> None: ...

    observer = CancelOnStart()
    queue: WorkQueue[ObjectRef] = WorkQueue(observer)
    controller = Controller(
        widgets, queue, cluster="home", concurrency=2, clock=clock, metrics=metrics, rng=rng
    )
    async with running(controller) as observer.task:
        await asyncio.sleep(1)
        controller.wake(A)
        await asyncio.wait({observer.task})
    assert widgets.calls == []
    assert queue.processing() == ()
    assert controller.active() == 0


async def test_low_wake_ups_give_way(controller: Controller, widgets: Widgets) -> None:
    for ref in (A, B):
        controller.wake(ref, low=True)
    controller.wake(C)
    async with running(controller):
        await asyncio.sleep(1)
    assert [name for _, name in widgets.calls] == ["c", "a", "b"]
