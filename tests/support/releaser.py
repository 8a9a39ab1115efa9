"""HelmReleases on a test's cluster: the daemon's own engine for this kind, without a process.

::

    async with releaser.running(cluster, tmp_path, namespace) as world:
        await world.push(helmcharts.pack("demo"))
        await world.release("demo", values={"text": "hello"})
        item = await world.until("demo", releaser.ready)

The chart comes from an OCIRepository whose artifact the test itself stores; nobody pulls it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from api import meta
from api.helm import HelmRelease
from api.oci import OCIRepository
from daemon import kinds, settings, wiring
from daemon.engine import Engine
from daemon.shared import Shared
from kube import auth, errors, references
from kube.client import Client
from kube.helm.storage import ReleaseStorage
from kube.objects import GVK, Resource
from reconcilers.context import Tools
from runtime import conditions
from runtime.clock import SystemClock
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from runtime.supervisor import Supervisor
from sources.git import GitFetcher
from sources.storage import Owner
from tests.support import helmcharts, helming, kustomizer, reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from devcluster.access import Access
    from kube.objects import JsonObject
    from runtime.events import Event

CLUSTER = "test"
KIND = kinds.HELM_RELEASE
WAIT_S = 45.0
"""How long anything may take before a test fails."""
CHART = "chart"
"""The name of the OCIRepository that offers the chart unless a test says otherwise."""


@dataclass(slots=True)
class World:
    """A running engine that reconciles HelmReleases."""

    namespace: str
    engine: Engine
    helm: helmcharts.Program
    """The real helm on this cluster."""
    kubeconfig: Path
    events: list[Event] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something happened that a test may wait for."""

    @property
    def context(self) -> Any:
        """What the reconciler works with."""
        return self.engine.context

    async def push(self, archive: bytes, name: str = CHART, *, tag: str = "latest") -> str:
        """Let a source offer a chart; return its revision."""
        context, digest = self.context, hashlib.sha256(archive).hexdigest()
        revision = f"{tag}@sha256:{digest}"
        owner = Owner("OCIRepository", self.namespace, name)
        artifact = await context.threads.run(
            context.storage.put_file, owner, f"{digest}.tgz", revision, io.BytesIO(archive)
        )
        resource = reconciling.resource_of(OCIRepository)
        spec = {"url": "oci://example.com/chart", "interval": "1h"}
        await self.apply(resource, name, spec)
        status = {
            "observedGeneration": 1,
            "artifact": msgspec.to_builtins(artifact),
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Succeeded",
                    "message": "stored artifact",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        }
        await self.patch(resource, name, {"status": status}, subresource="status")
        return revision

    async def release(self, name: str, **spec: Any) -> None:
        """Create a HelmRelease of the chart, or change its spec; None takes a default away."""
        defaults = {
            "interval": "1h",
            "chartRef": {"kind": "OCIRepository", "name": CHART},
        }
        wanted = {key: value for key, value in (defaults | spec).items() if value is not None}
        await self.apply(reconciling.resource_of(HelmRelease), name, wanted)

    async def apply(self, resource: Resource, name: str, spec: Mapping[str, Any]) -> None:
        """Create an object, or change its spec."""
        body = {
            "apiVersion": resource.gvk.api_version,
            "kind": resource.gvk.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }
        answer = await self.context.client.apply(
            resource, orjson.dumps(body), self.namespace, name, manager="kubectl-test"
        )
        self.context.informers.named(resource.gvk.kind).observe(answer.raw)

    async def patch(
        self, resource: Resource, name: str, body: Mapping[str, Any], *, subresource: str = ""
    ) -> None:
        """Merge-patch an object, as somebody who is none of the managers we know."""
        await self.context.client.patch(
            resource,
            self.namespace,
            name,
            orjson.dumps(body),
            manager="somebody",
            subresource=subresource,
        )

    async def annotate(self, name: str, **marks: str) -> None:
        """Put annotations of ``reconcile.fluxcd.io`` on a HelmRelease."""
        named = {f"reconcile.fluxcd.io/{key}": value for key, value in marks.items()}
        body = {"metadata": {"annotations": named}}
        await self.patch(reconciling.resource_of(HelmRelease), name, body)

    async def suspend(self, name: str, *, suspended: bool = True) -> None:
        """Suspend or resume a HelmRelease."""
        body = {"spec": {"suspend": suspended}}
        await self.patch(reconciling.resource_of(HelmRelease), name, body)

    async def delete(self, name: str) -> None:
        """Delete a HelmRelease."""
        resource = reconciling.resource_of(HelmRelease)
        await self.context.client.delete(resource, self.namespace, name)

    async def put(self, kind: str, name: str, **data: str) -> None:
        """Create a ConfigMap or Secret, or replace what it holds."""
        body = {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name},
            "stringData" if kind == references.SECRET else "data": data,
        }
        await self.context.client.apply(
            references.RESOURCES[kind], orjson.dumps(body), self.namespace, name, manager="test"
        )

    def get(self, name: str) -> HelmRelease | None:
        """Return what the informer knows of a HelmRelease."""
        found: HelmRelease | None = self.context.informer(HelmRelease).get(self.namespace, name)
        return found

    async def live(self, kind: str, name: str, namespace: str = "") -> JsonObject:
        """Read an object of the core group, or ``group/version/Kind``."""
        group_version, _, kind = kind.rpartition("/")
        gvk = GVK.of({"apiVersion": group_version or "v1", "kind": kind})
        resource = await self.context.discovery.resource(gvk)
        found: JsonObject = await self.context.client.get(
            resource, namespace or self.namespace, name
        )
        return found

    async def until(
        self, name: str, is_reached: Callable[[HelmRelease | None], bool]
    ) -> HelmRelease:
        """Wait for a state of a HelmRelease, and for the end of what is under way."""
        await self.until_shown(name, is_reached)
        await self.idle()
        return self.get(name)  # type: ignore[return-value]  # a caller that waits for None ignores it

    async def until_shown(
        self, name: str, is_reached: Callable[[HelmRelease | None], bool]
    ) -> HelmRelease:
        """Wait for a state of a HelmRelease, which may be in the middle of a run."""
        try:
            await self.holds(lambda: is_reached(self.get(name)))
        except TimeoutError:
            item = self.get(name)
            shown = item.status.conditions if item else None
            raise AssertionError(f"not reached: {shown}") from None
        return self.get(name)  # type: ignore[return-value]  # as above

    async def holds(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self.news.clear()
                try:
                    async with asyncio.timeout(0.2):
                        await self.news.wait()
                except TimeoutError:
                    continue

    async def idle(self) -> None:
        """Wait until no HelmRelease waits for a run or has one."""
        await self.holds(lambda: self.engine.load(kinds.HELM_RELEASE) == (0, 0))

    async def event(self, reason: str, text: str = "") -> Event:
        """Wait for an event."""

        def find() -> Event | None:
            return next(
                (each for each in self.events if each.reason == reason and text in each.message),
                None,
            )

        await self.holds(lambda: find() is not None)
        found = find()
        assert found is not None
        return found

    async def holds_soon(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Ask the cluster again and again until something is so."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not await is_so():  # noqa: ASYNC110 - nothing tells of other objects
                    await asyncio.sleep(0.05)
        except TimeoutError:
            items = self.context.informer(HelmRelease).items()
            shown = {item.metadata.name: item.status.conditions for item in items}
            raise AssertionError(f"not so: {shown}") from None

    async def until_gone(self, kind: str, name: str, namespace: str = "") -> None:
        """Wait until an object is not there any more."""

        async def is_gone() -> bool:
            try:
                await self.live(kind, name, namespace)
            except errors.NotFound:
                return True
            return False

        await self.holds_soon(is_gone)

    def requests(self) -> dict[tuple[str, str], int]:
        """Return what has been asked of the API server so far, watches left aside."""
        return {
            key: count
            for key, count in self.context.client.requests.items()
            if key[0] != "watch" and not (key[0] == "list" and key[1] != "secrets")
        }

    def history(self, name: str, namespace: str = "") -> list[tuple[int, str]]:
        """Return what ``helm history`` tells: revisions and their statuses, oldest first."""
        done = self.helm.attempt("history", name, "-n", namespace or self.namespace, "-o", "json")
        if done.returncode:
            return []
        return [(each["revision"], each["status"]) for each in orjson.loads(done.stdout)]

    async def ended_after(self, requests: int, name: str = "demo") -> None:
        """End the reconciler after so many more requests of any kind, and start another one.

        Args:
            requests: how many; fewer if the release becomes Ready before.
            name: of the release.
        """
        client = self.context.client
        limit = sum(client.requests.values()) + requests

        def is_reached() -> bool:
            return sum(client.requests.values()) >= limit or ready(self.get(name))

        async with asyncio.timeout(WAIT_S):
            while not is_reached():  # noqa: ASYNC110 - a request is no event
                await asyncio.sleep(0.001)
        await self.engine.stop_kind(KIND)
        self.engine.start_kind(KIND)


@asynccontextmanager
async def running(
    cluster: Access, directory: Path, namespace: str, **changes: Any
) -> AsyncIterator[World]:
    """Start an engine that serves one namespace of a cluster.

    Args:
        cluster: the cluster; the CRDs are installed into it.
        directory: for what is kept between starts.
        namespace: whose HelmReleases are served.
        **changes: of ``[[clusters]]``.
    """
    clock, metrics, threads = SystemClock(), Metrics(), Threads()
    processes = Processes(metrics)
    shared = Shared(
        clock=clock,
        rng=random.Random(7),
        metrics=metrics,
        threads=threads,
        processes=processes,
        git=GitFetcher(directory / "git", threads, processes, clock),
        oci=None,  # type: ignore[arg-type]  # no source is reconciled here
        charts=None,  # type: ignore[arg-type]  # likewise
        tools=Tools(
            kustomize=kustomizer.kustomize_program(),
            helm=helming.helm_program(),
            helm_version="v4.3.1",
        ),
        limits=settings.Limits(),
        data_dir=directory,
        artifacts_url="http://127.0.0.1:1",
        identity="test",
    )
    served = settings.Cluster(
        name=CLUSTER, kubeconfig=cluster.kubeconfig, namespace=namespace, **changes
    )
    await threads.run(shared.cluster_dir(CLUSTER).mkdir, parents=True, exist_ok=True)
    connection = await auth.load(cluster.kubeconfig, None)
    async with Client(connection, cluster=CLUSTER, metrics=metrics) as client:
        await reconciling.install(client)
        context = wiring.build(served, shared, client)
        async with Supervisor(shared.clock, shared.rng, metrics) as children:
            engine = Engine(context, shared, children)
            helm = helmcharts.Program(cluster.kubeconfig, directory)
            world = World(namespace, engine, helm, cluster.kubeconfig)
            engine.start()
            children.start("events", partial(_listen, world))
            for informer in context.informers:
                informer.subscribe(lambda _old, _new: world.news.set())
            await engine.synced()
            engine.start_kind(kinds.HELM_RELEASE)
            yield world
    await threads.aclose()


async def _listen(world: World) -> None:
    with world.context.events.subscribe() as events:
        async for event in events:
            world.events.append(event)
            world.news.set()


def condition(item: HelmRelease, type_: str) -> tuple[str, str, str]:
    """Return (status, reason, message) of a condition."""
    found = conditions.get(item.status.conditions, type_)
    return (found.status, found.reason, found.message) if found else ("", "", "")


def ready(item: HelmRelease | None) -> bool:
    """Whether a HelmRelease is ready as it is now."""
    return (
        item is not None
        and item.status.observed_generation == item.metadata.generation
        and conditions.is_true(item.status.conditions, meta.READY)
    )


def at_revision(version: int) -> Callable[[HelmRelease | None], bool]:
    """Whether a HelmRelease is ready with a revision of its release."""
    return lambda item: ready(item) and item.status.history[0].version == version  # type: ignore[union-attr]


def unready(reason: str) -> Callable[[HelmRelease | None], bool]:
    """Whether a HelmRelease is not ready, for a reason."""

    def is_so(item: HelmRelease | None) -> bool:
        found = item and conditions.get(item.status.conditions, meta.READY)
        return bool(found) and found.status == "False" and found.reason == reason  # type: ignore[union-attr]

    return is_so


def stalled(reason: str) -> Callable[[HelmRelease | None], bool]:
    """Whether a HelmRelease is stalled, for a reason."""

    def is_so(item: HelmRelease | None) -> bool:
        found = item and conditions.get(item.status.conditions, meta.STALLED)
        return bool(found) and found.status == "True" and found.reason == reason  # type: ignore[union-attr]

    return is_so


def shows(type_: str, status: str) -> Callable[[HelmRelease | None], bool]:
    """Whether a condition of a HelmRelease has a status."""
    return lambda item: item is not None and condition(item, type_)[0] == status


def gone(item: HelmRelease | None) -> bool:
    """Whether there is no such HelmRelease any more."""
    return item is None


async def lock(world: World, name: str, status: str) -> None:
    """Leave the newest record of a release pending, as a daemon does that is killed."""
    storage = ReleaseStorage(
        world.context.client, world.namespace, world.context.clock, world.context.threads
    )
    last = await storage.last(name)
    assert last is not None
    await storage.update(last.with_info(status=status))


async def listed(world: World, plural: str, selector: str) -> list[JsonObject]:
    """Return the objects of the core group in the namespace that have some labels."""
    path = f"/api/v1/namespaces/{world.namespace}/{plural}"
    raw = await world.context.client.get_raw(path, params={"labelSelector": selector})
    found: list[JsonObject] = orjson.loads(raw)["items"]
    return found
