"""Charts rendered by the real helm on a test's cluster, without a HelmRelease there."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from api.helm import HelmRelease
from kube.helm.storage import ReleaseStorage
from reconcilers.helmrelease import chart, values
from reconcilers.helmrelease.program import Helm, Place
from reconcilers.helmrelease.render import Renderer, Request
from runtime.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from kube.client import Client
    from kube.helm.record import Record
    from runtime.limits import Threads


@dataclass
class Stage:
    """A renderer on the test's cluster."""

    client: Client
    renderer: Renderer
    helm: Helm
    threads: Threads
    namespace: str
    folder: Path

    async def render(
        self,
        archive: bytes,
        given: dict[str, Any] | None = None,
        *,
        is_upgrade: bool = False,
        revision: str = "",
        place: Place | None = None,
        name: str = "app",
        **spec: Any,
    ) -> Record:
        """Render a chart for a HelmRelease ``app`` with this spec."""
        loaded = await asyncio.to_thread(self.load, archive, revision)
        obj = {"metadata": {"name": "app", "namespace": self.namespace}}
        rendered = await self.renderer.render(
            Request(
                item=msgspec.convert(obj | {"spec": {"interval": "1m", **spec}}, HelmRelease),
                chart=loaded,
                values=values.of(given or {}),
                name=name,
                place=place or Place(self.client, self.namespace, self.namespace),
                is_upgrade=is_upgrade,
                timeout_s=60,
            )
        )
        return rendered.record

    def load(self, archive: bytes, revision: str = "") -> chart.Chart:
        """Store an archive and read the chart in it."""
        digest = hashlib.sha256(archive).hexdigest()
        file = self.folder / f"{digest}.tgz"
        file.write_bytes(archive)
        return chart.load(file, digest, revision)

    def storage(self, namespace: str = "") -> ReleaseStorage:
        """Return the records of a namespace."""
        return ReleaseStorage(self.client, namespace or self.namespace, SystemClock(), self.threads)
