"""How commands reach clusters: which one is meant, a client for it, and errors for people."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from cli import failure, settings
from daemon import connect
from kube import errors
from kube.client import Client
from kube.connection import AuthError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from daemon.settings import Cluster

T = TypeVar("T")


def chosen(args: argparse.Namespace) -> tuple[Cluster, ...]:
    """Return the clusters that a command line means: the one it names, else all.

    Raises:
        failure.UsageError: there is none of that name, or none at all.
    """
    clusters = settings.load(args).clusters
    if not clusters:
        raise failure.UsageError(f"{settings.path(args)} has no [[clusters]]")
    if not args.cluster:
        return clusters
    named = tuple(each for each in clusters if each.name == args.cluster)
    if not named:
        known = ", ".join(each.name for each in clusters)
        raise failure.UsageError(f"no cluster is named {args.cluster!r}; known: {known}")
    return named


def the_one(args: argparse.Namespace) -> Cluster:
    """Return the one cluster that a command line means.

    Raises:
        failure.UsageError: it names none and there are several.
    """
    clusters = chosen(args)
    if len(clusters) > 1:
        known = ", ".join(each.name for each in clusters)
        raise failure.UsageError(f"say which cluster with --cluster: {known}")
    return clusters[0]


@asynccontextmanager
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    """Open a client for a cluster."""
    async with Client(
        await connect.connect(cluster), cluster=cluster.name, user_agent="gitopsd-cli"
    ) as opened:
        yield opened


@contextmanager
def explained(cluster: Cluster) -> Iterator[None]:
    """Turn what an API server or a kubeconfig refuses into a line that names the cluster.

    Raises:
        failure.CommandError: in place of it.
    """
    try:
        yield
    except (errors.ApiError, AuthError) as err:
        raise failure.CommandError(f"cluster {cluster.name}: {err}") from err


def run(main: Coroutine[object, object, T]) -> T:
    """Run a command's asynchronous part."""
    return asyncio.run(main)
