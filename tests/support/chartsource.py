"""HelmRepositories and HelmCharts that tests write as users do, and reconcile when they want.

::

    world = World(desk, server, namespace)
    await world.repository()
    await world.chart(version="1.x")
    await world.run()
    assert world.conditions("HelmChart")["Ready"][0] == "True"
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api.bucket import Bucket
from api.charts import HelmChart, HelmRepository
from api.source import GitRepository
from kube import errors
from reconcilers import helmchart
from reconcilers.helmrepository import HelmRepositoryReconciler
from runtime.errors import TransientError
from sources import storage
from tests.support import helming
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.meta import CustomObject
    from runtime.controller import Result
    from tests.support.chartserver import ChartServer
    from tests.support.reconciling import Desk

REPOSITORY, CHART, GIT = "charts", "web", "fleet"
"""The names of the objects."""
_NAMES: dict[type[CustomObject], str] = {
    HelmRepository: REPOSITORY,
    HelmChart: CHART,
    GitRepository: GIT,
    Bucket: GIT,
}


class World:
    """The HelmRepository ``charts``, the HelmChart ``web`` and perhaps a source of a test."""

    def __init__(self, desk: Desk, server: ChartServer, namespace: str) -> None:
        self.desk = desk
        self.server = server
        self.namespace = namespace
        self.live: dict[type[CustomObject], dict[str, Any]] = {}
        """The objects after their last run."""
        self._reconcilers: dict[type[CustomObject], Any] = {
            HelmRepository: HelmRepositoryReconciler(desk.context),
            HelmChart: helmchart.reconciler(desk.context),
        }

    async def repository(self, **spec: Any) -> None:
        """Write the HelmRepository."""
        await self._create(HelmRepository, {"url": self.server.url, "interval": "5m"} | spec)

    async def chart(self, **spec: Any) -> None:
        """Write the HelmChart; in the HelmRepository unless it is said otherwise."""
        wanted = {
            "chart": "web",
            "interval": "1m",
            "sourceRef": {"kind": "HelmRepository", "name": REPOSITORY},
        }
        await self._create(HelmChart, wanted | spec)

    async def chart_in_git(self, chart: str = "charts/web", **spec: Any) -> None:
        """Write the HelmChart, in the GitRepository."""
        source = {"kind": "GitRepository", "name": GIT}
        await self.chart(**({"chart": chart, "sourceRef": source} | spec))

    async def git(self, files: Mapping[str, str | bytes], revision: str = "1" * 40) -> None:
        """Let a GitRepository have an artifact with some files."""
        await self._create(GitRepository, {"url": "https://git.invalid/f", "interval": "1h"})
        await self._publish(GitRepository, files, f"main@sha1:{revision}")

    async def bucket(self, files: Mapping[str, str | bytes], revision: str) -> None:
        """Let a Bucket have an artifact with some files."""
        spec = {"bucketName": "b", "endpoint": "s3.invalid", "interval": "1h"}
        await self._create(Bucket, spec)
        await self._publish(Bucket, files, f"sha256:{revision}")

    async def secret(self, name: str, data: Mapping[str, bytes | str]) -> None:
        """Write a Secret beside them."""
        encoded = {
            key: base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
            for key, value in data.items()
        }
        await self.desk.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.namespace},
                "data": encoded,
            }
        )

    async def reconcile(self, kind: type[CustomObject] = HelmChart) -> Result:
        """Run one of them once, and read what became of it."""
        try:
            return await self.desk.reconcile(self._reconcilers[kind], self.namespace, _NAMES[kind])
        finally:
            with suppress(errors.NotFound):
                self.live[kind] = await self.desk.live(kind, self.namespace, _NAMES[kind])

    async def run(self) -> None:
        """Run the repository, then the chart."""
        await self.reconcile(HelmRepository)
        await self.reconcile(HelmChart)

    async def fails(
        self, error: type[Exception] = TransientError, kind: type[CustomObject] = HelmChart
    ) -> str:
        """Run one of them, which must fail, and return what it says."""
        with pytest.raises(error) as caught:
            await self.reconcile(kind)
        return str(caught.value)

    def status(self, kind: type[CustomObject] = HelmChart) -> dict[str, Any]:
        """Return the status of one of them."""
        found: dict[str, Any] = self.live[kind].get("status", {})
        return found

    def artifact(self, kind: type[CustomObject] = HelmChart) -> dict[str, Any]:
        """Return the artifact of one of them."""
        found: dict[str, Any] = self.status(kind)["artifact"]
        return found

    def conditions(self, kind: type[CustomObject] = HelmChart) -> dict[str, tuple[str, str, str]]:
        """Return (status, reason, message) of each condition of one of them."""
        return {
            each["type"]: (each["status"], each["reason"], each["message"])
            for each in self.status(kind).get("conditions", [])
        }

    def content(self, kind: type[CustomObject] = HelmChart) -> bytes:
        """Return the stored file of one of them. Blocks."""
        return (self.desk.context.storage.root / str(self.artifact(kind)["path"])).read_bytes()

    async def packed(self) -> dict[str, bytes]:
        """Return the files of the stored chart."""
        return await asyncio.to_thread(lambda: helming.unpacked(self.content()))

    @property
    def events(self) -> list[tuple[str, str]]:
        """Reason and message of each event so far."""
        return [(event.reason, event.message) for event in self.desk.events]

    async def _publish(
        self, kind: type[CustomObject], files: Mapping[str, str | bytes], revision: str
    ) -> None:
        artifact = await asyncio.to_thread(
            self.desk.context.storage.put,
            storage.Owner(kind.KIND, self.namespace, _NAMES[kind]),
            f"{revision.rpartition(':')[2]}.tar.gz",
            revision,
            MemoryTree(files),
        )
        status = {"status": {"artifact": msgspec.to_builtins(artifact)}}
        await self.desk.patch(kind, self.namespace, _NAMES[kind], status, subresource="status")

    async def _create(self, kind: type[CustomObject], spec: Mapping[str, Any]) -> None:
        await self.desk.create(
            {
                "apiVersion": kind.api_version(),
                "kind": kind.KIND,
                "metadata": {"name": _NAMES[kind], "namespace": self.namespace},
                "spec": dict(spec),
            }
        )
