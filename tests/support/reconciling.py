"""Reconcilers on a test's cluster, without the daemon around them: informers that run, and a desk.

::

    async with reconciling.running(cluster, tmp_path) as desk:
        await desk.create(manifest)
        await desk.reconcile(ReceiverReconciler(desk.context), namespace, "hook")
        obj = await desk.live(Receiver, namespace, "hook")

A reconcile starts once the informers have caught up with the API server, so a test never races
with a watch.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from api import crds as definitions
from api.meta import ObjectRef
from api.schema import KINDS
from kube import crds, manifests
from kube.apply import Applier
from kube.discovery import Discovery
from kube.informer import Informer
from kube.informers import Informers
from kube.objects import GVK, Resource
from kube.references import References
from kube.remotes import Remotes, Services
from kube.tracker import Tracker
from reconcilers.context import ClusterContext, ReconcileSettings, Tools
from runtime.clock import SystemClock
from runtime.controller import Run
from runtime.events import EventBus
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from runtime.workqueue import Work
from sources.git import GitFetcher
from sources.helm.repositories import Repositories
from sources.oci.client import Registries
from sources.storage import Storage
from tests.support import api, engine

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from api.meta import CustomObject
    from devcluster.access import Access
    from kube.client import Client
    from runtime.controller import Result
    from runtime.events import Event

CLUSTER = "test"


class Reconciler(Protocol):
    """What a desk can run."""

    kind: str

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result: ...


class SteppingClock(SystemClock):
    """The machine's clock, which a test can put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    def now(self) -> dt.datetime:
        return super().now()


@dataclass
class Desk:
    """A cluster's context and what a test does with it."""

    cluster: Access
    context: ClusterContext
    clock: SteppingClock
    events: list[Event] = field(default_factory=list)
    """What was published so far."""

    async def create(self, manifest: dict[str, Any]) -> None:
        """Create or change an object as a user would, by a server-side apply."""
        metadata = manifest["metadata"]
        await self.context.client.apply(
            await self.context.discovery.resource(GVK.of(manifest)),
            orjson.dumps(manifest),
            metadata.get("namespace", ""),
            metadata["name"],
            manager="kubectl",
        )

    async def patch(
        self,
        kind: type[CustomObject],
        namespace: str,
        name: str,
        change: dict[str, Any],
        *,
        subresource: str = "",
    ) -> None:
        """Change an object by a merge patch, as somebody who is none of the managers we know."""
        await self.context.client.patch(
            resource_of(kind),
            namespace,
            name,
            orjson.dumps(change),
            manager="somebody",
            subresource=subresource,
        )

    async def delete(self, kind: type[CustomObject], namespace: str, name: str) -> None:
        """Ask for the deletion of an object."""
        await self.context.client.delete(resource_of(kind), namespace, name)

    async def live(self, kind: type[CustomObject], namespace: str, name: str) -> dict[str, Any]:
        """Read an object."""
        return await self.context.client.get(resource_of(kind), namespace, name)

    async def names(self, namespace: str, *kinds: type[CustomObject]) -> list[str]:
        """Return ``Kind/name`` of every object of some kinds in a namespace."""
        return [
            f"{kind.KIND}/{item['metadata']['name']}"
            for kind in kinds
            for item in await self._list(kind, namespace)
        ]

    async def conditions(
        self, kind: type[CustomObject], namespace: str, name: str
    ) -> dict[str, tuple[str, str, str]]:
        """Return (status, reason, message) of each condition of an object."""
        status = (await self.live(kind, namespace, name)).get("status", {})
        return {
            each["type"]: (each["status"], each["reason"], each["message"])
            for each in status.get("conditions", [])
        }

    async def reconcile(self, reconciler: Reconciler, namespace: str, name: str) -> Result:
        """Run one reconcile on an informer that knows all there is."""
        await self.caught_up()
        ref = ObjectRef(CLUSTER, reconciler.kind, namespace, name)
        work = Work(key=ref, cause="test", loop=asyncio.get_running_loop())
        try:
            return await reconciler.reconcile(ref, Run(work, asyncio.Semaphore(0)))
        finally:
            for _ in range(3):  # turns of the loop, in which the last events arrive
                await asyncio.sleep(0)

    async def caught_up(self) -> None:
        """Wait until every informer shows what the API server shows."""
        for informer, kind in zip(self.context.informers, KINDS, strict=True):
            wanted = {
                (item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"][
                    "resourceVersion"
                ]
                for item in await self._list(kind)
            }
            await _until(informer, partial(_shows, informer, wanted))

    async def _list(self, kind: type[CustomObject], namespace: str = "") -> list[dict[str, Any]]:
        pages = self.context.client.list_pages(resource_of(kind), namespace=namespace)
        return [item async for page in pages for item in orjson.loads(page)["items"]]

    @contextmanager
    def counting(self) -> Iterator[dict[str, int]]:
        """Count the requests inside the block, by verb; complete when the block has ended."""
        before = self.context.client.requests.copy()
        counts: dict[str, int] = {}
        yield counts
        for (verb, _), number in (self.context.client.requests - before).items():
            if verb not in {"list", "watch"}:
                counts[verb] = counts.get(verb, 0) + number


async def install(client: Client) -> None:
    """Install the CRDs."""
    await crds.install(client, await asyncio.to_thread(_definitions))


def prepare(cluster: Access) -> None:
    """Install the CRDs into a cluster, for tests that speak to it from outside."""

    async def connect_and_install() -> None:
        async with engine.connected(cluster) as client:
            await install(client)

    asyncio.run(connect_and_install())


@cache
def _definitions() -> list[dict[str, Any]]:
    return [manifests.load(text) for text in definitions.load()]


@asynccontextmanager
async def running(
    cluster: Access, directory: Path, settings: ReconcileSettings | None = None
) -> AsyncIterator[Desk]:
    """Install the CRDs and run the informers of one cluster."""
    clock, metrics, threads = SteppingClock(), Metrics(), Threads()
    async with engine.connected(cluster) as client:
        await install(client)
        discovery, processes = Discovery(client, clock), Processes(metrics)
        tracker = Tracker(client, discovery, clock=clock, metrics=metrics, threads=threads)
        context = ClusterContext(
            name=CLUSTER,
            client=client,
            discovery=discovery,
            tracker=tracker,
            references=References(client, clock=clock, rng=random.Random(7), metrics=metrics),
            applier=Applier(client, discovery, tracker, clock),
            remotes=Remotes(
                Services(clock, random.Random(7), metrics, threads, directory / "remotes")
            ),
            events=EventBus(),
            clock=clock,
            metrics=metrics,
            storage=Storage(directory / "artifacts", "http://127.0.0.1:1", clock),
            git=GitFetcher(directory / "git", threads, processes, clock),
            oci=Registries(threads, clock),
            charts=Repositories(directory / "charts", threads, processes, clock),
            threads=threads,
            processes=processes,
            tools=Tools(),
            data_dir=directory,
            informers=Informers(_informer(client, kind) for kind in KINDS),
            wake=lambda _ref, _cause: None,
            settings=settings or ReconcileSettings(),
        )
        desk = Desk(cluster, context, clock)
        tasks = [asyncio.create_task(each.run()) for each in context.informers]
        tasks.append(asyncio.create_task(_listen(desk)))
        try:
            yield desk
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await context.oci.aclose()
            await context.charts.aclose()
            await threads.aclose()


def resource_of(kind: type[CustomObject]) -> Resource:
    """Return how the API server serves one of our kinds."""
    return Resource(GVK(kind.GROUP, kind.VERSION, kind.KIND), kind.PLURAL, is_namespaced=True)


def _informer(client: Client, type_: Any) -> Informer[Any]:
    return Informer(client, resource_of(type_), type_)


async def _listen(desk: Desk) -> None:
    with desk.context.events.subscribe() as events:
        async for event in events:
            desk.events.append(event)


def _shows(informer: Informer[Any], wanted: dict[tuple[str, str], str]) -> bool:
    shown = {
        (obj.metadata.namespace, obj.metadata.name): obj.metadata.resource_version
        for obj in informer.items()
    }
    return shown == wanted


async def _until(informer: Informer[Any], is_so: Callable[[], bool]) -> None:
    changed = asyncio.Event()
    end = informer.subscribe(lambda _old, _new: changed.set())
    try:
        async with asyncio.timeout(api.WAIT_S):
            await informer.synced.wait()
            while not is_so():
                changed.clear()
                await changed.wait()
    finally:
        end()
