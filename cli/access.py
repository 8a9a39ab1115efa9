"""How commands reach clusters: which one is meant, a client for it, and errors for people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from cli import settings
from inspection import clusters, failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from daemon.settings import Cluster
    from kube.client import Client

T = TypeVar("T")


def chosen(args: argparse.Namespace) -> tuple[Cluster, ...]:
    """Return the clusters that a command line means: the one it names, else all.

    Raises:
        failure.UsageError: there is none of that name, or none at all.
    """
    return clusters.named(settings.load(args), args.cluster, str(settings.path(args)))


def the_one(args: argparse.Namespace) -> Cluster:
    """Return the one cluster that a command line means.

    Raises:
        failure.UsageError: it names none and there are several.
    """
    found = chosen(args)
    if len(found) > 1:
        known = ", ".join(each.name for each in found)
        raise failure.UsageError(f"say which cluster with --cluster: {known}")
    return found[0]


def client(cluster: Cluster) -> AbstractAsyncContextManager[Client]:
    """Open a client for a cluster."""
    return clusters.client(cluster)


def explained(cluster: Cluster) -> AbstractContextManager[None]:
    """Turn what an API server or a kubeconfig refuses into a line that names the cluster.

    Raises:
        failure.CommandError: in place of it.
    """
    return clusters.explained(cluster.name)


def run(main: Coroutine[object, object, T]) -> T:
    """Run a command's asynchronous part."""
    return asyncio.run(main)
