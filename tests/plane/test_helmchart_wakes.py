"""A served cluster: a new index reaches the charts in it by itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from daemon import settings
from tests.support import chartserver, helming, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.cluster import Cluster

MANIFESTS = """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmChart
metadata: {{name: web}}
spec:
  chart: web
  version: 1.x
  interval: 1h
  sourceRef: {{kind: HelmRepository, name: charts}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {{name: charts}}
spec: {{url: {url}, interval: 1h}}
"""


@pytest.fixture
def home(cluster: Cluster, namespace: str) -> Iterator[settings.Cluster]:
    """The session's cluster, of which one namespace is served; its Leases nobody holds."""
    forget = ("delete", "lease", "-n", "flux-system", "--all", "--ignore-not-found")
    cluster.kubectl(*forget)
    yield settings.Cluster(name="home", kubeconfig=cluster.kubeconfig, namespace=namespace)
    cluster.kubectl(*forget)


async def test_new_version_is_pulled_when_the_index_tells_of_it(
    cluster: Cluster, namespace: str, home: settings.Cluster, tmp_path: Path
) -> None:
    async def kubectl(*arguments: str, text: str | None = None) -> Any:
        return await asyncio.to_thread(cluster.kubectl, "-n", namespace, *arguments, input=text)

    async with chartserver.running() as server, served.fleet(tmp_path, home) as fleet:
        server.publish(helming.chart())
        await served.until(lambda: fleet.mode("HelmChart") == "reconciling")
        await kubectl("apply", "-f", "-", text=MANIFESTS.format(url=server.url))
        await served.until(lambda: fleet.ready("HelmChart", namespace, "web") == "True")
        server.publish(helming.chart(version="1.1.0"))
        request = "reconcile.fluxcd.io/requestedAt=now"
        await kubectl("annotate", "helmrepository", "charts", request)
        await served.until(lambda: "web-1.1.0.tgz" in " ".join(server.requests))
        revision = "jsonpath={.status.artifact.revision}"
        await kubectl("wait", "hc/web", "--timeout=60s", f"--for={revision}=1.1.0")
        shown = json.loads(await kubectl("get", "hc", "web", "-o", "json"))
        assert shown["status"]["observedChartName"] == "web"
