"""Children of the process that serve no cluster: the watchdog's feeder, the keeper of memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon import memory, notify_systemd

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 10.0
"""Seconds between two looks at the resident set."""
GROWTH_BYTES = 4 * 2**20
"""Growth since the last return of memory that makes another worth its milliseconds."""


async def feed_watchdog() -> None:
    """Tell the service manager that the loop turns, for as long as it turns."""
    interval_s = notify_systemd.watchdog_interval_s()
    while interval_s is not None:
        notify_systemd.send("WATCHDOG=1")
        await asyncio.sleep(interval_s)


async def keep_small(is_idle: Callable[[], bool]) -> None:
    """Give memory back after bursts of work, when nothing is left to do.

    Args:
        is_idle: tells whether nothing waits and nothing runs.
    """
    settled = 0
    while True:
        await asyncio.sleep(LOOK_S)
        if memory.resident_bytes() > settled + GROWTH_BYTES and is_idle():
            memory.give_back()
            settled = memory.resident_bytes()
