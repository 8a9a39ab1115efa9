"""Watches the ConfigMaps and Secrets that somebody refers to, and wakes whoever does.

One metadata watch per namespace and kind, open for as long as something there is referred to. What
is kept of an object is its uid and its resourceVersion, never its content.

An owner tells which version it read (`References.note`), and is woken when another one is known:
also where the change came between its read and the first list, and only once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from api import meta
from kube import watch
from kube.objects import GVK, ObjectId, PartialObject, Resource
from runtime.supervisor import Supervisor

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from api.meta import ObjectRef
    from kube.client import Client
    from runtime.clock import Clock
    from runtime.metrics import Metrics

logger = logging.getLogger(__name__)

SECRET: Final = "Secret"  # noqa: S105 - a kind
CONFIG_MAP: Final = "ConfigMap"
RESOURCES: Final = {
    SECRET: Resource(GVK("", "v1", SECRET), "secrets", is_namespaced=True),
    CONFIG_MAP: Resource(GVK("", "v1", CONFIG_MAP), "configmaps", is_namespaced=True),
}
"""How each kind is served, by kind."""
RELIST_S: Final = (1800.0, 3600.0)
"""Range of the random time after which a watch lists again, to mend what it missed."""

Version: TypeAlias = tuple[str, str]
"""A uid and a resourceVersion: changes whenever the object does."""
ABSENT: Final[Version] = ("", "")
"""The version of an object that does not exist."""


class _Scope(NamedTuple):
    """What one watch is for."""

    namespace: str
    kind: str

    def __str__(self) -> str:
        return f"references to {self.kind} in {self.namespace}"


@dataclass(slots=True)
class _Watch:
    versions: dict[str, Version] = field(default_factory=dict)
    is_synced: bool = False


class References:
    """Who refers to what in one cluster, and the watches that follow it.

    Args:
        client: reads with the daemon's own identity.
        clock: time.
        rng: spreads relists and pauses.
        metrics: counts restarts of watches.
        is_labelled_only: watch only what carries Flux's label ``reconcile.fluxcd.io/watch``.
    """

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
        is_labelled_only: bool = False,
    ) -> None:
        self._client, self._clock, self._rng, self._metrics = client, clock, rng, metrics
        self._selector = f"{meta.WATCH_LABEL}=Enabled" if is_labelled_only else ""
        self._targets: dict[ObjectRef, frozenset[ObjectId]] = {}
        self._owners: dict[ObjectId, set[ObjectRef]] = {}
        self._read: dict[ObjectRef, dict[ObjectId, Version]] = {}
        self._woken: dict[tuple[ObjectRef, ObjectId], Version] = {}
        self._outdated: dict[tuple[ObjectRef, ObjectId], Version] = {}
        self._watches: dict[_Scope, _Watch] = {}
        self._rescope = asyncio.Event()
        self.wake: Callable[[ObjectRef, str], None] = _nobody
        """Called with an owner and the name of what changed."""

    # Who refers to what ---------------------------------------------------------------------

    def refer(self, owner: ObjectRef, targets: Iterable[ObjectId]) -> None:
        """Record everything that an owner refers to, in place of what it referred to before."""
        new, old = frozenset(targets), self._targets.get(owner, frozenset())
        if new == old:
            return
        for target in old - new:
            self._owners[target].discard(owner)
            self._read.get(owner, {}).pop(target, None)
            self._catch_up(owner, target)
            if not self._owners[target]:
                del self._owners[target]
        for target in new - old:
            self._owners.setdefault(target, set()).add(owner)
        if new:
            self._targets[owner] = new
        else:
            self._targets.pop(owner, None)
            self._read.pop(owner, None)
        self._rescope.set()

    def drop(self, owner: ObjectRef) -> None:
        """Forget an owner."""
        self.refer(owner, ())

    def note(self, owner: ObjectRef, target: ObjectId, version: Version) -> None:
        """Record which version an owner read; it is woken at once where a newer one is known.

        Of two objects of one name nobody can tell which is newer. An owner that was woken for one,
        has read since, and found the other again knows more than a watch that lags behind.
        """
        if owner not in self._owners.get(target, ()):
            return
        self._read.setdefault(owner, {})[target] = version
        known = self._version(target)
        if known is None or not _is_news(known, version):
            self._catch_up(owner, target)
        elif self._woken.get((owner, target)) == known:
            self._outdated[owner, target] = known
        else:
            self._woken[owner, target] = known
            self.wake(owner, str(target))

    # What is known --------------------------------------------------------------------------

    def seen(self, owner: ObjectRef) -> tuple[tuple[ObjectId, Version], ...]:
        """Return the versions that an owner read last, in a fixed order."""
        return tuple(sorted(self._read.get(owner, {}).items()))

    def news(
        self, owner: ObjectRef, matters: Callable[[ObjectId], bool] | None = None
    ) -> ObjectId | None:
        """Return something of which a newer version is known than the owner read, if there is.

        Args:
            owner: who read it.
            matters: tells what counts; None for everything.
        """
        for target, version in self.seen(owner):
            is_asked, known = matters is None or matters(target), self._version(target)
            is_current = self._outdated.get((owner, target)) != known
            if is_asked and is_current and _is_news(known, version):
                return target
        return None

    def is_complete(self, owner: ObjectRef) -> bool:
        """Tell whether a change of anything the owner refers to would be known."""
        return all(self._version(each) is not None for each in self._targets.get(owner, ()))

    def _version(self, target: ObjectId) -> Version | None:
        """Return the version of an object as watched; None where nothing is known of it."""
        found = self._watches.get(_Scope(target.namespace, target.kind))
        if found is None or not found.is_synced:
            return None
        return found.versions.get(target.name, None if self._selector else ABSENT)

    # Watches --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the watches that are needed, and no other, until cancelled."""
        async with Supervisor(self._clock, self._rng, self._metrics) as children:
            while True:
                self._rescope.clear()
                await self._adjust(children)
                await self._rescope.wait()

    async def _adjust(self, children: Supervisor) -> None:
        needed = {_Scope(target.namespace, target.kind) for target in self._owners}
        for scope in self._watches.keys() - needed:
            del self._watches[scope]
            await children.stop(str(scope))
        for scope in needed - self._watches.keys():
            self._watches[scope] = _Watch()
            children.start(str(scope), partial(self._follow, scope, self._watches[scope]))

    async def _follow(self, scope: _Scope, found: _Watch) -> None:
        """Follow one kind in one namespace.

        Raises:
            Forbidden: RBAC does not let the daemon watch here; owners then read at each run.
        """
        selection = watch.Selection(
            namespace=scope.namespace,
            label_selector=self._selector,
            metadata_only=True,
            relist_every_s=RELIST_S,
        )
        changes = watch.watch(
            self._client,
            RESOURCES[scope.kind],
            PartialObject,
            selection,
            clock=self._clock,
            rng=self._rng,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, found, "is_synced", False)
            async with aclosing(changes):
                async for change in changes:
                    self._take(scope, found, change)

    def _take(self, scope: _Scope, found: _Watch, change: watch.Change[PartialObject]) -> None:
        match change:
            case watch.Listed(items):
                for item in items:
                    self._put(scope, found, item)
            case watch.Added(item) | watch.Modified(item):
                self._put(scope, found, item)
            case watch.Deleted(item):
                found.versions.pop(item.metadata.name, None)
                self._tell(ObjectId(scope.namespace, item.metadata.name, "", scope.kind))
            case watch.Synced(_, keys):
                self._finish_list(scope, found, {name for _, name in keys})
            case _:
                pass

    def _put(self, scope: _Scope, found: _Watch, item: PartialObject) -> None:
        name, version = item.metadata.name, (item.metadata.uid, item.metadata.resource_version)
        if found.versions.get(name) == version:
            return
        found.versions[name] = version
        if found.is_synced:
            self._tell(ObjectId(scope.namespace, name, "", scope.kind))

    def _finish_list(self, scope: _Scope, found: _Watch, names: set[str]) -> None:
        """Judge what owners have read by a complete list; who has read nothing yet will."""
        for gone in found.versions.keys() - names:
            del found.versions[gone]
        found.is_synced = True
        for target in tuple(self._owners):
            if _Scope(target.namespace, target.kind) == scope:
                for owner in tuple(self._owners[target]):
                    read = self._read.get(owner, {}).get(target)
                    if read is not None and _is_news(self._version(target), read):
                        self.wake(owner, str(target))

    def _catch_up(self, owner: ObjectRef, target: ObjectId) -> None:
        """Forget how far the watch lagged behind an owner."""
        self._woken.pop((owner, target), None)
        self._outdated.pop((owner, target), None)

    def _tell(self, target: ObjectId) -> None:
        """Wake those who refer to something that changed, unless it is the version they read."""
        for owner in tuple(self._owners.get(target, ())):
            self._catch_up(owner, target)
            read, version = self._read.get(owner, {}).get(target), self._version(target)
            if read is None or version is None or _is_news(version, read):
                self.wake(owner, str(target))


def _is_news(known: Version | None, read: Version) -> bool:
    """Whether what is known is newer than what was read; a watch may lag behind a read."""
    if known is None or known == read:
        return False
    return known[0] != read[0] or int(known[1]) > int(read[1])


def _nobody(owner: ObjectRef, cause: str) -> None:
    """Stand in for the queues until there are any."""
    del owner, cause
