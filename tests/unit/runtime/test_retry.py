"""Leaf retries: three tries, five seconds, and only for what may pass by itself."""

from __future__ import annotations

import asyncio

import pytest

from runtime import retry

pytestmark = pytest.mark.usefixtures("virtual_time")


class Call:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: BaseException, lasting_s: float = 0) -> None:
        self.failures, self.error, self.lasting_s = failures, error, lasting_s
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        await asyncio.sleep(self.lasting_s)
        if self.tries <= self.failures:
            raise self.error
        return "answer"


def is_connection(error: BaseException) -> bool:
    return isinstance(error, ConnectionError)


async def test_failure_that_passes_is_not_seen() -> None:
    call = Call(2, ConnectionResetError())
    assert await retry.idempotent(call, on=is_connection) == "answer"
    assert call.tries == 3
    assert asyncio.get_running_loop().time() < 1


async def test_failure_that_stays_is_raised_after_three_tries() -> None:
    call = Call(9, ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError, match="gone"):
        await retry.idempotent(call, on=is_connection)
    assert call.tries == 3


async def test_other_failure_is_raised_at_once() -> None:
    call = Call(9, ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        await retry.idempotent(call, on=is_connection)
    assert call.tries == 1


async def test_no_try_starts_after_the_budget() -> None:
    call = Call(9, ConnectionResetError(), lasting_s=4.95)
    with pytest.raises(ConnectionResetError):
        await retry.idempotent(call, on=is_connection)
    assert call.tries == 1


async def test_cancellation_is_never_retried() -> None:
    call = Call(9, asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await retry.idempotent(call, on=lambda _: True)
    assert call.tries == 1


async def test_call_may_be_anything_that_gives_an_awaitable() -> None:
    call = Call(1, ConnectionError("reset"))
    assert await retry.idempotent(lambda: call(), on=is_connection) == "answer"  # noqa: PLW0108 - a plain function, unlike the call
    assert call.tries == 2
