"""Does the same thing to many objects, a few at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

CONCURRENCY = 32
"""As many requests as a client sends at once."""


async def each(
    items: Iterable[T], work: Callable[[T], Awaitable[None]], limit: int = CONCURRENCY
) -> None:
    """Call a coroutine function for every item, `limit` of them at a time, in order of starting.

    Args:
        items: what to work on; taken as workers become free.
        work: called with each item.
        limit: how many run at once.

    Raises:
        Exception: the first that `work` raised; the others are cancelled.
    """
    pending = list(items)
    if len(pending) == 1:
        await work(pending[0])
        return
    queue = iter(pending)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(min(limit, len(pending))):
                tasks.create_task(worker(), name=f"pool worker {number}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
