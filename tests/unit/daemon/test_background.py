from __future__ import annotations

import asyncio
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from daemon import background, memory

pytestmark = pytest.mark.blocking("reading one line of /proc takes microseconds")


async def test_watchdog_is_fed_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="wd") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        address = str(Path(folder) / "notify")
        manager.bind(address)
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            feeder = tasks.create_task(background.feed_watchdog())
            async with asyncio.timeout(30):
                fed = [await loop.sock_recv(manager, 50) for _ in range(3)]
            feeder.cancel()

    assert fed == [b"WATCHDOG=1"] * 3


async def test_watchdog_that_nobody_wants_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)

    async with asyncio.timeout(30):
        await background.feed_watchdog()


async def test_memory_is_given_back_only_when_idle_and_only_after_growth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, sizes, idle = [], iter([100, 100, 90, 91, 200, 95, 96]), iter([False, True, True])
    enough = asyncio.Event()

    def resident() -> int:
        try:
            return next(sizes) * 2**20
        except StopIteration:
            enough.set()
            return 0

    monkeypatch.setattr(background, "LOOK_S", 0.0)
    monkeypatch.setattr(memory, "resident_bytes", resident)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(True))
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(background.keep_small(lambda: next(idle)))
        async with asyncio.timeout(30):
            await enough.wait()
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper

    assert len(given) == 2
