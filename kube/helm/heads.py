"""Which revisions the releases of a cluster have, followed by one metadata watch.

A release that nobody touched costs no request: its newest Secret is the one that was read last. A
change behind the daemon's back, by ``helm`` or by another controller, is told at once.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from kube import references, watch
from kube.objects import PartialObject

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from api import meta
    from kube.client import Client
    from runtime.clock import Clock

SELECTOR: Final = "owner=helm"
SECRETS: Final = references.RESOURCES[references.SECRET]


class Head(NamedTuple):
    """What the metadata of a record's Secret tells."""

    version: int
    status: str
    """By its label: as good as the one in the record."""
    uid: str
    resource_version: str


_Key: TypeAlias = tuple[str, str]
"""Namespace of the records and name of the release."""


class Heads:
    """The revisions of every release in a cluster.

    Args:
        client: watches with the daemon's own identity.
        clock: time.
        rng: spreads relists and pauses.
    """

    def __init__(self, client: Client, *, clock: Clock, rng: random.Random) -> None:
        self._client, self._clock, self._rng = client, clock, rng
        self._known: dict[_Key, dict[int, Head]] = {}
        self._expected: Counter[tuple[_Key, int]] = Counter()
        self._is_synced = False
        self.on_change: Callable[[str, str], None] = _nobody
        """Called with namespace and name when a record was written or deleted, unless by `note`."""

    def of(self, namespace: str, name: str) -> tuple[Head, ...] | None:
        """Return the revisions of a release, oldest first; None while they are not followed."""
        if not self._is_synced:
            return None
        return tuple(sorted(self._known.get((namespace, name), {}).values()))

    @contextlib.contextmanager
    def expecting(self, namespace: str, name: str, version: int) -> Iterator[None]:
        """Tell nobody of a revision meanwhile: the watch may hear of our write before we do."""
        expected = ((namespace, name), version)
        self._expected[expected] += 1
        try:
            yield
        finally:
            self._expected -= Counter([expected])

    def note(self, namespace: str, name: str, head: Head) -> None:
        """Take in what we have just written, unless the watch knows of something newer."""
        revisions = self._known.setdefault((namespace, name), {})
        known = revisions.get(head.version)
        if known is not None and _age(known) > _age(head):
            self._tell((namespace, name))
        else:
            revisions[head.version] = head

    def forget(self, namespace: str, name: str, version: int) -> None:
        """Take in that we have just deleted a revision."""
        revisions = self._known.get((namespace, name), {})
        revisions.pop(version, None)
        if not revisions:
            self._known.pop((namespace, name), None)

    async def run(self) -> None:
        """Follow the records until cancelled.

        Raises:
            Forbidden: RBAC does not let the daemon watch Secrets; records are then listed.
        """
        selection = watch.Selection(
            label_selector=SELECTOR, metadata_only=True, relist_every_s=references.RELIST_S
        )
        changes = watch.watch(
            self._client, SECRETS, PartialObject, selection, clock=self._clock, rng=self._rng
        )
        with contextlib.ExitStack() as stack:
            stack.callback(self._lose)
            async with aclosing(changes):
                async for change in changes:
                    self._take(change)

    def _take(self, change: watch.Change[PartialObject]) -> None:
        match change:
            case watch.Listed(items):
                for item in items:
                    self._put(item)
            case watch.Added(item) | watch.Modified(item):
                self._put(item)
            case watch.Deleted(item):
                self._remove(item)
            case watch.Synced(version, keys):
                self._finish_list(version, keys)
            case _:
                pass

    def _put(self, item: PartialObject) -> None:
        head, key = of(item.metadata), _key(item)
        if head is None:
            return
        known = self._known.setdefault(key, {}).get(head.version)
        if known is not None and known.uid == head.uid and _age(known) >= _age(head):
            return
        self._known[key][head.version] = head
        if not self._expected[key, head.version]:
            self._tell(key)

    def _remove(self, item: PartialObject) -> None:
        head, key = of(item.metadata), _key(item)
        known = self._known.get(key, {}).get(head.version) if head else None
        if head is None or known is None or known.uid != head.uid:
            return
        self.forget(*key, head.version)
        if not self._expected[key, head.version]:
            self._tell(key)

    def _finish_list(self, version: int, names: frozenset[tuple[str, str]]) -> None:
        """Drop what a complete list does not have, but for what was written since."""
        for key, revisions in tuple(self._known.items()):
            namespace, release = key
            gone = [
                head
                for head in revisions.values()
                if (namespace, f"sh.helm.release.v1.{release}.v{head.version}") not in names
                and _age(head) <= version
            ]
            for head in gone:
                self.forget(namespace, release, head.version)
            if gone:
                self._tell(key)
        self._is_synced = True

    def _tell(self, key: _Key) -> None:
        if self._is_synced:
            self.on_change(*key)

    def _lose(self) -> None:
        self._is_synced = False
        self._known.clear()


def of(metadata: meta.ObjectMeta) -> Head | None:
    """Return what the metadata of a Secret tells; None where it is no record of a release."""
    version = metadata.labels.get("version", "")
    if not version.isdecimal() or not metadata.labels.get("name"):
        return None
    status = metadata.labels.get("status", "")
    return Head(int(version), status, metadata.uid, metadata.resource_version)


def _key(item: PartialObject) -> _Key:
    return item.metadata.namespace, item.metadata.labels.get("name", "")


def _age(head: Head) -> int:
    return int(head.resource_version or 0)


def _nobody(namespace: str, name: str) -> None:
    """Stand in for the queues until there are any."""
    del namespace, name
