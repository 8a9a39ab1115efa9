"""A FluxInstance that keeps tenants apart, served by the parts of the daemon together."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from daemon import settings
from tests.support import kustomizer, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.cluster import Cluster
    from devcluster.gitserver import GitServer

INSTANCE = """\
apiVersion: fluxcd.controlplane.io/v1
kind: FluxInstance
metadata: {name: flux, namespace: flux-system}
spec:
  distribution: {version: 2.x, registry: ghcr.io/fluxcd}
  cluster: {multitenant: true, tenantDefaultServiceAccount: tenant}
"""
PAIR = """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {name}, namespace: {name}}}
spec: {{interval: 1h, url: "{url}", ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}, namespace: {name}}}
spec: {{interval: 1h, prune: true, sourceRef: {{kind: GitRepository, name: {name}}}}}
"""


@pytest.fixture
def home(cluster: Cluster) -> Iterator[settings.Cluster]:
    """The settings of the session's cluster; its Leases and its instance are removed."""
    flux = ("fluxinstance", "-n", "flux-system", "flux")
    forget = ("delete", "lease", "-n", "flux-system", "--all", "--ignore-not-found")
    cluster.kubectl(*forget)
    yield settings.Cluster(name="home", kubeconfig=cluster.kubeconfig)
    cluster.kubectl("patch", *flux, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    cluster.kubectl("delete", *flux, "--ignore-not-found")
    cluster.kubectl(*forget)


async def test_multitenant_instance_takes_the_daemons_rights_from_tenants_at_once(
    home: settings.Cluster, cluster: Cluster, namespace: str, git_server: GitServer, tmp_path: Path
) -> None:
    async def kubectl(*arguments: str, text: str | None = None) -> str:
        return await asyncio.to_thread(cluster.kubectl, *arguments, input=text)

    async def message() -> str:
        found = json.loads(await kubectl("get", "ks", "-n", namespace, namespace, "-o", "json"))
        told = {each["type"]: each["message"] for each in found["status"]["conditions"]}
        return str(told["Ready"])

    repo = git_server.repo("fleet")
    file = kustomizer.config_map("a", namespace, k="1")
    await asyncio.to_thread(repo.push, {"a.yaml": file})
    async with served.fleet(tmp_path, home) as fleet:
        await served.until(lambda: fleet.mode("Kustomization") == "reconciling")
        pair = PAIR.format(name=namespace, url=git_server.url("fleet"))
        await kubectl("apply", "-f", "-", text=pair)
        await served.until(lambda: fleet.ready("Kustomization", namespace, namespace) == "True")

        await kubectl("apply", "-f", "-", text=INSTANCE)
        await served.until(lambda: fleet.ready("FluxInstance", "flux-system", "flux") == "True")
        await kubectl("delete", "configmap", "a", "-n", namespace)
        await served.until(lambda: fleet.ready("Kustomization", namespace, namespace) == "False")
        assert f'User "system:serviceaccount:{namespace}:tenant" cannot' in await message()

        await kubectl(
            "create", "rolebinding", "tenant", "--clusterrole=admin",
            f"--serviceaccount={namespace}:tenant", "-n", namespace,
        )  # fmt: skip
        await kubectl(
            "annotate", "ks", "-n", namespace, namespace, "reconcile.fluxcd.io/requestedAt=now"
        )
        await served.until(lambda: fleet.ready("Kustomization", namespace, namespace) == "True")
        assert await kubectl("get", "configmap", "a", "-n", namespace, "-o", "jsonpath={.data.k}")
