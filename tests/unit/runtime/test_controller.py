"""How the controller runs objects, what it makes of each ending, and how it stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from runtime.controller import Controller, Result, Run
from runtime.errors import (
    GitOpsError,
    TerminalError,
)
from runtime.workqueue import WorkQueue
from tests.support.widgets import A, B, C, D, Widgets, result_count, running, value

if TYPE_CHECKING:
    import random

    from api.meta import ObjectRef
    from runtime.clock import Clock
    from runtime.metrics import Metrics

pytestmark = pytest.mark.usefixtures("virtual_time")


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
