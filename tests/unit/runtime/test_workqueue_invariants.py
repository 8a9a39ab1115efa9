"""The work queue against a model that is too simple to be wrong, under arbitrary calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import looptime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.workqueue import Work, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, TypeVar

    T = TypeVar("T")

KEYS = st.sampled_from("abcd")
CAUSES = st.sampled_from(["push", "list", "edit"])


class QueueMachine(RuleBasedStateMachine):
    """Keeps ready keys in two lists, dirty ones in a dict and due times in another."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop()
        self.queue: WorkQueue[str] = WorkQueue()
        self.now = 0
        self.high: list[str] = []
        self.low: list[str] = []
        self.dirty: dict[str, bool] = {}
        self.due: dict[str, int] = {}
        self.processing: dict[str, Work[str]] = {}
        self.superseded: set[str] = set()

    def teardown(self) -> None:
        self.settle()
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @rule(key=KEYS, cause=CAUSES, low=st.booleans())
    def add(self, key: str, cause: str, low: bool) -> None:
        async def call() -> None:
            self.queue.add(key, cause=cause, low=low)

        self.run(call())
        self.due.pop(key, None)
        self.enqueue(key, low)
        if key in self.processing and not low:
            self.superseded.add(key)

    @rule(key=KEYS, delay=st.integers(-1, 20))
    def add_after(self, key: str, delay: int) -> None:
        async def call() -> None:
            self.queue.add_after(key, delay)

        self.run(call())
        if key in self.high or key in self.low or key in self.dirty:
            return
        if delay <= 0:
            self.due.pop(key, None)
            self.enqueue(key, low=False)
        else:
            self.due[key] = min(self.due.get(key, 10**9), self.now + delay)

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.run(asyncio.sleep(seconds))
        self.now += seconds

    @rule()
    def get(self) -> None:
        work = self.run(self.get_now())
        for key in sorted(self.due, key=lambda key: self.due[key]):
            if self.due[key] <= self.now:
                del self.due[key]
                self.enqueue(key, low=False)
        lane = self.high or self.low
        if work is None:
            assert not lane
            return
        assert work.key not in self.processing, "handed out twice"
        assert work.key in lane
        lane.remove(work.key)
        self.processing[work.key] = work

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.processing)))
        self.give_back(key)

    @invariant()
    def agrees(self) -> None:
        assert self.queue.depth() == len(self.high) + len(self.low)
        assert self.queue.delayed() == len(self.due)
        assert {work.key for work in self.queue.processing()} == set(self.processing)
        assert not self.processing.keys() & {*self.high, *self.low}
        for key, work in self.processing.items():
            assert work.superseded.is_set() == (key in self.superseded)

    async def get_now(self) -> Work[str] | None:
        try:
            async with asyncio.timeout(0):
                return await self.queue.get()
        except TimeoutError:
            return None

    def enqueue(self, key: str, low: bool) -> None:
        if key in self.processing:
            self.dirty[key] = self.dirty.get(key, True) and low
        elif key in self.low and not low:
            self.low.remove(key)
            self.high.append(key)
        elif key not in self.high and key not in self.low:
            (self.low if low else self.high).append(key)

    def give_back(self, key: str) -> None:
        async def call() -> None:
            self.queue.done(self.processing.pop(key))

        self.run(call())
        self.superseded.discard(key)
        if key in self.dirty:
            (self.low if self.dirty.pop(key) else self.high).append(key)

    def settle(self) -> None:
        """Everything that was asked for comes out in the end, and then nothing more."""
        self.wait(30)
        while self.high or self.low or self.dirty or self.due or self.processing:
            for key in list(self.processing):
                self.give_back(key)
            self.get()
        self.agrees()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
