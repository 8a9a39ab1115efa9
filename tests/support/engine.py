"""The apply engine on a test's cluster: client, tracker and applier, wired as the daemon does it.

::

    async with engine.running(cluster, tmp_path) as plant:
        changes = await plant.apply([engine.config_map(namespace, "a", {"k": "1"})])
        drift = await plant.next_drift()
"""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import orjson

from api import meta
from api.meta import ObjectRef
from kube import auth, inventory, normalise, prune
from kube.apply import Applier, ApplyOptions
from kube.client import Client
from kube.desired import Desired, describe
from kube.discovery import Discovery
from kube.objects import GVK, ObjectId, Resource
from kube.ownership import IDENTITIES, overriding
from kube.tracker import Tracker
from runtime.clock import Clock, SystemClock
from runtime.limits import Threads
from runtime.metrics import Metrics
from tests.support import api

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from devcluster.access import Access
    from kube.changes import Action, ChangeSet
    from kube.judgement import Drift
    from kube.objects import JsonObject

CONFIG_MAPS = Resource(GVK("", "v1", "ConfigMap"), "configmaps", is_namespaced=True)
OWNER = ObjectRef("test", "Kustomization", "flux-system", "apps")
AT_INTERVAL = ApplyOptions(at_interval=True)


class LaterClock(SystemClock):
    """The machine's clock, an hour fast: whatever a test wrote is old."""

    def now(self) -> dt.datetime:
        return super().now() + dt.timedelta(hours=1)


class Told(NamedTuple):
    """One report of drift."""

    owner: ObjectRef
    id: ObjectId
    drift: Drift


class Manifests:
    """The bytes of desired objects, in memory."""

    def __init__(self) -> None:
        self._bodies: dict[bytes, bytes] = {}

    def add(self, objects: Iterable[JsonObject], owner: ObjectRef = OWNER) -> list[Desired]:
        """Prepare objects as a build does and keep their bytes."""
        found = []
        for each in objects:
            obj = copy.deepcopy(each)
            labels = IDENTITIES[owner.kind].labels(owner)
            body = normalise.prepare(obj, owner_labels=labels)
            desired = describe(obj, body)
            self._bodies[desired.digest] = body
            found.append(desired)
        return found

    def read(self, desired: Desired) -> bytes:
        return self._bodies[desired.digest]


@dataclass(slots=True)
class Plant:
    """A running engine."""

    client: Client
    discovery: Discovery
    tracker: Tracker
    applier: Applier
    clock: Clock
    watcher: Client
    manifests: Manifests = field(default_factory=Manifests)
    drifts: asyncio.Queue[Told] = field(default_factory=asyncio.Queue)
    _seen: Counter[tuple[str, str]] | None = None

    async def apply(
        self,
        objects: Sequence[JsonObject],
        options: ApplyOptions | None = None,
        owner: ObjectRef = OWNER,
    ) -> ChangeSet:
        """Apply objects as a reconcile does, with the inventory written ahead."""
        desired = self.manifests.add(objects, owner)
        ahead = inventory.union(
            self.tracker.owned(owner), [(each.id, each.version) for each in desired]
        )
        self.tracker.set_inventory(owner, ahead)
        return await self.applier.apply(owner, desired, self.manifests, options or ApplyOptions())

    async def prune(self, objects: Sequence[JsonObject], owner: ObjectRef = OWNER) -> ChangeSet:
        """Prune objects as a reconcile does."""
        entries = [(ObjectId.of(each), GVK.of(each).version) for each in objects]
        with self.tracker.processing(owner):
            return await prune.prune(self.client, self.discovery, self.tracker, owner, entries)

    async def next_drift(self) -> Told:
        """Wait for the next report of drift."""
        async with asyncio.timeout(api.WAIT_S):
            return await self.drifts.get()

    async def until_seen(self, version: int, obj: ObjectId) -> None:
        """Wait until the tracker knows an object at a resourceVersion or later."""
        async with asyncio.timeout(api.WAIT_S):
            with self.tracker.feed.subscribe([obj]) as changes:
                while not (live := self.tracker.live(obj)) or live.resource_version < version:
                    await changes.wait()

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until something is so, looking whenever the tracker learns of a change."""
        ids = [obj for obj, _ in self.tracker.owned(OWNER)]
        async with asyncio.timeout(api.WAIT_S):
            with self.tracker.feed.subscribe(ids) as changes:
                while not is_so():
                    await changes.wait()

    def requests(self) -> dict[str, int]:
        """Return the requests sent since the last call, by verb, watches and discovery left out."""
        now = self.client.requests + self.watcher.requests
        new = now - self._seen if self._seen is not None else now
        self._seen = now
        counts: dict[str, int] = {}
        for (verb, plural), number in new.items():
            if not plural.startswith("/") and verb not in {"list", "watch"}:
                counts[verb] = counts.get(verb, 0) + number
        return counts


@asynccontextmanager
async def connected(cluster: Access, kubeconfig: Path | None = None) -> AsyncIterator[Client]:
    """A client with the cluster's own administrator, or another user's kubeconfig."""
    connection = await auth.load(kubeconfig or cluster.kubeconfig, None)
    async with Client(connection, cluster="test") as client:
        yield client


@asynccontextmanager
async def running(
    cluster: Access,
    *,
    file: Path | None = None,
    kubeconfig: Path | None = None,
    clock: Clock | None = None,
    overridden: Sequence[str] = (),
) -> AsyncIterator[Plant]:
    """Start an engine.

    Args:
        cluster: the cluster.
        file: the baseline file, kept between two engines that are given the same.
        kubeconfig: another user's, who watches.
        clock: another time.
        overridden: managers whose fields are taken over, see `kube.ownership.overriding`.
    """
    clock, threads = clock or SystemClock(), Threads()
    async with connected(cluster) as client, connected(cluster, kubeconfig) as watcher:
        discovery = Discovery(client, clock)
        tracker = Tracker(
            watcher,
            discovery,
            clock=clock,
            metrics=Metrics(),
            threads=threads,
            file=file,
            rng=random.Random(7),
            identities=overriding(overridden),
        )
        plant = Plant(
            client, discovery, tracker, Applier(client, discovery, tracker, clock), clock, watcher
        )
        tracker.on_drift = lambda owner, obj, drift: plant.drifts.put_nowait(
            Told(owner, obj, drift)
        )
        task = asyncio.create_task(tracker.run())
        try:
            yield plant
        finally:
            task.cancel()
            await asyncio.wait([task])
            await threads.aclose()
    if not task.cancelled() and (error := task.exception()):
        raise error


def config_map(namespace: str, name: str, data: Mapping[str, object]) -> JsonObject:
    """Return a ConfigMap manifest."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def config_maps(namespace: str, number: int, value: str = "1") -> list[JsonObject]:
    """Return many ConfigMaps, each with one value."""
    return [config_map(namespace, f"cm-{each:04}", {"key": value}) for each in range(number)]


def get(cluster: Access, kind: str, namespace: str, name: str) -> JsonObject:
    """Read a live object through kubectl."""
    text = cluster.kubectl(
        "get", kind, name, "-n", namespace, "-o", "json", "--show-managed-fields"
    )
    obj: JsonObject = orjson.loads(text)
    return obj


def id_of(obj: JsonObject) -> ObjectId:
    """Return the id of a manifest."""
    return ObjectId.of(obj)


def version_of(raw: bytes) -> int:
    """Return the resourceVersion in an answer."""
    return int(orjson.loads(raw)["metadata"]["resourceVersion"])


def entries(objects: Iterable[JsonObject]) -> list[tuple[ObjectId, str]]:
    """Return the inventory of some manifests."""
    return [(ObjectId.of(each), GVK.of(each).version) for each in objects]


def definition(group: str, kind: str) -> JsonObject:
    """Return the definition of a namespaced kind whose spec has a size."""
    plural = f"{kind.lower()}s"
    spec = {"type": "object", "properties": {"size": {"type": "integer"}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
                }
            ],
        },
    }


def annotated(obj: JsonObject, **annotations: str) -> JsonObject:
    """Give a manifest annotations ``ssa``, ``reconcile`` or ``force`` of Flux; return it."""
    keys = {"ssa": meta.SSA, "reconcile": meta.RECONCILE, "force": meta.FORCE}
    obj["metadata"]["annotations"] = {keys[key]: value for key, value in annotations.items()}
    return obj


def actions(changes: ChangeSet) -> list[Action]:
    """Return what an apply did to each object."""
    return [change.action for change in changes]


async def patch(plant: Plant, namespace: str, name: str, body: object, *, by: str) -> bytes:
    """Change a ConfigMap as another manager."""
    return await plant.client.patch(CONFIG_MAPS, namespace, name, orjson.dumps(body), manager=by)


async def data(plant: Plant, namespace: str, name: str) -> dict[str, str]:
    """Return what a live ConfigMap says."""
    live = await plant.client.get(CONFIG_MAPS, namespace, name)
    found: dict[str, str] = live.get("data", {})
    return found
