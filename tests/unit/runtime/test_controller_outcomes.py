"""What the controller makes of each ending of a run."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

import pytest

from runtime import logs
from runtime.controller import Controller, Result, Run
from runtime.errors import (
    SupersededError,
    TerminalError,
    TransientError,
    WaitingError,
)
from tests.support.widgets import A, Widgets, result_count, running, value

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from runtime.metrics import Metrics

pytestmark = pytest.mark.usefixtures("virtual_time")


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
