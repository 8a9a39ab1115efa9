"""The logs of a workload's pods, for ``gitopsd logs KIND/NAME``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from cli import access, options
from inspection import failure, named, podlogs
from kube.discovery import Discovery
from runtime import clock

if TYPE_CHECKING:
    import argparse

    from daemon.settings import Cluster


async def read(cluster: Cluster, args: argparse.Namespace) -> list[str]:
    """Return the last lines of every container of a workload, each with its name before it.

    Raises:
        failure.CommandError: the workload is not there, or has no pods.
    """
    kind, name = options.object_of(args.what)
    namespace = args.namespace or meta.NAMESPACE
    async with access.client(cluster) as client:
        discovery = Discovery(client, clock.SystemClock())
        body = await named.read(client, discovery, kind, name, namespace)
        pods = await podlogs.pods_of(client, body)
        texts = []
        for pod in pods:
            for container in podlogs.containers(pod):
                if args.container and container != args.container:
                    continue
                pod_name = pod["metadata"]["name"]
                try:
                    found = await podlogs.read(
                        client,
                        namespace,
                        pod_name,
                        container,
                        lines=args.tail or _ALL,
                        previous=args.previous,
                    )
                except failure.CommandError as err:
                    texts.append(f"[{pod_name} {container}] {err}")
                    continue
                texts += [f"[{pod_name} {container}] {line}" for line in found.text.splitlines()]
    if not texts:
        raise failure.CommandError(f"{kind}/{name} in {namespace} has no pods that wrote anything")
    return texts


_ALL = 1_000_000
