"""A cluster as an agent finds it: a source, Kustomizations, and what one of them applied.

::

    world = mcpworld.made(cluster, folder)
    text, data = await mcpworld.call(world, "trace", **mcpworld.named(world, "ks", "apps"))

No daemon runs; every status is written here as a reconciler would have written it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from daemon import kinds
from inspection import podlogs
from tests.support import agents, api, fluxobjects, reconciling
from tests.support.agents import text_of

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.cluster import Cluster
    from inspection.flux import FluxObject

LABELS = {
    "kustomize.toolkit.fluxcd.io/name": "apps",
    "kustomize.toolkit.fluxcd.io/namespace": "{namespace}",
}


class World(NamedTuple):
    """A namespace with a source, a Kustomization, and what it applied."""

    namespace: str
    config: Path
    cluster: Cluster

    def objects(self, *names: str) -> dict[str, Any]:
        """What is in the cluster."""
        found: dict[str, Any] = json.loads(
            self.cluster.kubectl("get", "-n", self.namespace, *names, "-o", "json")
        )
        return found

    def configured(self, name: str, **kubeconfigs: Path) -> World:
        """The same world by another configuration: other users, other clusters.

        Args:
            name: of the configuration, in a folder of that name.
            kubeconfigs: one for each cluster.
        """
        folder = self.config.parent / name
        folder.mkdir(exist_ok=True)
        clusters = "".join(
            f'[[clusters]]\nname = "{each}"\nkubeconfig = "{file}"\n'
            for each, file in kubeconfigs.items()
        )
        config = folder / "config.toml"
        config.write_text(f'[daemon]\ndata_dir = "{folder}/data"\n{clusters}')
        return self._replace(config=config)


def made(cluster: Cluster, folder: Path) -> World:
    """Make a world with two clusters in its configuration, one of which does not answer.

    Args:
        cluster: the one that answers.
        folder: for the configuration and what the server keeps.
    """
    reconciling.prepare(cluster)
    namespace = f"agents-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    config = folder / "config.toml"
    config.write_text(
        f'[daemon]\ndata_dir = "{folder}/data"\n'
        f'[[clusters]]\nname = "home"\nkubeconfig = "{cluster.kubeconfig}"\n'
        f'[[clusters]]\nname = "away"\nkubeconfig = "{folder}/nowhere"\n'
    )
    found = World(namespace, config, cluster)
    asyncio.run(fill(found))
    return found


async def fill(world: World) -> None:
    """Make the objects, and the status that a reconciler would have written."""
    namespace = world.namespace
    labels = {key: value.format(namespace=namespace) for key, value in LABELS.items()}
    web = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "registry.invalid/app:1"}]},
            },
        },
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "labels": labels},
        "data": {"password": base64.b64encode(b"geheim").decode()},
    }
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": labels},
        "data": {"k": "1"},
    }
    everything = {"apiVersion": "v1", "kind": "List", "items": [web, secret, owned]}
    world.cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(everything))
    entries = [
        f"{namespace}_web_apps_Deployment",
        f"{namespace}_db__Secret",
        f"{namespace}_a__ConfigMap",
    ]
    spec = {"interval": "1h", "prune": True, "dependsOn": [{"name": "infra"}]}
    flux = [
        fluxobjects.git(namespace=namespace),
        fluxobjects.kustomization("infra", namespace=namespace, spec=spec | {"dependsOn": []}),
        fluxobjects.kustomization("changed", namespace=namespace, spec=spec | {"dependsOn": []}),
        fluxobjects.kustomization("apps", *entries, namespace=namespace, spec=spec),
        fluxobjects.kustomization(
            "sick",
            entries[0],
            namespace=namespace,
            spec=spec | {"dependsOn": []},
            ready="False",
            reason="HealthCheckFailed",
            message="health check failed after 30s: timeout waiting for: "
            f"[Deployment/{namespace}/web status: 'InProgress']",
        ),
        fluxobjects.kustomization(
            "waiting",
            namespace=namespace,
            spec=spec | {"dependsOn": [{"name": "sick"}]},
            ready="False",
            reason="DependencyNotReady",
            message=f"dependency '{namespace}/sick' is not ready",
        ),
    ]
    async with api.client(world.cluster.kubeconfig) as client:
        for each in flux:
            await put(client, each)


async def put(client: Any, each: FluxObject) -> None:
    """Create an object with its status."""
    resource = kinds.BY_NAME[each.kind].resource
    status = each.raw["status"]
    artifact = {"digest": f"sha256:{'0' * 64}", "lastUpdateTime": "2026-01-02T12:00:00Z"}
    artifact |= {"path": "x", "url": "http://127.0.0.1:1/x"}
    if "artifact" in status:
        status["artifact"] |= artifact
    body = json.dumps(each.raw).encode()
    await client.create(resource, each.namespace, body, manager="test")
    patch = json.dumps({"status": status}).encode()
    await client.patch(
        resource, each.namespace, each.name, patch, manager="test", subresource="status"
    )


def named(world: World, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """Arguments that name an object."""
    return {"cluster": "home", "kind": kind, "name": name, "namespace": world.namespace} | more


async def call(world: World, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Call a tool in this process; it must not fail."""
    async with agents.inside(world.config) as client:
        result = await client.call_tool(tool, {"cluster": "home"} | arguments)
    assert not result.is_error, text_of(result)
    return text_of(result), result.structured_content or {}


async def refused(world: World, tool: str, **arguments: Any) -> str:
    """Call a tool in this process; it must fail."""
    async with agents.inside(world.config) as client:
        result = await client.call_tool(tool, {"cluster": "home"} | arguments)
    assert result.is_error
    return text_of(result)


async def pod_of(world: World) -> str:
    """The name of the Deployment's pod, once there is one."""
    async with asyncio.timeout(api.WAIT_S):
        while True:
            found = await asyncio.to_thread(world.objects, "pods", "-l", "app=web")
            if found["items"]:
                return str(found["items"][0]["metadata"]["name"])


async def as_kubelet(world: World, pod: str, **waiting: str) -> None:
    """Say of a pod's container what a kubelet would."""
    required = {"image": "x", "imageID": "", "ready": False, "restartCount": 0}
    container = required | {"name": "app", "state": {"waiting": waiting}}
    status = {"containerStatuses": [container]}
    async with api.client(world.cluster.kubeconfig) as client:
        patch = json.dumps({"status": status}).encode()
        await client.patch(
            podlogs.PODS, world.namespace, pod, patch, manager="kubelet", subresource="status"
        )
