"""What a call of the MCP server costs with many Kustomizations: ``python -m bench.agents``.

A cluster without a daemon holds the objects, with the status that a daemon would have written. The
official client calls each tool five times in this process, so that what is measured is the server
and the API server and no transport.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import orjson
from mcp.client import Client

from api import crds as definitions
from daemon import kinds, settings
from devcluster.cluster import Cluster
from kube import auth, crds, manifests, pool
from kube.client import Client as Kube
from mcp_server import catalogue, serving
from mcp_server.desk import Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMESPACE: Final = "default"
ROUNDS: Final = 5
_SHA: Final = "7e0b4c5a9d1f2e3b4c5d6e7f8091a2b3c4d5e6f7"
_OWNED: Final = 4
"""Objects in each inventory."""


class Row(NamedTuple):
    """One tool."""

    title: str
    seconds: float
    text_bytes: int
    data_bytes: int


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="bench.agents", description=__doc__)
    parser.add_argument("--size", type=int, default=300, help="Kustomizations, default: 300")
    size = parser.parse_args().size
    folder = Path(tempfile.mkdtemp(prefix="gitopsd-bench-"))
    try:
        with Cluster(folder / "cluster") as cluster:
            rows = asyncio.run(_measure(folder, cluster.kubeconfig, size))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{size} Kustomizations of {_OWNED} objects\n")
    print("| call | median of 5 | text | structured |")
    print("|---|---|---|---|")
    for row in rows:
        sizes = f"{row.text_bytes / 1000:.1f} kB | {row.data_bytes / 1000:.1f} kB"
        print(f"| {row.title} | {row.seconds * 1000:.0f} ms | {sizes} |")
    return 0


async def _measure(folder: Path, kubeconfig: Path, size: int) -> list[Row]:
    config = folder / "config.toml"
    text = f'[daemon]\ndata_dir = "{folder}/data"\n'
    config.write_text(f'{text}[[clusters]]\nname = "bench"\nkubeconfig = "{kubeconfig}"\n')
    async with Kube(await auth.load(kubeconfig, None), cluster="bench") as client:
        await crds.install(client, [manifests.load(each) for each in definitions.load()])
        await _fill(client, size)
    query = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
    named = {"kind": "ks", "name": f"app-{size - 1:03}", "namespace": NAMESPACE}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("list_clusters", "list_clusters", {}),
        ("get_kubernetes_resources, a page of 30", "get_kubernetes_resources", query),
        (
            "get_kubernetes_resources, one object",
            "get_kubernetes_resources",
            query | {"name": named["name"], "namespace": NAMESPACE},
        ),
        ("get_tree", "get_tree", named),
        ("explain_not_ready", "explain_not_ready", named),
        ("trace", "trace", named),
        ("dependency_graph, around one", "dependency_graph", named),
        ("dependency_graph, what is in trouble", "dependency_graph", {}),
        ("get_flux_instance", "get_flux_instance", {}),
    ]
    async with _connected(config) as client:
        return [await _row(client, *call) for call in calls]


@asynccontextmanager
async def _connected(config: Path) -> AsyncIterator[Client]:
    offer = serving.Offer(Desk(config, settings.load(config)), catalogue.offered())
    async with Client(offer.server()) as client:
        yield client


async def _row(client: Client, title: str, tool: str, arguments: dict[str, Any]) -> Row:
    times, result = [], None
    for _ in range(ROUNDS):
        start = time.monotonic()
        result = await client.call_tool(tool, arguments)
        times.append(time.monotonic() - start)
    if result is None or result.is_error:
        raise RuntimeError(f"{tool}: {result}")
    text = sum(len(str(getattr(each, "text", "")).encode()) for each in result.content)
    data = len(msgspec.json.encode(result.structured_content))
    return Row(title, statistics.median(times), text, data)


async def _fill(client: Kube, size: int) -> None:
    """Create a source and a chain of Kustomizations, the last of which fails."""
    artifact = {
        "revision": f"main@sha1:{_SHA}",
        "digest": f"sha256:{'0' * 64}",
        "lastUpdateTime": "2026-01-02T12:00:00Z",
        "path": "x",
        "url": "http://127.0.0.1:1/x",
    }
    spec = {"interval": "1h", "url": "https://example.com/fleet.git"}
    await _put(client, "GitRepository", "fleet", spec, {"artifact": artifact})

    async def one(number: int) -> None:
        name = f"app-{number:03}"
        spec: dict[str, Any] = {
            "interval": "1h",
            "prune": True,
            "path": f"./{name}",
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        }
        if number % 10:
            spec["dependsOn"] = [{"name": f"app-{number - 1:03}"}]
        entries = [{"id": f"{name}_object-{each}__ConfigMap", "v": "v1"} for each in range(_OWNED)]
        status = {
            "inventory": {"entries": entries},
            "lastAppliedRevision": artifact["revision"],
        }
        await _put(client, "Kustomization", name, spec, status, is_ready=number < size - 1)

    await pool.each(range(size), one)


async def _put(
    client: Kube,
    kind: str,
    name: str,
    spec: dict[str, Any],
    status: dict[str, Any],
    *,
    is_ready: bool = True,
) -> None:
    found = kinds.BY_NAME[kind]
    body = {
        "apiVersion": found.gvk.api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
    await client.create(found.resource, NAMESPACE, orjson.dumps(body), manager="bench")
    ready = {
        "type": "Ready",
        "status": "True" if is_ready else "False",
        "reason": "ReconciliationSucceeded" if is_ready else "BuildFailed",
        "message": f"Applied revision: main@sha1:{_SHA}" if is_ready else "kustomize build failed",
        "lastTransitionTime": "2026-01-02T12:00:00Z",
        "observedGeneration": 1,
    }
    patch = orjson.dumps({"status": status | {"conditions": [ready], "observedGeneration": 1}})
    await client.patch(
        found.resource, NAMESPACE, name, patch, manager="bench", subresource="status"
    )


if __name__ == "__main__":
    sys.exit(main())
