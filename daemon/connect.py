"""From a cluster's settings to a connection: the one place that the daemon and the CLI share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube import auth

if TYPE_CHECKING:
    from daemon.settings import Cluster
    from kube.auth import Connection


async def connect(cluster: Cluster) -> Connection:
    """Read a cluster's kubeconfig or the pod's ServiceAccount. Reads files; opens no connection.

    Raises:
        AuthError: the kubeconfig is missing or cannot be used.
    """
    if cluster.in_cluster:
        return await auth.in_cluster(directory=cluster.service_account or auth.SERVICE_ACCOUNT)
    return await auth.load(cluster.kubeconfig, cluster.context or None)
