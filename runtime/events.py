"""What happened, for users: an event record and a bounded bus inside the process.

Publishing never waits for anybody. A subscriber that falls behind loses its oldest events, and the
loss is counted: a slow chat service must not hold up an apply, nor take the process's memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from api.meta import ObjectRef

Severity = Literal["info", "error"]

SUBSCRIBER_LIMIT = 1000
"""Events that one subscriber may leave unread; about 1 MiB."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Event:
    """One thing that happened to one object, told once."""

    involved: ObjectRef
    """The object it is about, and the cluster it lives in."""
    api_version: str
    uid: str
    resource_version: str
    severity: Severity
    """``error`` becomes a Kubernetes event of type Warning, ``info`` one of type Normal."""
    reason: str
    """PascalCase; the reason of the Ready condition at that time."""
    message: str
    """For people; holds no secret, no manifest and no URL credentials."""
    timestamp: dt.datetime
    """Aware, in UTC."""
    reporter: str
    """The component, as in Flux: ``kustomize-controller``, ``source-controller``, ..."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Annotations of the Kubernetes event: the revision, ``commit_status``, ..."""
    is_trace: bool = False
    """For the Kubernetes event alone; notifications leave it out."""
    is_quiet: bool = False
    """For notifications alone, such as a commit's status; there is no Kubernetes event of it."""


class Subscription:
    """One reader's events, oldest first: an asynchronous iterator that ends when it is closed.

    Made by `EventBus.subscribe`. As a context manager it closes itself.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._pending: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False

    def put(self, event: Event, limit: int) -> bool:
        """Append ``event``; with ``limit`` unread already, drop the oldest and return False."""
        has_room = len(self._pending) < limit
        if not has_room:
            self._pending.popleft()
        self._pending.append(event)
        self._changed.set()
        return has_room

    def close(self) -> None:
        """Receive nothing more; the iterator ends once what is pending has been read."""
        self._bus.unsubscribe(self)
        self._is_closed = True
        self._changed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._pending)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._pending:
            if self._is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._pending.popleft()


class EventBus:
    """Hands every event to every subscriber, without waiting for any.

    Args:
        on_drop: called once for each event that a subscriber loses.
        limit: events that one subscriber may leave unread.
    """

    def __init__(
        self, on_drop: Callable[[], None] = lambda: None, *, limit: int = SUBSCRIBER_LIMIT
    ) -> None:
        self._on_drop, self._limit = on_drop, limit
        self._subscriptions: list[Subscription] = []

    def publish(self, event: Event) -> None:
        """Hand ``event`` to everybody who subscribes now; never waits."""
        for subscription in self._subscriptions:
            if not subscription.put(event, self._limit):
                self._on_drop()

    def subscribe(self) -> Subscription:
        """Receive everything that is published from now until the subscription is closed."""
        subscription = Subscription(self)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription; `Subscription.close` calls this."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every subscriber's iteration once it has read what is pending; for shutdown."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
