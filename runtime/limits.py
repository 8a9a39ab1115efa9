"""Bounds on what runs beside the event loop: threads for blocking calls, slots for processes."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from runtime import process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runtime.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=AbstractContextManager[Any])

THREADS = 4
"""Blocking calls at once; each thread costs about 1 MiB once it has done some work."""
CLOSE_S = 3.0
"""Seconds that `Threads.aclose` waits for calls that are still running."""


class Threads:
    """Runs blocking calls, a few at a time, in threads of its own.

    A call whose caller was cancelled keeps its thread until it returns, so the bound holds even
    then; a semaphore in front of ``asyncio.to_thread`` would let it be exceeded. Nothing starts
    before the first call.

    Args:
        limit: how many calls run at once; further ones wait in order.
    """

    def __init__(self, limit: int = THREADS) -> None:
        self._executor = ThreadPoolExecutor(limit, thread_name_prefix="blocking")
        self._running: set[Future[Any]] = set()

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``call(*args, **kwargs)``, run in a thread with the caller's context variables.

        Raises:
            Exception: whatever the call raises.
        """
        return await asyncio.wrap_future(self._submit(call, *args, **kwargs))

    async def open(self, call: Callable[P, C], /, *args: P.args, **kwargs: P.kwargs) -> C:
        """Return what ``call`` opens; should the caller be cancelled meanwhile, it is closed.

        Raises:
            Exception: whatever the call raises.
        """
        future = self._submit(call, *args, **kwargs)
        try:
            return await asyncio.wrap_future(future)
        except BaseException:
            future.add_done_callback(_close)
            raise

    def _submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        bound = functools.partial(contextvars.copy_context().run, call, *args, **kwargs)
        future = self._executor.submit(bound)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    async def aclose(self, timeout_s: float = CLOSE_S) -> bool:
        """Refuse further calls, drop those that wait, and wait for those that run.

        Returns:
            Whether every call ended within ``timeout_s`` seconds. A call that did not keeps its
            thread, and the interpreter waits for it at exit.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)
        running = [asyncio.wrap_future(future) for future in tuple(self._running)]
        if not running:
            return True
        ended, hanging = await asyncio.wait(running, timeout=timeout_s)
        for future in ended:
            future.cancelled() or future.exception()  # their callers have heard, or are gone
        return not hanging


def _close(opened: Future[C]) -> None:
    """Close what nobody waits for any more, if it was opened."""
    if not opened.cancelled() and opened.exception() is None:
        with opened.result():
            pass


class Processes:
    """Runs child processes, as many at once as there are CPUs.

    Args:
        metrics: counts runs by program and result, and their seconds.
        limit: how many run at once; by default the number of CPUs.
    """

    def __init__(self, metrics: Metrics, limit: int | None = None) -> None:
        self._metrics = metrics
        self._slots = asyncio.Semaphore(limit or os.cpu_count() or 1)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        input: bytes = b"",  # noqa: A002 - the name subprocess uses
        timeout_s: float,
        max_output: int = process.MAX_OUTPUT,
    ) -> process.Completed:
        """Wait for a slot, then do what `process.run` does; the deadline counts from then on."""
        async with self._slots:
            with self._metrics.child_process(os.path.basename(argv[0])):  # noqa: PTH119 - argv is text
                return await process.run(
                    argv, cwd=cwd, env=env, input=input, timeout_s=timeout_s, max_output=max_output
                )
