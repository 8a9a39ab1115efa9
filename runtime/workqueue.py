"""A keyed, de-duplicating, delaying work queue: the one place where order is decided.

Invariants, whatever the order of calls:

- A key is ready at most once and is being processed at most once, never by two workers.
- A key that is added while it is being processed is handed out once more after `WorkQueue.done`.
- Of several due times of a key the earliest wins; handing a key out clears its due time, because
  the run that follows reads the world anew and says itself when it wants to run again.
- What a person or a push caused is handed out before what an initial list caused.

Nothing but keys passes through, so waking a key twice costs nothing. An idle key with a due time
costs a heap entry and a dict entry; there is no task, lock or queue per key.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable

K = TypeVar("K", bound="Hashable")

BASE_DELAY_S = 0.75
"""The first delay of a failing key, as in Flux (``--min-retry-delay``)."""
MAX_DELAY_S = 900.0
"""The longest delay of a failing key, as in Flux (``--max-retry-delay``)."""

_SLACK = 64
"""Void heap entries that are not worth a rebuild."""


class QueueObserver(Protocol):
    """Hears what happens in a queue, to count it. Must not block or raise."""

    def added(self) -> None:
        """A key became ready, or dirty while being processed."""
        ...

    def started(self, waited_s: float) -> None:
        """A key was handed out that had been ready for ``waited_s`` seconds."""
        ...

    def finished(self, took_s: float) -> None:
        """A key was given back after ``took_s`` seconds."""
        ...


class _Unobserved:
    """The observer of a queue that nobody measures."""

    def added(self) -> None:
        """Count nothing."""

    def started(self, waited_s: float) -> None:
        """Count nothing."""

    def finished(self, took_s: float) -> None:
        """Count nothing."""


class RateLimiter(Generic[K]):
    """Per-key exponential delay between failures, jittered and capped.

    Args:
        rng: the source of jitter (20 % either way).
        base_s: seconds after the first failure.
        cap_s: the longest delay in seconds, before jitter.
    """

    def __init__(
        self, rng: random.Random, *, base_s: float = BASE_DELAY_S, cap_s: float = MAX_DELAY_S
    ) -> None:
        self._rng, self._base_s, self._cap_s = rng, base_s, cap_s
        self._failures: dict[K, int] = {}

    def when(self, key: K) -> float:
        """Count one more failure of ``key`` and return the seconds until its next try."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = self._base_s * 2.0 ** min(failures, 40)
        return min(self._cap_s, delay_s) * self._rng.uniform(0.8, 1.2)

    def forget(self, key: K) -> None:
        """Start ``key`` afresh."""
        self._failures.pop(key, None)


@dataclass(slots=True, eq=False)
class Work(Generic[K]):
    """One processing of one key, from `WorkQueue.get` to `WorkQueue.done`."""

    key: K
    cause: str
    """What woke the key, for people: ``GitRepository/flux-system/apps``, ``interval``, ..."""
    loop: asyncio.AbstractEventLoop
    started: float = field(init=False)
    """When it was handed out, in the event loop's time."""
    superseded: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the key is added again while it is being processed, but not with ``low``."""
    superseded_by: str = ""
    """The cause of the first such add."""

    def __post_init__(self) -> None:
        self.started = self.loop.time()

    def running_s(self) -> float:
        """Return for how many seconds it has run; may be called from any thread."""
        return self.loop.time() - self.started


class _Ready:
    """Why and since when a key is ready or dirty."""

    __slots__ = ("cause", "low", "since")

    def __init__(self, cause: str, since: float, *, low: bool) -> None:
        self.cause, self.since, self.low = cause, since, low


class WorkQueue(Generic[K]):
    """The queue; see the module's docstring for its invariants.

    Must be used from one event loop, whose clock it lives by; what only measures (`depth`,
    `processing`, `unfinished_s`, `longest_running_s`) may be called from any thread.

    Args:
        observer: hears every add, start and finish; `metrics.Metrics.queue` makes one.
    """

    def __init__(self, observer: QueueObserver | None = None) -> None:
        self._observer: QueueObserver = observer or _Unobserved()
        self._high: OrderedDict[K, _Ready] = OrderedDict()
        self._low: OrderedDict[K, _Ready] = OrderedDict()
        self._dirty: dict[K, _Ready] = {}
        self._processing: dict[K, Work[K]] = {}
        self._due: dict[K, tuple[float, str]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = itertools.count()
        self._changed = asyncio.Event()

    def add(self, key: K, *, cause: str = "", low: bool = False) -> None:
        """Ask for ``key`` to be processed now.

        A key that is being processed learns of it through `Work.superseded`, unless ``low``.

        Args:
            key: what to process.
            cause: why, for people. The first cause of a pending key is kept.
            low: give way to keys that were not added so; for initial lists and re-lists. A later
                add without it promotes the key.
        """
        self._due.pop(key, None)
        work = self._processing.get(key)
        if work is None:
            self._make_ready(key, cause, low=low)
            return
        self._make_dirty(key, cause, low=low)
        if not low and not work.superseded.is_set():
            work.superseded_by = cause
            work.superseded.set()

    def add_after(self, key: K, delay_s: float, *, cause: str = "") -> None:
        """Ask for ``key`` to be processed in ``delay_s`` seconds, unless it will be sooner anyway.

        Never sets `Work.superseded`: a timer is no news. Zero or less means as soon as possible.
        """
        if self._is_pending(key):
            return
        if delay_s <= 0:
            self._fire(key, cause)
            return
        due = asyncio.get_running_loop().time() + delay_s
        if due < self._due.get(key, (math.inf, ""))[0]:
            self._due[key] = (due, cause)
            heapq.heappush(self._heap, (due, next(self._sequence), key))
            self._compact()
            if self._heap[0][0] == due:
                self._changed.set()

    async def get(self) -> Work[K]:
        """Wait for a ready key and hand it out; the caller must give it back with `done`.

        Safe to cancel: a key is handed out or stays, nothing in between.
        """
        await self.ready()
        return self.take()

    async def ready(self) -> None:
        """Wait until a key is ready, and leave it; for a consumer that needs something else too."""
        while True:
            self._fire_due()
            if self._high or self._low:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout_at(self._heap[0][0] if self._heap else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def take(self) -> Work[K]:
        """Hand out a ready key; the caller must give it back with `done`.

        Raises:
            KeyError: none is ready.
        """
        self._fire_due()
        lane = self._high or self._low
        key, ready = lane.popitem(last=False)
        loop = asyncio.get_running_loop()
        work = self._processing[key] = Work(key, ready.cause, loop)
        self._observer.started(work.started - ready.since)
        return work

    def done(self, work: Work[K]) -> None:
        """Give ``work`` back; its key is handed out again if it was added meanwhile.

        Raises:
            KeyError: the key is not being processed.
        """
        del self._processing[work.key]
        self._observer.finished(work.running_s())
        dirty = self._dirty.pop(work.key, None)
        if dirty is not None:
            self._lane(dirty)[work.key] = dirty
            self._changed.set()

    def depth(self) -> int:
        """Return how many keys are ready, without those due later and those being processed."""
        return len(self._high) + len(self._low)

    def delayed(self) -> int:
        """Return how many keys have a due time."""
        return len(self._due)

    def processing(self) -> tuple[Work[K], ...]:
        """Return what is being processed, oldest first."""
        return tuple(self._processing.values())

    def is_processing(self, key: K) -> bool:
        """Tell whether ``key`` is being processed."""
        return key in self._processing

    def longest_running_s(self) -> float:
        """Return for how many seconds the oldest processing has run; 0 when there is none."""
        works = self.processing()
        return works[0].running_s() if works else 0.0

    def unfinished_s(self) -> float:
        """Return the seconds that everything being processed has run, added up."""
        return sum(work.running_s() for work in self.processing())

    def _is_pending(self, key: K) -> bool:
        return key in self._high or key in self._low or key in self._dirty

    def _lane(self, ready: _Ready) -> OrderedDict[K, _Ready]:
        return self._low if ready.low else self._high

    def _make_ready(self, key: K, cause: str, *, low: bool) -> None:
        if key in self._high:
            return
        waiting = self._low.get(key)
        if waiting is None:
            now = asyncio.get_running_loop().time()
            ready = _Ready(cause, now, low=low)
            self._lane(ready)[key] = ready
            self._observer.added()
            self._changed.set()
        elif not low:
            del self._low[key]
            waiting.low, waiting.cause = False, cause or waiting.cause
            self._high[key] = waiting

    def _make_dirty(self, key: K, cause: str, *, low: bool) -> None:
        dirty = self._dirty.get(key)
        if dirty is None:
            self._dirty[key] = _Ready(cause, asyncio.get_running_loop().time(), low=low)
            self._observer.added()
        elif dirty.low and not low:
            dirty.low, dirty.cause = False, cause or dirty.cause

    def _fire(self, key: K, cause: str) -> None:
        """Make a key whose time has come ready or dirty, without the news that `add` brings."""
        self._due.pop(key, None)
        if key in self._processing:
            self._make_dirty(key, cause, low=False)
        else:
            self._make_ready(key, cause, low=False)

    def _compact(self) -> None:
        """Rebuild the heap when most is void: a key woken often leaves an entry every time."""
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            self._heap = [(due, next(self._sequence), key) for key, (due, _) in self._due.items()]
            heapq.heapify(self._heap)

    def _fire_due(self) -> None:
        """Fire what is due and drop heap entries that an earlier time or an add made void."""
        now = asyncio.get_running_loop().time()
        while self._heap:
            due, _, key = self._heap[0]
            entry = self._due.get(key)
            is_current = entry is not None and entry[0] == due
            if is_current and due > now:
                return
            heapq.heappop(self._heap)
            if entry is not None and is_current:
                self._fire(key, entry[1])
