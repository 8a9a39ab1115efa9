"""Which clusters are meant, and a client for each; the same for commands and the MCP server."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from daemon import connect
from inspection import failure
from kube import errors
from kube.client import Client
from kube.connection import AuthError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from daemon.settings import Cluster, Settings


def named(settings: Settings, name: str, origin: str = "config.toml") -> tuple[Cluster, ...]:
    """Return the cluster of a name; all of them for an empty one.

    Args:
        settings: which clusters there are.
        name: of ``[[clusters]]``.
        origin: how messages call the settings' file.

    Raises:
        failure.UsageError: there is none of that name, or none at all.
    """
    if not settings.clusters:
        raise failure.UsageError(f"{origin} has no [[clusters]]")
    if not name:
        return settings.clusters
    found = tuple(each for each in settings.clusters if each.name == name)
    if not found:
        known = ", ".join(each.name for each in settings.clusters)
        raise failure.UsageError(f"no cluster is named {name!r}; known: {known}")
    return found


@asynccontextmanager
async def client(cluster: Cluster, user_agent: str = "gitopsd-cli") -> AsyncIterator[Client]:
    """Open a client for a cluster."""
    connection = await connect.connect(cluster)
    async with Client(connection, cluster=cluster.name, user_agent=user_agent) as opened:
        yield opened


@contextmanager
def explained(cluster: str) -> Iterator[None]:
    """Turn what an API server or a kubeconfig refuses into a line that names the cluster.

    Raises:
        failure.CommandError: in place of it.
    """
    try:
        yield
    except (errors.ApiError, AuthError) as err:
        raise failure.CommandError(f"cluster {cluster}: {err}") from err
