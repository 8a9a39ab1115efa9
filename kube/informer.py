"""A typed copy of every object of one kind, kept current by a watch: Flux's kinds only.

There are hundreds of those, frozen structs of a kilobyte or two, which reconcilers read all the
time. What they apply is kept by the tracker as digests instead.

A response to our own write is put in at once (`Informer.observe`), so that a reconcile that follows
sees it before the watch tells. A state never replaces a newer one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from kube import errors, watch
from runtime.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kube.client import Client
    from kube.objects import Resource

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=watch.HasMeta)

TOMBSTONES: Final = 1000
"""Deleted objects whose resourceVersion is kept, so that a late answer does not revive them."""


class Informer(Generic[T]):
    """Every object of one kind in one cluster, or in one of its namespaces.

    Args:
        client: whose identity reads.
        resource: the kind.
        type_: what objects are decoded into.
        namespace: one namespace; empty for all.
        clock: see `watch.watch`.
        rng: see `watch.watch`.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        type_: type[T],
        *,
        namespace: str = "",
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self.resource = resource
        """The kind."""
        self.type = type_
        """What objects are decoded into."""
        self._decoder = msgspec.json.Decoder(type_)
        self._selection = watch.Selection(namespace=namespace)
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, hides nothing
        self._objects: dict[tuple[str, str], T] = {}
        self._tombstones: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._handlers: list[Callable[[T | None, T | None], None]] = []
        self.malformed: dict[tuple[str, str], str] = {}
        """What is wrong with the objects that do not decode, by (namespace, name)."""
        self.error: errors.ApiError | None = None
        """Why the watch is interrupted; None while it is open."""
        self.synced = asyncio.Event()
        """Set when the first list is complete; never cleared."""

    async def run(self) -> None:
        """Keep the copy current, without end.

        Raises:
            Forbidden: RBAC does not let this client list or watch here.
            NotFound: the kind is not, or no longer, served; what is known then is complete.
        """
        changes = watch.watch(
            self._client,
            self.resource,
            self.type,
            self._selection,
            clock=self._clock,
            rng=self._rng,
        )
        async with aclosing(changes):
            try:
                async for change in changes:
                    self._take(change)
            except errors.NotFound:
                self.synced.set()
                raise

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object, or None where there is none."""
        return self._objects.get((namespace, name))

    def items(self) -> Iterable[T]:
        """Return all objects as of now."""
        return tuple(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def observe(self, raw: bytes) -> T:
        """Put in the answer to a write of our own, unless something newer is known.

        An object to be deleted that no finalizer holds is gone with this answer, which has the
        version from before the write: nothing was stored.

        Args:
            raw: the object, JSON.

        Returns:
            The object in ``raw``.

        Raises:
            msgspec.ValidationError: it does not decode.
        """
        obj = self._decoder.decode(raw)
        if obj.metadata.deletion_timestamp and not obj.metadata.finalizers:
            self._remove(watch.key(obj), watch.version(obj))
        else:
            self._put(obj)
        return obj

    def subscribe(self, handler: Callable[[T | None, T | None], None]) -> Callable[[], None]:
        """Call a function at each change, with the states before and after.

        Before is None for a new object, after is None for one that is gone. The copy is already
        changed when the function runs; it must not block and must not raise.

        Returns:
            A function that ends the subscription.
        """
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    def _take(self, change: watch.Change[T]) -> None:
        match change:
            case watch.Listed(items):
                for obj in items:
                    self._put(obj)
            case watch.Added(obj) | watch.Modified(obj):
                self._put(obj)
            case watch.Deleted(obj):
                self._remove(watch.key(obj), watch.version(obj))
            case watch.Synced():
                self._finish_list(change)
            case watch.Malformed():
                self._put_malformed(change)
            case watch.Interrupted(error):
                self._note_connection(error)
            case watch.Resumed():
                self._note_connection(None)
            case watch.Bookmark():
                pass

    def _finish_list(self, synced: watch.Synced) -> None:
        for gone in (self._objects.keys() | self.malformed.keys()) - synced.keys:
            self._remove(gone, synced.resource_version)
        self.synced.set()

    def _note_connection(self, error: errors.ApiError | None) -> None:
        if error is not None and self.error is None:
            _log.warning("watch interrupted", extra=self._fields | {"error": error.message})
        elif error is None and self.error is not None:
            _log.info("watch resumed", extra=self._fields)
        self.error = error

    @property
    def _fields(self) -> dict[str, str]:
        return {"cluster": self._client.cluster, "kind": self.resource.gvk.kind}

    def _put(self, new: T) -> None:
        key, version = watch.key(new), watch.version(new)
        old = self._objects.get(key)
        if old is not None and watch.version(old) >= version:
            return
        if self._tombstones.get(key, 0) >= version:
            return
        self._tombstones.pop(key, None)
        self.malformed.pop(key, None)
        self._objects[key] = new
        self._tell(old, new)

    def _put_malformed(self, change: watch.Malformed) -> None:
        metadata = change.metadata
        self.malformed[metadata.namespace, metadata.name] = change.message
        _log.warning(
            "object does not decode",
            extra=self._fields
            | {"object": f"{metadata.namespace}/{metadata.name}", "error": change.message},
        )

    def _remove(self, key: tuple[str, str], version: int) -> None:
        self.malformed.pop(key, None)
        old = self._objects.get(key)
        if old is not None and watch.version(old) > version:
            return
        self._tombstones[key] = max(version, self._tombstones.get(key, 0))
        while len(self._tombstones) > TOMBSTONES:
            self._tombstones.popitem(last=False)
        if old is not None:
            del self._objects[key]
            self._tell(old, None)

    def _tell(self, old: T | None, new: T | None) -> None:
        for handler in tuple(self._handlers):
            handler(old, new)
