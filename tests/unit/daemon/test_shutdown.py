from __future__ import annotations

import asyncio

from daemon.shutdown import Shutdown, Stage


async def forever() -> None:
    await asyncio.Event().wait()


async def test_stages_run_in_order_and_report_nothing() -> None:
    done: list[str] = []

    async def first() -> None:
        done.append("first")

    async def second() -> None:
        done.append("second")

    assert await Shutdown().run([Stage("a", 1, first), Stage("b", 1, second)]) == []
    assert done == ["first", "second"]


async def test_overrunning_stage_is_cut_off_and_the_next_runs() -> None:
    done = asyncio.Event()

    async def last() -> None:
        done.set()

    assert await Shutdown().run([Stage("stuck", 0.01, forever), Stage("last", 1, last)]) == [
        "stuck"
    ]
    assert done.is_set()


async def test_failing_stage_does_not_stop_the_others() -> None:
    done = asyncio.Event()

    async def broken() -> None:
        raise RuntimeError("boom")

    async def last() -> None:
        done.set()

    assert await Shutdown().run([Stage("broken", 1, broken), Stage("last", 1, last)]) == ["broken"]
    assert done.is_set()


async def test_second_request_skips_the_current_stage() -> None:
    shutdown = Shutdown()
    entered = asyncio.Event()

    async def stuck() -> None:
        entered.set()
        await forever()

    async def impatient() -> None:
        await entered.wait()
        shutdown.request("SIGTERM")

    shutdown.request("SIGTERM")
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(shutdown.run([Stage("stuck", 3600, stuck)]))
        tasks.create_task(impatient())

    assert run.result() == ["stuck"]


async def test_first_request_sets_the_event_and_keeps_its_reason() -> None:
    shutdown = Shutdown()

    shutdown.request("SIGINT")
    shutdown.request("SIGTERM")

    assert shutdown.requested.is_set()
    assert shutdown.reason == "SIGINT"
