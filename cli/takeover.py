"""``gitopsd takeover``: take a cluster over from Flux's own controllers, or hand it back."""

from __future__ import annotations

import getpass
import shlex
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from api import meta
from cli import access, options
from daemon import instance_manifest, kinds
from kube import errors, lease
from kube.objects import GVK, Resource
from runtime import clock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from daemon.kinds import Component
    from daemon.settings import Cluster
    from kube.client import Client

_DEPLOYMENTS = Resource(GVK("apps", "v1", "Deployment"), "deployments", is_namespaced=True)
_OTHERS = ("helm-controller", "image-reflector-controller", "image-automation-controller")
"""Controllers of Flux whose kinds this version does not reconcile; they may go on running."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--undo", action="store_true", help="hand back what was taken over")
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Order or undo the takeover of one cluster and say what is left to do."""
    cluster = access.the_one(args)
    with access.explained(cluster):
        access.run(_undo(cluster) if args.undo else _take(cluster))
    return 0


async def _take(cluster: Cluster) -> None:
    """Order the takeover of every component, and print how to scale Flux down."""
    namespace = _namespace(cluster)
    now = clock.rfc3339(clock.SystemClock().now())
    order = f"{getpass.getuser()}@{socket.gethostname()} {now}"
    async with access.client(cluster) as client:
        for component in kinds.COMPONENTS:
            await _order(client, namespace, component, order)
            served = ", ".join(kind.name for kind in component.kinds)
            print(f"✔ {served}: the daemon takes Lease {namespace}/{component.lease}")
        names = [component.name for component in kinds.COMPONENTS]
        running = [name for name in names if await _runs(client, namespace, name)]
        staying = [name for name in _OTHERS if await _runs(client, namespace, name)]
    if running:
        print("\nFlux's controllers now wait for their Leases. Scale them down to stay away:\n")
        print(f"  {_scale(cluster, namespace, running, 0)}")
    if staying:
        print(f"\nNot served by this version, so leave running: {', '.join(staying)}")
    print("\nThe daemon begins within seconds; see `gitopsd status`.")


async def _undo(cluster: Cluster) -> None:
    """Take the order back, and print how to scale Flux up."""
    namespace = _namespace(cluster)
    async with access.client(cluster) as client:
        for component in kinds.COMPONENTS:
            with suppress(errors.NotFound):
                await _lease(client, namespace, component).order_takeover("")
    names = [component.name for component in kinds.COMPONENTS if component.is_switchable]
    print("✔ the order is taken back. The daemon gives each Lease up when Flux runs again:\n")
    print(f"  {_scale(cluster, namespace, names, 1)}")


async def _order(client: Client, namespace: str, component: Component, order: str) -> None:
    """Annotate a component's Lease; one that is not there is made, held by nobody."""
    try:
        await _lease(client, namespace, component).order_takeover(order)
    except errors.NotFound:
        manifest = {
            "apiVersion": lease.RESOURCE.gvk.api_version,
            "kind": lease.RESOURCE.gvk.kind,
            "metadata": {
                "name": component.lease,
                "namespace": namespace,
                "annotations": {lease.TAKEOVER: order},
            },
            "spec": {"holderIdentity": ""},
        }
        await client.create(
            lease.RESOURCE, namespace, orjson.dumps(manifest), manager=meta.DAEMON_MANAGER
        )


async def _runs(client: Client, namespace: str, component: str) -> bool:
    """Tell whether a controller of Flux is asked for in the cluster."""
    try:
        found = await client.get(_DEPLOYMENTS, namespace, component)
    except errors.NotFound:
        return False
    return int(found["spec"].get("replicas", 1)) > 0


def _lease(client: Client, namespace: str, component: Component) -> lease.Lease:
    return lease.Lease(client, namespace, component.lease, identity="", clock=clock.SystemClock())


def _namespace(cluster: Cluster) -> str:
    return cluster.namespace or instance_manifest.NAMESPACE


def _scale(cluster: Cluster, namespace: str, names: Sequence[str], replicas: int) -> str:
    """Return the command that scales controllers of this cluster."""
    words = ["kubectl"]
    if cluster.kubeconfig:
        words += ["--kubeconfig", str(cluster.kubeconfig)]
    if cluster.context:
        words += ["--context", cluster.context]
    words += ["-n", namespace, "scale", "deployment", *names, f"--replicas={replicas}"]
    return shlex.join(words)
