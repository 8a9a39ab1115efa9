"""Bounded concurrency over many objects."""

from __future__ import annotations

import asyncio

import pytest

from kube import pool


async def test_no_more_than_the_limit_run_at_once_and_all_are_done() -> None:
    running = most = 0
    done: list[int] = []

    async def work(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(item)

    await pool.each(range(100), work, limit=7)
    assert sorted(done) == list(range(100))
    assert most == 7


async def test_first_failure_is_raised_as_it_is_and_ends_the_rest() -> None:
    started: list[int] = []

    async def work(item: int) -> None:
        started.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise LookupError(item)
        await asyncio.Event().wait()

    with pytest.raises(LookupError):
        await pool.each(range(100), work, limit=5)
    assert started == [0, 1, 2, 3, 4]


async def test_nothing_to_do_is_done() -> None:
    async def work(item: int) -> None:
        raise AssertionError(item)

    await pool.each([], work)
