"""Kustomizations of every kind of source, also of artifacts that somebody else makes."""

from __future__ import annotations

import asyncio
import hashlib
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from api.artifact import Artifact
from api.bucket import Bucket
from api.external import ExternalArtifact
from api.kustomize import Kustomization
from api.oci import OCIRepository
from kube.objects import GVK, Resource
from reconcilers import artifacts as opening
from reconcilers import triggers
from reconcilers.context import ReconcileSettings
from runtime.errors import WaitingError
from sources import artifact as artifacts
from sources.storage import Owner
from sources.untar import Limits
from tests.support import faults, kustomizer
from tests.support.kustomizer import MemoryTree, applied, config_map, failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import World

SPECS: dict[Any, dict[str, Any]] = {
    Bucket: {"bucketName": "b", "endpoint": "host", "interval": "1h"},
    OCIRepository: {"url": "oci://host/repo", "interval": "1h"},
    ExternalArtifact: {"sourceRef": {"kind": "Anything", "name": "x"}},
}


def pack(files: dict[str, str]) -> bytes:
    """Return an artifact as its maker stores it."""
    file = io.BytesIO()
    artifacts.write(MemoryTree(files), file)
    return file.getvalue()


def described(url: str, body: bytes, revision: str) -> dict[str, Any]:
    """Return the artifact of a status."""
    return {
        "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
        "path": "externalartifact/x/a.tar.gz",
        "url": url,
        "revision": revision,
        "lastUpdateTime": "2026-01-01T00:00:00Z",
    }


def stored(artifact: Artifact) -> dict[str, Any]:
    return described(artifact.url, b"", artifact.revision) | {
        "digest": artifact.digest,
        "path": artifact.path,
    }


class Source:
    """An object of one kind whose status the test writes, as its controller would."""

    def __init__(self, world: World, kind: Any) -> None:
        self.world, self.kind = world, kind
        gvk = GVK(kind.GROUP, kind.VERSION, kind.KIND)
        self.resource = Resource(gvk, kind.PLURAL, is_namespaced=True)

    async def create(self) -> None:
        body = {
            "apiVersion": self.kind.api_version(),
            "kind": self.kind.KIND,
            "metadata": {"name": "made", "namespace": self.world.namespace},
            "spec": SPECS[self.kind],
        }
        client = self.world.context.client
        await client.create(self.resource, self.world.namespace, orjson.dumps(body), manager="test")

    async def announce(self, artifact: dict[str, Any]) -> None:
        await self.world.context.client.patch(
            self.resource,
            self.world.namespace,
            "made",
            orjson.dumps({"status": {"artifact": artifact}}),
            manager="test",
            subresource="status",
        )

    async def kustomize(self, **spec: Any) -> None:
        reference = {"kind": self.kind.KIND, "name": "made"}
        await self.world.kustomize("apps", sourceRef=reference, **spec)


@asynccontextmanager
async def world_of(
    kind: Any,
    cluster: Access,
    tmp_path: Path,
    namespace: str,
    settings: ReconcileSettings | None = None,
) -> AsyncIterator[Source]:
    """Run a reconciler that follows the objects of a kind of source too."""
    async with kustomizer.running(cluster, tmp_path, namespace, settings=settings) as world:
        informer = world.context.informer(kind)

        def announced(old: Any, new: Any) -> None:
            world.news.set()
            everything = world.context.kustomizations.items()
            for ref, cause in triggers.on_source("test", old, new, everything):
                world.context.wake(ref, cause)

        informer.subscribe(announced)
        task = asyncio.create_task(informer.run())
        try:
            source = Source(world, kind)
            await source.create()
            await world.until_known(lambda: informer.get(namespace, "made") is not None)
            yield source
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.parametrize("kind", [Bucket, OCIRepository], ids=lambda kind: kind.KIND)
async def test_artifact_of_any_kind_is_applied_and_followed(
    cluster: Access, namespace: str, tmp_path: Path, kind: Any
) -> None:
    async with world_of(kind, cluster, tmp_path, namespace) as source:
        world, owner = source.world, Owner(kind.KIND, namespace, "made")
        await source.kustomize()
        await world.until("apps", failed("ArtifactFailed", "Source artifact not found"))
        for number in ("1", "2"):
            tree = MemoryTree({"a.yaml": config_map("a", namespace, n=number)})
            artifact = await world.context.threads.run(
                world.context.storage.put, owner, f"{number}.tar.gz", f"sha256:{number}", tree
            )
            await source.announce(stored(artifact))
            await world.until("apps", applied(f"sha256:{number}"))
        assert (await world.live("configmaps", "a"))["data"] == {"n": "2"}
        ref = world.ref("apps")
        assert (ref, f"{kind.KIND}/{namespace}/made") in world.wakes


async def test_artifact_of_somebody_else_is_fetched_once_and_applied(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    body = pack({"a/a.yaml": config_map("a", namespace), "b/b.yaml": config_map("b", namespace)})
    async with (
        faults.running(lambda _: [faults.answer(body)]) as server,
        world_of(ExternalArtifact, cluster, tmp_path, namespace) as source,
    ):
        url = f"http://{server.endpoint}/x/a.tar.gz"
        await source.announce(described(url, body, "latest@sha256:1"))
        await source.kustomize(path="./a")
        reference = {"kind": "ExternalArtifact", "name": "made"}
        await source.world.kustomize("others", path="./b", sourceRef=reference)
        for name in ("apps", "others"):
            await source.world.until(name, applied("latest@sha256:1"))
        assert len(server.heads) == 1
        assert server.heads[0].startswith("GET /x/a.tar.gz ")


async def test_file_of_somebody_else_is_fetched_for_what_is_no_tree(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with (
        faults.running(lambda _: [faults.answer(b"a chart")]) as server,
        world_of(ExternalArtifact, cluster, tmp_path, namespace) as source,
    ):
        context = source.world.context
        url = f"http://{server.endpoint}/web-1.0.0.tgz"
        foreign = msgspec.convert(described(url, b"a chart", "1.0.0"), Artifact)
        for _ in range(2):
            file = await opening.open_file(context, foreign)
            assert await context.threads.run(file.read_bytes) == b"a chart"
        assert len(server.heads) == 1
        own = msgspec.structs.replace(foreign, url=context.storage.url(foreign.path))
        with pytest.raises(WaitingError):
            await opening.open_file(context, own)


async def test_artifact_that_flux_itself_stores_is_fetched_too(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    body = pack({"a.yaml": config_map("a", namespace)})
    async with (
        faults.running(lambda _: [faults.answer(body)]) as server,
        world_of(Bucket, cluster, tmp_path, namespace) as source,
    ):
        url = f"http://{server.endpoint}/bucket/x/made/1.tar.gz"
        await source.announce(described(url, body, "sha256:1"))
        await source.kustomize()
        await source.world.until("apps", applied("sha256:1"))


async def test_artifact_inside_the_cluster_is_asked_for_through_the_api_server(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with world_of(ExternalArtifact, cluster, tmp_path, namespace) as source:
        url = f"http://source-watcher.{namespace}.svc.cluster.local./a.tar.gz"
        await source.announce(described(url, b"", "latest@sha256:1"))
        await source.kustomize()
        text = "Source is not ready, artifact not found, retrying in 30s"
        await source.world.until("apps", failed("ArtifactFailed", text))
        assert source.world.context.client.requests["get", "services"] == 1


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (faults.answer(b"other bytes"), "ArtifactFailed", "computed digest doesn't match"),
        (
            faults.answer(b"", "404 Not Found"),
            "ArtifactFailed",
            "Source is not ready, artifact not found, retrying in 30s",
        ),
        (faults.answer(b"", "403 Forbidden"), "ArtifactFailed", "answered 403 Forbidden"),
        (faults.answer(bytes(5000)), "ArtifactFailed", "sends more than 4000 bytes"),
    ],
)
async def test_artifact_that_cannot_be_had_says_why(
    cluster: Access, namespace: str, tmp_path: Path, answer: bytes, reason: str, text: str
) -> None:
    settings = ReconcileSettings(artifact_limits=Limits(size_bytes=4000, files=10))
    async with (
        faults.running(lambda _: [answer]) as server,
        world_of(ExternalArtifact, cluster, tmp_path, namespace, settings) as source,
    ):
        url = f"http://user:hush-hush@{server.endpoint}/a.tar.gz?token=hush-hush"
        await source.announce(described(url, b"right", "latest@sha256:1"))
        await source.kustomize()
        item = await source.world.until("apps", failed(reason, text))
        assert "hush" not in kustomizer.ready(item).message


@pytest.mark.parametrize("url", ["http://[bad", "file:///etc/passwd", "nonsense", "http:///x"])
async def test_artifact_without_an_address_is_told(
    cluster: Access, namespace: str, tmp_path: Path, url: str
) -> None:
    async with world_of(ExternalArtifact, cluster, tmp_path, namespace) as source:
        await source.announce(described(url, b"", "latest@sha256:1"))
        await source.kustomize()
        text = "the artifact's url is no http:// or https:// address"
        await source.world.until("apps", failed("ArtifactFailed", text))


async def test_artifact_that_drips_is_given_up(
    cluster: Access, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(_head: str) -> Any:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        while True:
            yield b" "
            yield 0.01

    monkeypatch.setattr(opening, "DOWNLOAD_S", 0.3)
    async with (
        faults.running(drip) as server,
        world_of(ExternalArtifact, cluster, tmp_path, namespace) as source,
    ):
        url = f"http://{server.endpoint}/a.tar.gz"
        await source.announce(described(url, b"", "latest@sha256:1"))
        await source.kustomize()
        text = f"failed to download archive from {url}: it takes too long"
        await source.world.until("apps", failed("ArtifactFailed", text))


async def test_artifacts_of_others_can_be_forbidden(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    settings = ReconcileSettings(allow_external_artifacts=False)
    async with world_of(ExternalArtifact, cluster, tmp_path, namespace, settings) as source:
        await source.kustomize()
        name = f"ExternalArtifact/{namespace}/made"
        text = f"can't access '{name}', ExternalArtifact feature gate is disabled"
        item = await source.world.until("apps", failed("AccessDenied", text))
        assert kustomizer.condition(item, "Stalled").status == "True"


async def test_source_that_is_not_there_is_named_by_its_kind(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with world_of(Bucket, cluster, tmp_path, namespace) as source:
        await source.world.kustomize("apps", sourceRef={"kind": "Bucket", "name": "none"})
        text = 'buckets.source.toolkit.fluxcd.io "none" not found'
        await source.world.until("apps", failed("ArtifactFailed", text))
        assert isinstance(source.world.get("apps"), Kustomization)
