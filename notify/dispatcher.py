"""Carries events from a cluster's bus to whoever tells people about them, each told once.

A reconciler says what happened every time it happens; people want to read it once. What is equal in
object, revision, reason and message within `WINDOW_S` is one piece of news, and only the first gets
through. Each sink has a queue of its own, so one that is slow or broken loses its own oldest news
and nobody else's; nothing here waits for a sink.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from runtime import events

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable
    from contextlib import AbstractContextManager

    from api.meta import ObjectRef
    from runtime.clock import Clock
    from runtime.events import Event, EventBus, Subscription

WINDOW_S: Final = 300.0
"""Seconds for which a repeat is no news; Flux's notification-controller takes as long."""
REMEMBERED: Final = 4096
"""Different events that are remembered; the oldest is forgotten first. About 1 MiB."""
REVISION_SUFFIX: Final = "/revision"
"""How the metadata key that holds the revision ends, whichever group it belongs to."""


class Sink(Protocol):
    """Tells people about events: in the cluster, in a chat, on a commit."""

    async def run(self, events: AsyncIterable[Event]) -> None:
        """Tell every event, until there are no more.

        A failure to tell one of them is the sink's own to log; what it raises ends its stream.
        """
        ...


class Dispatcher:
    """Removes repeats from one bus and feeds any number of sinks.

    Args:
        bus: where the events come from; a cluster's own, so that a flood in one cluster costs no
            other cluster anything.
        clock: measures the window.
        on_drop: called once for each event that a sink loses.
        limit: events that one sink may leave unread.
    """

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        *,
        on_drop: Callable[[], None] = lambda: None,
        limit: int = events.SUBSCRIBER_LIMIT,
    ) -> None:
        self._bus = bus
        self._news = News(clock)
        self._sinks = events.EventBus(on_drop, limit=limit)

    async def run(self) -> None:
        """Carry events until the bus closes; then every sink's stream ends, too."""
        with self._bus.subscribe() as incoming:
            async for event in incoming:
                if self._news.is_news(event):
                    self._sinks.publish(event)
        self._sinks.close()

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Receive what is news inside the ``with`` block, through a queue of one's own."""
        return self._sinks.subscribe()

    async def feed(self, sink: Sink) -> None:
        """Run a sink on a queue of its own; to be supervised, one child a sink."""
        with self.subscribe() as stream:
            await sink.run(stream)


class _Key(NamedTuple):
    """What makes two events the same piece of news."""

    involved: ObjectRef
    uid: str
    revision: str
    reason: str
    message: str


class News:
    """Remembers what was told, and when.

    Args:
        clock: measures the window.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: OrderedDict[_Key, float] = OrderedDict()

    def is_news(self, event: Event) -> bool:
        """Tell whether an event was not told within the window, and remember it as told.

        A repeat does not make the window longer: what goes on happening is told again after it.
        """
        now_s = self._clock.monotonic()
        key = _Key(event.involved, event.uid, _revision(event), event.reason, event.message)
        told_s = self._told.get(key)
        if told_s is not None and now_s - told_s < WINDOW_S:
            return False
        self._told[key] = now_s
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True


def _revision(event: Event) -> str:
    """Return the revision that an event is about, empty where it names none."""
    found = (value for key, value in event.metadata.items() if key.endswith(REVISION_SUFFIX))
    return next(found, "")
