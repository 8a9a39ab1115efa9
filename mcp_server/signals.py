"""What a signal means to the server: the end, in order, and no traceback."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as of every command."""


@contextmanager
def caught(stop: Callable[[], object]) -> Iterator[list[signal.Signals]]:
    """Call something when a signal asks for the end; the list holds the signals that came.

    Args:
        stop: begins the end. Runs in the loop.
    """
    loop = asyncio.get_running_loop()
    came: list[signal.Signals] = []

    def note(number: signal.Signals) -> None:
        came.append(number)
        stop()

    for each in _ENDING:
        loop.add_signal_handler(each, note, each)
    try:
        yield came
    finally:
        for each in _ENDING:
            loop.remove_signal_handler(each)


async def until_one(work: Coroutine[object, object, None]) -> signal.Signals | None:
    """Run something to its end, or until a signal comes; then it is cancelled, and that awaited.

    Returns:
        The signal; None where the work came to its own end.
    """
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work, name="serve")
        with caught(task.cancel) as came:
            await asyncio.wait([task])
    return came[0] if came else None


def status_of(number: signal.Signals) -> int:
    """Return the exit status after a signal: to be terminated is no failure of a server's."""
    return INTERRUPTED if number is signal.SIGINT else 0
