"""Tells waiting code which of the objects it waits for have changed.

One subscription covers any number of objects and coalesces what happens between two reads, so
that a health wait of a thousand objects costs one wake-up for a burst of events, and no event
between two looks is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kube.objects import ObjectId


class Changes:
    """One subscription; see `Feed.subscribe`."""

    def __init__(self, ids: frozenset[ObjectId]) -> None:
        self.ids = ids
        self._seen: set[ObjectId] = set()
        self._arrived = asyncio.Event()

    def publish(self, obj: ObjectId) -> None:
        """Note a change of one of the objects."""
        self._seen.add(obj)
        self._arrived.set()

    async def wait(self) -> set[ObjectId]:
        """Return the objects that changed since the last call, as soon as there are any."""
        await self._arrived.wait()
        self._arrived.clear()
        seen, self._seen = self._seen, set()
        return seen


class Feed:
    """The changes of one cluster's owned objects."""

    def __init__(self) -> None:
        self._subscriptions: set[Changes] = set()

    def publish(self, obj: ObjectId) -> None:
        """Tell everybody who waits for an object that something happened to it."""
        for changes in self._subscriptions:
            if obj in changes.ids:
                changes.publish(obj)

    @contextlib.contextmanager
    def subscribe(self, ids: Iterable[ObjectId]) -> Iterator[Changes]:
        """Collect the changes of some objects for as long as the block lasts."""
        changes = Changes(frozenset(ids))
        self._subscriptions.add(changes)
        try:
            yield changes
        finally:
            self._subscriptions.discard(changes)
