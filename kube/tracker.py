"""Feeds the books of one cluster from watches: what we own, and what happens to it.

One watch per kind and owner label carries the metadata of everything we applied, so that an edit is
known in milliseconds and "nothing happened" costs nothing. Where RBAC forbids a watch of the whole
cluster the namespaces are watched one by one; what may not be watched at all is left to the dry
runs of the interval, and `Tracker.mode` says so.

A deletion and a lost label look the same to a watch that selects by label, so whatever leaves it is
looked at with one read before anything is said about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import logging
import random
import sys
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from kube import baseline, errors, pool, watch
from kube.ledger import Ledger
from kube.objects import ObjectId, PartialObject
from kube.ownership import IDENTITIES, Identity
from runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from api.meta import ObjectRef
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.objects import Resource
    from runtime.clock import Clock
    from runtime.limits import Threads
    from runtime.metrics import Metrics

logger = logging.getLogger(__name__)

RELIST_S: Final = (1800.0, 3600.0)
"""Range of the random time after which a type is listed again, to mend what a watch missed."""
UNSERVED_S: Final = (0.5, 30.0)
"""First and longest pause before a kind that the cluster does not serve is looked for again."""
FORBIDDEN_S: Final = (5.0, 600.0)
"""Seconds between two tries of a watch that is forbidden, the first and the longest pause: rights
may be given later, and drift shall not wait for an interval then."""
SAVE_DELAY_S: Final = 5.0
"""Seconds in which changes of the baselines gather before the file is written."""
SAVE_TIMEOUT_S: Final = 5.0
REMEMBER_S: Final = 900.0
"""Seconds for which baselines of an earlier process wait for an inventory that names the object."""
CONFIRMATIONS: Final = 8
"""Reads of suspects at a time."""


class Mode(enum.StrEnum):
    """How drift of a kind is learnt."""

    WATCH = "watch"
    """One watch for the whole cluster."""
    NAMESPACE = "namespace"
    """One watch for each namespace that has an object of ours."""
    POLL = "poll"
    """No watch is allowed: a dry run of each object at the interval."""


class Scope(NamedTuple):
    """What one watch is for."""

    group: str
    kind: str
    owner_kind: str
    """Whose label selects the objects."""

    def __str__(self) -> str:
        """Return the name of the watch, in logs and status."""
        return f"{self.owner_kind} {self.kind}.{self.group}".rstrip(".")


@dataclass(slots=True)
class _Watch:
    version: str
    mode: Mode = Mode.WATCH
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    namespaces: dict[str, Mode] = field(default_factory=dict)


class Tracker(Ledger):
    """The books of one cluster and the watches that keep them.

    Args:
        client: reads and watches with the daemon's own identity.
        discovery: finds the paths of kinds.
        clock: time.
        metrics: counts restarts of watches.
        threads: where files are read and written.
        file: the baseline file; None keeps nothing over a restart.
        rng: jitters re-lists and spreads verification turns.
        identities: how each kind of owner signs.
    """

    def __init__(
        self,
        client: Client,
        discovery: Discovery,
        *,
        clock: Clock,
        metrics: Metrics,
        threads: Threads,
        file: Path | None = None,
        rng: random.Random | None = None,
        identities: Mapping[str, Identity] = IDENTITIES,
    ) -> None:
        rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        super().__init__(clock, rng=rng, identities=identities)
        self._client = client
        self._discovery = discovery
        self._metrics = metrics
        metrics.tracked_objects.labels(client.cluster).set_function(lambda: len(self._entries))
        self._threads = threads
        self._file = file
        self._watches: dict[Scope, _Watch] = {}
        self._needs: dict[ObjectRef, set[Scope]] = {}
        self._rescope = asyncio.Event()

    async def run(self) -> None:
        """Keep the books until cancelled; then save what a start can use."""
        if self._file is not None:
            self._remembered = await self._threads.run(baseline.load, self._file)
        async with Supervisor(self._clock, self._rng, self._metrics) as children:
            children.start("drift confirmation", self._confirm_forever)
            if self._file is not None:
                children.start("baseline file", self._save_forever)
            running: set[tuple[Scope, str]] = set()
            while True:
                self._rescope.clear()
                await self._adjust(children, running)
                await self._rescope.wait()

    async def synced(self, owner: ObjectRef) -> None:
        """Wait until every watch that an owner's inventory needs has listed once."""
        for scope in tuple(self._needs.get(owner, ())):
            if scope in self._watches:
                await self._watches[scope].synced.wait()

    async def wait_change(self, ids: Iterable[ObjectId]) -> set[ObjectId]:
        """Return which of some objects changed, as soon as one does.

        Code that looks and waits in turn uses `Ledger.feed` itself, which misses nothing between.
        """
        with self.feed.subscribe(ids) as changes:
            return await changes.wait()

    def mode(self, obj: ObjectId) -> Mode:
        """Return how drift of an object is learnt."""
        for scope, state in self._watches.items():
            if (scope.group, scope.kind) == (obj.group, obj.kind):
                return state.namespaces.get(obj.namespace, state.mode)
        return Mode.WATCH

    def modes(self) -> dict[Scope, Mode]:
        """Return how drift of each kind is learnt; the worst of its namespaces."""
        return {
            scope: Mode.POLL if Mode.POLL in state.namespaces.values() else state.mode
            for scope, state in self._watches.items()
        }

    def _claimed(self, owner: ObjectRef, obj: ObjectId, version: str) -> None:
        scope = Scope(obj.group, obj.kind, owner.kind)
        state = self._watches.setdefault(scope, _Watch(version))
        if scope not in self._needs.get(owner, ()):
            self._needs.setdefault(owner, set()).add(scope)
            self._rescope.set()
        elif state.mode is Mode.NAMESPACE:
            self._rescope.set()

    def _released(self, owner: ObjectRef) -> None:
        needs = {Scope(obj.group, obj.kind, owner.kind) for obj, _ in self.owned(owner)}
        if needs == self._needs.get(owner, set()):
            return
        self._rescope.set()
        if needs:
            self._needs[owner] = needs
        else:
            del self._needs[owner]

    async def _adjust(self, children: Supervisor, running: set[tuple[Scope, str]]) -> None:
        """Start the watches that are needed and stop the others."""
        needed = set().union(*self._needs.values())
        for scope in self._watches.keys() - needed:  # who claims it from now on gets a new one
            del self._watches[scope]
        wanted = {(scope, "") for scope in needed}
        for scope in needed:
            if self._watches[scope].mode is Mode.NAMESPACE:
                wanted |= {(scope, name) for name in self._namespaces(scope)}
        for scope, namespace in running - wanted:
            await children.stop(_child(scope, namespace))
            running.discard((scope, namespace))
        for scope, namespace in wanted - running:
            running.add((scope, namespace))
            follow = functools.partial(self._follow, scope, namespace, self._watches[scope])
            children.start(_child(scope, namespace), follow)

    def _namespaces(self, scope: Scope) -> set[str]:
        return {
            obj.namespace
            for owner, scopes in self._needs.items()
            if scope in scopes
            for obj, _ in self.owned(owner)
            if (obj.group, obj.kind) == (scope.group, scope.kind)
        }

    async def _follow(self, scope: Scope, namespace: str, state: _Watch) -> None:
        """Keep one watch; where it is forbidden, say what takes its place and try again later."""
        unserved_s, forbidden_s = UNSERVED_S[0], FORBIDDEN_S[0]
        while True:
            try:
                resource = await self._discovery.for_group_kind(
                    scope.group, scope.kind, state.version
                )
                await self._pump(scope, resource, namespace, state)
            except errors.NotFound:
                for obj in self.claimed(scope.group, scope.kind):
                    if (live := self.live(obj)) is not None:
                        self.suspect(obj, live.resource_version)
                state.synced.set()
            except errors.Forbidden as error:
                if self._narrow(state, namespace):
                    fields = {"watch": str(scope), "error": str(error)}
                    logger.warning("may not watch", extra=fields)
                await asyncio.sleep(forbidden_s)
                forbidden_s = min(2 * forbidden_s, FORBIDDEN_S[1])
                continue
            await asyncio.sleep(unserved_s)
            unserved_s = min(2 * unserved_s, UNSERVED_S[1])

    def _narrow(self, state: _Watch, namespace: str) -> bool:
        """Note that a watch is forbidden, and what takes its place; return whether that is news."""
        if namespace:
            is_news = namespace not in state.namespaces
            state.namespaces[namespace] = Mode.POLL
            state.synced.set()
            return is_news
        is_news = state.mode is Mode.WATCH
        state.mode = Mode.NAMESPACE
        if is_news:
            self._rescope.set()
        return is_news

    def _widen(self, state: _Watch, namespace: str) -> None:
        """Note that a watch is there; nothing has to take its place any more."""
        if namespace:
            state.namespaces.pop(namespace, None)
        elif state.mode is Mode.NAMESPACE:
            state.mode = Mode.WATCH
            state.namespaces.clear()
            self._rescope.set()
        state.synced.set()

    async def _pump(self, scope: Scope, resource: Resource, namespace: str, state: _Watch) -> None:
        """Take in what one watch tells, until it is refused."""
        selection = watch.Selection(
            namespace=namespace,
            label_selector=IDENTITIES[scope.owner_kind].name_label,
            metadata_only=True,
            relist_every_s=RELIST_S,
        )
        changes = watch.watch(
            self._client, resource, PartialObject, selection, clock=self._clock, rng=self._rng
        )
        async with aclosing(changes):
            async for change in changes:
                self._count(change)
                self._take(scope, namespace, change)
                if isinstance(change, watch.Synced):
                    self._widen(state, namespace)

    def _count(self, change: watch.Change[PartialObject]) -> None:
        cluster = self._client.cluster
        match change:
            case watch.Added() | watch.Modified() | watch.Deleted():
                self._metrics.watch_events.labels(type(change).__name__.lower(), cluster).inc()
            case watch.Interrupted(error):
                reason = "expired" if isinstance(error, errors.Gone) else "lost"
                self._metrics.watch_restarts.labels(reason, cluster).inc()
            case _:
                pass

    def _take(self, scope: Scope, namespace: str, change: watch.Change[PartialObject]) -> None:
        match change:
            case watch.Listed(items):
                for item in items:
                    self.observe(_id(scope, item), item.metadata, scope.owner_kind)
            case watch.Added(item) | watch.Modified(item):
                self.observe(_id(scope, item), item.metadata, scope.owner_kind)
            case watch.Deleted(item):
                self.suspect(_id(scope, item), watch.version(item))
            case watch.Synced(version, keys):
                self._miss(scope, namespace, version, keys)
            case _:
                pass

    def _miss(
        self, scope: Scope, namespace: str, version: int, keys: frozenset[tuple[str, str]]
    ) -> None:
        """Note what a complete list does not have."""
        for obj in self.claimed(scope.group, scope.kind):
            is_covered = not namespace or obj.namespace == namespace
            is_ours = any(owner.kind == scope.owner_kind for owner in self.owners(obj))
            if is_covered and is_ours and (obj.namespace, obj.name) not in keys:
                self.miss(obj, version)

    async def _confirm_forever(self) -> None:
        """Look at all suspects; what cannot be looked at does not keep the others waiting."""
        while True:
            self.suspected.clear()
            failures: list[errors.ApiError] = []
            look = functools.partial(self._try_to_confirm, failures)
            await pool.each(self.suspects(), look, CONFIRMATIONS)
            if failures:
                raise failures[0]
            await self.suspected.wait()

    async def _try_to_confirm(
        self, failures: list[errors.ApiError], suspect: tuple[ObjectId, int]
    ) -> None:
        try:
            await self._confirm(suspect)
        except errors.ApiError as error:
            failures.append(error)

    async def _confirm(self, suspect: tuple[ObjectId, int]) -> None:
        """Look at an object that left its watch."""
        obj, version = suspect
        try:
            resource = await self._discovery.for_group_kind(obj.group, obj.kind)
            client = self._client.managing()
            metadata = await client.metadata(resource, obj.namespace, obj.name)
        except errors.NotFound:
            self.vanished(obj, version)
        else:
            for owner in self.owners(obj):
                self.observe(obj, metadata, owner.kind)
            self.acquit(obj, version)

    async def _save_forever(self) -> None:
        started = self._clock.monotonic()
        try:
            while True:
                await self.changed.wait()
                await asyncio.sleep(SAVE_DELAY_S)
                if self._clock.monotonic() - started > REMEMBER_S:
                    self._remembered.clear()
                await self._save()
        finally:
            if self.changed.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SAVE_TIMEOUT_S):
                        await self._save()

    async def _save(self) -> None:
        if self._file is None:
            return
        self.changed.clear()
        try:
            await self._threads.run(baseline.save, self._file, list(self.pairs()))
        except OSError:
            self.changed.set()  # a full disk may have room at the next try
            raise


def _id(scope: Scope, item: PartialObject) -> ObjectId:
    namespace = sys.intern(item.metadata.namespace)
    return ObjectId(namespace, item.metadata.name, scope.group, scope.kind)


def _child(scope: Scope, namespace: str) -> str:
    return f"watch {scope} in {namespace}" if namespace else f"watch {scope}"
