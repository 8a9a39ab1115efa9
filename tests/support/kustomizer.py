"""Kustomizations on a test's cluster: the reconciler with everything around it, but the daemon.

::

    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.push({"deploy/app.yaml": "..."})
        await world.kustomize("apps", path="./deploy")
        done = await world.until("apps", kustomizer.applied(world.revision))
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from api import meta
from api.schema import KINDS
from devcluster import toolcache
from kube import auth, references
from kube.apply import Applier
from kube.client import Client
from kube.discovery import Discovery
from kube.informer import Informer
from kube.informers import Informers
from kube.objects import GVK, Resource
from kube.references import References
from kube.remotes import Remotes, Services
from kube.tracker import Tracker
from reconcilers.context import ClusterContext, ReconcileSettings, Tools
from reconcilers.kustomization.reconciler import KustomizationReconciler
from runtime import conditions, workqueue
from runtime.clock import SystemClock
from runtime.controller import Controller
from runtime.events import Event, EventBus
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from sources import tree as trees
from sources.storage import Owner, Storage
from tests.support import api, encrypting, reconciling, wiring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from api.kustomize import Kustomization
    from devcluster.access import Access
    from kube.objects import JsonObject

KUSTOMIZATIONS = Resource(
    GVK(meta.KUSTOMIZE_GROUP, "v1", "Kustomization"), "kustomizations", is_namespaced=True
)
REPOSITORIES = Resource(
    GVK("source.toolkit.fluxcd.io", "v1", "GitRepository"), "gitrepositories", is_namespaced=True
)


Files = Mapping[str, str | bytes]
"""The files of a source, by path."""


class MemoryTree:
    """A `sources.tree.Tree` of given files."""

    def __init__(self, files: Files) -> None:
        self._files = {
            path: text.encode() if isinstance(text, str) else text for path, text in files.items()
        }
        self._entries = [
            trees.Entry(path, trees.blob_id(self._files[path]), trees.FILE_MODE)
            for path in sorted(self._files, key=trees.walk_key)
        ]

    @property
    def id(self) -> str:
        return trees.digest(self._entries)

    def entries(self) -> list[trees.Entry]:
        return self._entries

    def read(self, path: str) -> bytes:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]

    def checkout(self, directory: Path, prefix: str = "") -> None:
        trees.write_out(self, directory, prefix)


def kustomize_program() -> Path:
    """Return the pinned kustomize, built the first time."""
    return toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"


@dataclass(slots=True)
class World:
    """A running reconciler."""

    cluster: Access
    namespace: str
    context: ClusterContext
    reconciler: KustomizationReconciler
    controller: Controller
    queue: workqueue.WorkQueue[meta.ObjectRef]
    events: list[Event] = field(default_factory=list)
    wakes: list[tuple[meta.ObjectRef, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something happened that a test may wait for."""
    revision: str = ""
    files: dict[str, str | bytes] = field(default_factory=dict)

    async def push(
        self, files: Mapping[str, str | bytes | None], name: str = "repo", *, replace: bool = False
    ) -> str:
        """Commit files (None removes one) and let the source announce the new revision."""
        if replace:
            self.files.clear()
        for path, text in files.items():
            if text is None:
                self.files.pop(path, None)
            else:
                self.files[path] = text
        tree = MemoryTree(self.files)
        sha = hashlib.sha1(tree.id.encode(), usedforsecurity=False).hexdigest()
        self.revision = f"main@sha1:{sha}"
        owner = Owner("GitRepository", self.namespace, name)
        artifact = await self.context.threads.run(
            self.context.storage.put, owner, f"{sha}.tar.gz", self.revision, tree
        )
        client = self.context.client
        if self.context.gitrepositories.get(self.namespace, name) is None:
            await self.create(
                REPOSITORIES, name, {"url": "https://example.com/r", "interval": "1h"}
            )
        body = {
            "status": {
                "artifact": {
                    "digest": artifact.digest,
                    "path": artifact.path,
                    "url": artifact.url,
                    "revision": artifact.revision,
                    "lastUpdateTime": artifact.last_update_time,
                    "size": artifact.size,
                }
            }
        }
        raw = await client.patch(
            REPOSITORIES,
            self.namespace,
            name,
            orjson.dumps(body),
            manager=meta.SOURCE_MANAGER,
            subresource="status",
        )
        self.context.gitrepositories.observe(raw)
        return self.revision

    async def create(
        self, resource: Resource, name: str, spec: Mapping[str, Any], **metadata: Any
    ) -> None:
        """Create one of our objects."""
        body = {
            "apiVersion": resource.gvk.api_version,
            "kind": resource.gvk.kind,
            "metadata": {"name": name, "namespace": self.namespace, **metadata},
            "spec": spec,
        }
        raw = await self.context.client.create(
            resource, self.namespace, orjson.dumps(body), manager="test"
        )
        if resource is KUSTOMIZATIONS:
            self.context.kustomizations.observe(raw)
        else:
            self.context.gitrepositories.observe(raw)

    async def kustomize(self, name: str, **spec: Any) -> None:
        """Create a Kustomization of the repository; prunes, at an interval of an hour."""
        defaults: dict[str, Any] = {
            "interval": "1h",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "repo"},
        }
        await self.create(KUSTOMIZATIONS, name, defaults | spec)

    async def patch(self, name: str, body: Mapping[str, Any]) -> None:
        """Merge-patch a Kustomization as a person would."""
        raw = await self.context.client.patch(
            KUSTOMIZATIONS, self.namespace, name, orjson.dumps(body), manager="kubectl-edit"
        )
        self.context.kustomizations.observe(raw)

    async def request(self, name: str, token: str) -> None:
        """Ask for a reconciliation, as the CLI does."""
        await self.patch(name, {"metadata": {"annotations": {meta.REQUESTED_AT: token}}})

    async def delete(self, name: str) -> None:
        """Delete a Kustomization."""
        await self.context.client.delete(KUSTOMIZATIONS, self.namespace, name)

    def get(self, name: str) -> Kustomization | None:
        """Return what the informer knows of a Kustomization."""
        return self.context.kustomizations.get(self.namespace, name)

    def ref(self, name: str) -> meta.ObjectRef:
        """Return a Kustomization's key."""
        return meta.ObjectRef(self.context.name, "Kustomization", self.namespace, name)

    async def until(
        self, name: str, is_reached: Callable[[Kustomization | None], bool]
    ) -> Kustomization:
        """Wait for a state of a Kustomization, and for its run to end."""
        await self.until_shown(name, is_reached)
        await self.idle(name)
        return self.get(name)  # type: ignore[return-value]  # a caller that waits for None ignores it

    async def until_shown(
        self, name: str, is_reached: Callable[[Kustomization | None], bool]
    ) -> Kustomization:
        """Wait for a state of a Kustomization, which may be in the middle of a run."""
        try:
            await self._until(lambda: is_reached(self.get(name)))
        except TimeoutError:
            item = self.get(name)
            shown = item.status.conditions if item else None
            raise AssertionError(f"not reached: {shown}") from None
        return self.get(name)  # type: ignore[return-value]  # as above

    async def _until(self, is_reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(api.WAIT_S):
            while not is_reached():
                self.news.clear()
                await self.news.wait()

    async def until_known(self, is_known: Callable[[], bool]) -> None:
        """Wait until an informer of ours knows something."""
        await self._until(is_known)

    async def idle(self, name: str) -> None:
        """Wait until a Kustomization neither waits for a run nor has one."""
        ref = self.ref(name)
        await self._until(lambda: not self.queue.is_processing(ref) and not self.queue.depth())

    async def live(self, plural: str, name: str, namespace: str = "") -> JsonObject:
        """Read a live core object."""
        kind = {"configmaps": "ConfigMap", "secrets": "Secret"}.get(plural, plural)
        resource = Resource(GVK("", "v1", kind), plural, is_namespaced=True)
        return await self.context.client.get(resource, namespace or self.namespace, name)

    async def put(
        self, kind: str, name: str, labels: Mapping[str, str] | None = None, **data: str
    ) -> None:
        """Create a ConfigMap or Secret, or replace what it holds."""
        body = {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "labels": labels or {}},
            "stringData" if kind == references.SECRET else "data": data,
        }
        await self.context.client.apply(
            references.RESOURCES[kind], orjson.dumps(body), self.namespace, name, manager="test"
        )

    async def remove(self, kind: str, name: str) -> None:
        """Delete a ConfigMap or Secret."""
        await self.context.client.delete(references.RESOURCES[kind], self.namespace, name)

    async def until_event(self, text: str) -> Event:
        """Wait for an event whose message or reason contains a text."""
        found: list[Event] = []

        def is_found() -> bool:
            found.extend(each for each in self.events if text in each.message + each.reason)
            return bool(found)

        await self._until(is_found)
        return found[0]

    async def until_woken(self, cause: str) -> None:
        """Wait until something was woken for a cause that begins so."""
        await self._until(lambda: any(each.startswith(cause) for _, each in self.wakes))

    def requests(self) -> dict[tuple[str, str], int]:
        """Return the requests sent so far, without watches and lists."""
        return {
            key: count
            for key, count in self.context.client.requests.items()
            if key[0] not in {"list", "watch"} and not key[1].startswith("/")
        }


@asynccontextmanager
async def running(
    cluster: Access,
    directory: Path,
    namespace: str,
    *,
    settings: ReconcileSettings | None = None,
    is_controlling: bool = True,
    is_labelled_only: bool = False,
) -> AsyncIterator[World]:
    """Start a reconciler for one namespace of a cluster.

    Args:
        cluster: the cluster; the CRDs are installed into it.
        directory: for builds, baselines and artifacts; give it again to restart with what was kept.
        namespace: whose objects are served.
        settings: of the cluster.
        is_controlling: whether runs start by themselves.
        is_labelled_only: whether only labelled ConfigMaps and Secrets are watched.
    """
    clock, threads, metrics = SystemClock(), Threads(), Metrics()
    connection = await auth.load(cluster.kubeconfig, None)
    async with Client(connection, cluster="test", metrics=metrics) as client:
        async with Client(connection, cluster="test") as preparing:
            await reconciling.install(preparing)
        world = await _world(
            cluster,
            directory,
            namespace,
            client,
            clock,
            threads,
            metrics,
            settings,
            is_labelled_only=is_labelled_only,
        )
        context = world.context
        tasks = [
            asyncio.create_task(context.tracker.run()),
            asyncio.create_task(context.references.run()),
            asyncio.create_task(context.remotes.run()),
            asyncio.create_task(context.kustomizations.run()),
            asyncio.create_task(context.gitrepositories.run()),
        ]
        await context.kustomizations.synced.wait()
        await context.gitrepositories.synced.wait()
        if is_controlling:
            tasks.append(asyncio.create_task(world.controller.run()))
        for item in context.kustomizations.items():
            world.controller.wake(item.ref("test"), "start", low=True)
        try:
            yield world
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await threads.aclose()
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


async def _world(
    cluster: Access,
    directory: Path,
    namespace: str,
    client: Client,
    clock: SystemClock,
    threads: Threads,
    metrics: Metrics,
    settings: ReconcileSettings | None,
    *,
    is_labelled_only: bool,
) -> World:
    discovery, rng = Discovery(client, clock), random.Random(7)
    tracker = Tracker(
        client,
        discovery,
        clock=clock,
        metrics=metrics,
        threads=threads,
        file=directory / "baselines",
        rng=rng,
    )

    async def informer(type_: Any) -> Informer[Any]:
        gvk = GVK(type_.GROUP, type_.VERSION, type_.KIND)
        resource = await discovery.resource(gvk)
        return Informer(client, resource, type_, namespace=namespace, clock=clock, rng=rng)

    bus = EventBus()
    context = ClusterContext(
        name="test",
        client=client,
        discovery=discovery,
        tracker=tracker,
        references=References(
            client,
            clock=clock,
            rng=rng,
            metrics=metrics,
            is_labelled_only=is_labelled_only,
        ),
        applier=Applier(client, discovery, tracker, clock),
        remotes=Remotes(Services(clock, rng, metrics, threads, directory / "remotes")),
        events=bus,
        clock=clock,
        metrics=metrics,
        storage=Storage(directory / "artifacts", "http://127.0.0.1", clock),
        git=None,  # type: ignore[arg-type]  # Kustomizations never fetch
        oci=None,  # type: ignore[arg-type]  # nor pull
        charts=None,  # type: ignore[arg-type]  # nor have to do with charts
        threads=threads,
        processes=Processes(metrics),
        tools=Tools(kustomize_program(), "v5.8.2", encrypting.sops_program()),
        data_dir=directory,
        informers=Informers([await informer(kind) for kind in KINDS]),
        wake=lambda _ref, _cause: None,
        settings=settings or ReconcileSettings(),
    )
    news = asyncio.Event()
    queue: workqueue.WorkQueue[meta.ObjectRef] = workqueue.WorkQueue(wiring.Finished(news))
    tracker.on_drift = lambda owner, obj, _drift: context.wake(owner, f"drift of {obj}")
    reconciler = KustomizationReconciler(context, rng)
    controller = Controller(
        reconciler,
        queue,
        cluster="test",
        concurrency=4,
        clock=clock,
        metrics=metrics,
        rng=rng,
    )
    world = World(cluster, namespace, context, reconciler, controller, queue, news=news)
    wiring.wire(world, bus)
    return world


def applied(revision: str) -> Callable[[Kustomization | None], bool]:
    """Tell a Kustomization that is Ready at a revision."""

    def is_applied(item: Kustomization | None) -> bool:
        return (
            item is not None
            and item.status.last_applied_revision == revision
            and conditions.is_true(item.status.conditions, meta.READY)
            and item.status.observed_generation == item.metadata.generation
        )

    return is_applied


def failed(reason: str, text: str = "") -> Callable[[Kustomization | None], bool]:
    """Tell a Kustomization that is not Ready for a reason."""

    def is_failed(item: Kustomization | None) -> bool:
        ready = conditions.get(item.status.conditions, meta.READY) if item else None
        return (
            ready is not None
            and (ready.status, ready.reason) == ("False", reason)
            and text in ready.message
        )

    return is_failed


def handled(token: str) -> Callable[[Kustomization | None], bool]:
    """Tell a Kustomization that has answered a request."""
    return lambda item: item is not None and item.status.last_handled_reconcile_at == token


def gone(item: Kustomization | None) -> bool:
    """Tell that there is no Kustomization any more."""
    return item is None


def ready(item: Kustomization) -> meta.Condition:
    """Return the Ready condition."""
    return condition(item, meta.READY)


def condition(item: Kustomization, type_: str) -> meta.Condition:
    """Return a condition that must be there."""
    found = conditions.get(item.status.conditions, type_)
    assert found is not None, f"no {type_}: {item.status.conditions}"
    return found


def owned(item: Kustomization) -> list[str]:
    """Return the identities in the inventory."""
    return [entry.id for entry in item.status.inventory.entries] if item.status.inventory else []


def config_map(name: str, namespace: str, **data: str) -> str:
    """Return a ConfigMap manifest as YAML."""
    lines = [f"  {key}: {orjson.dumps(value).decode()}" for key, value in data.items()]
    head = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\n"
    return head + ("data:\n" + "\n".join(lines) + "\n" if lines else "")
