"""What the clusters themselves tell, for ``gitopsd status`` where no daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import access
from daemon import kinds, report
from inspection import objects
from kube import errors
from kube.connection import AuthError

if TYPE_CHECKING:
    import argparse

    from daemon.settings import Cluster


def states(args: argparse.Namespace) -> tuple[report.ClusterState, ...]:
    """Ask every cluster that a command line means.

    Raises:
        failure.UsageError: no cluster has the name that was given.
    """
    return tuple(_ask(cluster) for cluster in access.chosen(args))


def _ask(cluster: Cluster) -> report.ClusterState:
    """Return what the API server tells of a cluster."""
    try:
        rows = access.run(_rows(cluster))
    except (errors.ApiError, AuthError) as err:
        return report.ClusterState(name=cluster.name, state="away", message=str(err))
    return report.ClusterState(name=cluster.name, state="not served", rows=rows)


async def _rows(cluster: Cluster) -> tuple[report.Row, ...]:
    async with access.client(cluster) as client:
        return tuple(
            [
                row
                for kind in kinds.ALL
                for row in await objects.rows(client, kind, cluster.namespace)
            ]
        )
