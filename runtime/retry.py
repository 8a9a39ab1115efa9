"""Retries of idempotent leaf I/O: a lost connection, a 503, a name that did not resolve just now.

This is the only retry besides the work queue's, and it is short on purpose: three tries inside five
seconds. Whatever lasts longer is reported as a `runtime.errors.TransientError` and left to the
queue, where it is visible, counted and does not hold a worker.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import tenacity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

TRIES = 3
BUDGET_S = 5.0
"""No further try starts when it would begin later than this many seconds after the first."""


async def idempotent(call: Callable[[], Awaitable[T]], *, on: Callable[[BaseException], bool]) -> T:
    """Await ``call()`` up to three times inside five seconds.

    Args:
        call: makes one try; must be safe to repeat. Its own deadline is its own affair.
        on: tells whether a failure may pass by itself. Cancellation is never retried.

    Raises:
        Exception: whatever the last try raised.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + BUDGET_S

    def is_spent(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= TRIES or loop.time() + state.upcoming_sleep > deadline

    async def attempt() -> T:  # tenacity awaits coroutine functions alone
        return await call()

    retrying = tenacity.AsyncRetrying(
        stop=is_spent,
        wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=1.0, jitter=0.1),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and on(error)),
        sleep=asyncio.sleep,
        reraise=True,
    )
    return await retrying(attempt)
