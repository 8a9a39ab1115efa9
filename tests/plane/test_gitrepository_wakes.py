"""A served cluster: what is pushed to one repository reaches those that include it by itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from daemon import settings
from tests.support import reconciling, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.cluster import Cluster
    from devcluster.gitserver import GitServer

MANIFESTS = """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: fleet}}
spec:
  url: {fleet}
  interval: 1h
  ref: {{branch: main}}
  include: [{{repository: {{name: library}}, toPath: lib}}]
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: library}}
spec: {{url: {library}, interval: 1h, ref: {{branch: main}}}}
"""


@pytest.fixture
def home(cluster: Cluster, namespace: str) -> Iterator[settings.Cluster]:
    """The session's cluster, of which one namespace is served; its Leases nobody holds."""
    forget = ("delete", "lease", "-n", "flux-system", "--all", "--ignore-not-found")
    cluster.kubectl(*forget)
    yield settings.Cluster(name="home", kubeconfig=cluster.kubeconfig, namespace=namespace)
    cluster.kubectl(*forget)


async def test_push_to_an_included_repository_reaches_the_one_that_includes_it(
    cluster: Cluster,
    namespace: str,
    home: settings.Cluster,
    git_server: GitServer,
    tmp_path: Path,
) -> None:
    async def kubectl(*arguments: str, text: str | None = None) -> Any:
        return await asyncio.to_thread(cluster.kubectl, "-n", namespace, *arguments, input=text)

    git_server.repo("fleet").push({"a.yaml": "a: 1\n"})
    library = git_server.repo("library")
    library.push({"b.yaml": "b: 1\n"})
    urls = {name: git_server.url(name) for name in ("fleet", "library")}
    await asyncio.to_thread(reconciling.prepare, cluster)
    async with served.fleet(tmp_path, home) as fleet:
        await served.until(lambda: fleet.mode("GitRepository") == "reconciling")
        await kubectl("apply", "-f", "-", text=MANIFESTS.format(**urls))
        await served.until(lambda: fleet.ready("GitRepository", namespace, "fleet") == "True")
        sha = library.push({"b.yaml": "b: 2\n"})
        await kubectl("annotate", "gitrepo", "library", "reconcile.fluxcd.io/requestedAt=now")
        revision = "jsonpath={.status.includedArtifacts[0].revision}"
        await kubectl("wait", "gitrepo/fleet", "--timeout=60s", f"--for={revision}=main@sha1:{sha}")
        shown = json.loads(await kubectl("get", "gitrepo", "fleet", "-o", "json"))
        assert shown["status"]["conditions"][0]["status"] == "True"
