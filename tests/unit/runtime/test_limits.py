"""The bounds on threads and child processes, held also when callers give up."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from runtime import limits, logs, process

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.metrics import Metrics

ENV = {"PATH": os.environ["PATH"]}


async def test_call_returns_its_value_and_sees_the_callers_context() -> None:
    threads = limits.Threads()
    with logs.bind(cluster="home"):
        bound = await threads.run(logs.fields)
    assert bound == {"cluster": "home"}
    assert await threads.run(int, "ff", base=16) == 255
    assert await threads.aclose()


async def test_call_raises_what_it_raises() -> None:
    threads = limits.Threads()
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run(int, "x")
    assert await threads.aclose()


async def test_what_is_opened_for_a_caller_who_gave_up_is_closed() -> None:
    threads = limits.Threads()
    release, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    opened = io.BytesIO()

    def slow() -> io.BytesIO:
        loop.call_soon_threadsafe(begun.set)
        release.wait()
        return opened

    async with asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(threads.open(slow))
        await begun.wait()
        caller.cancel()
    assert not opened.closed
    release.set()
    assert await threads.aclose()
    assert opened.closed


async def test_what_is_opened_is_the_callers() -> None:
    threads = limits.Threads()
    with await threads.open(io.BytesIO, b"x") as opened:
        assert opened.read() == b"x"
    with pytest.raises(FileNotFoundError):
        await threads.open(open, "/nowhere")
    assert await threads.aclose()


async def test_no_more_calls_run_than_allowed_even_when_callers_give_up() -> None:
    threads = limits.Threads(2)
    release, lock = threading.Event(), threading.Lock()
    full = asyncio.Event()
    running, peak = 0, 0

    def call() -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        if running == 2:
            loop.call_soon_threadsafe(full.set)
        release.wait(10)
        with lock:
            running -= 1

    loop = asyncio.get_running_loop()
    first = [loop.create_task(threads.run(call)) for _ in range(2)]
    await full.wait()
    for task in first:
        task.cancel()
    second = [loop.create_task(threads.run(call)) for _ in range(4)]
    await asyncio.sleep(0.02)
    assert running == 2
    release.set()
    await asyncio.wait(second)
    assert peak == 2
    assert await threads.aclose()


async def test_close_drops_what_waits_and_gives_up_on_what_hangs() -> None:
    threads = limits.Threads(1)
    release = threading.Event()
    loop = asyncio.get_running_loop()
    hanging = loop.create_task(threads.run(release.wait, 10))
    waiting = loop.create_task(threads.run(int, "1"))
    await asyncio.sleep(0.02)
    assert not await threads.aclose(timeout_s=0.05)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="shutdown"):
        await threads.run(int, "1")
    release.set()
    await hanging


async def test_close_waits_for_calls_whose_callers_are_gone() -> None:
    threads = limits.Threads(1)
    begun, ended = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def call() -> None:
        loop.call_soon_threadsafe(begun.set)
        threading.Event().wait(0.05)
        ended.append(1)
        raise OSError("nobody hears this")

    task = loop.create_task(threads.run(call))
    await begun.wait()
    task.cancel()
    assert await threads.aclose()
    assert ended == [1]


async def test_processes_wait_for_a_slot(tmp_path: Path, metrics: Metrics) -> None:
    processes = limits.Processes(metrics, limit=1)
    # Each holds a directory that only one at a time can make.
    script = "mkdir held && sleep 0.05 && rmdir held"
    async with asyncio.TaskGroup() as tasks:
        runs = [
            tasks.create_task(
                processes.run(["sh", "-c", script], cwd=tmp_path, env=ENV, timeout_s=10)
            )
            for _ in range(3)
        ]
    assert [run.result().returncode for run in runs] == [0, 0, 0]
    labels = {"program": "sh", "result": "ended"}
    assert metrics.registry.get_sample_value("gitopsd_child_processes_total", labels) == 3


async def test_processes_that_fail_to_run_are_counted_apart(
    tmp_path: Path, metrics: Metrics
) -> None:
    processes = limits.Processes(metrics)
    with pytest.raises(process.ProcessNotFound):
        await processes.run([str(tmp_path / "nothing")], cwd=tmp_path, env=ENV, timeout_s=10)
    labels = {"program": "nothing", "result": "failed"}
    assert metrics.registry.get_sample_value("gitopsd_child_processes_total", labels) == 1
