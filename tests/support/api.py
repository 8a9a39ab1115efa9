"""A client for a test's cluster, and a clock that a test moves.

::

    async with api.client(cluster.kubeconfig) as client:
        await client.apply(...)
"""

from __future__ import annotations

import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson

from kube import auth
from kube.client import Client
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kube.objects import JsonObject
    from runtime.metrics import Metrics

CONFIG_MAPS = Resource(GVK("", "v1", "ConfigMap"), "configmaps", is_namespaced=True)
NAMESPACES = Resource(GVK("", "v1", "Namespace"), "namespaces", is_namespaced=False)
WAIT_S = 60.0
"""How long anything may take before a test fails: no measure of speed, the machine may be busy."""


class ManualClock:
    """A `runtime.clock.Clock` that stands still until it is moved."""

    def __init__(self) -> None:
        self._moved_s = 0.0

    def move(self, seconds: float) -> None:
        """Go forward."""
        self._moved_s += seconds

    def monotonic(self) -> float:
        """Return 1000 seconds and what it was moved by."""
        return 1000.0 + self._moved_s

    def now(self) -> dt.datetime:
        """Return a moment in 2026 and what it was moved by."""
        return dt.datetime(2026, 1, 2, tzinfo=dt.UTC) + dt.timedelta(seconds=self._moved_s)


@asynccontextmanager
async def client(
    kubeconfig: Path, *, name: str = "test", metrics: Metrics | None = None
) -> AsyncIterator[Client]:
    """Open a client for the current context of a kubeconfig."""
    connection = await auth.load(kubeconfig, None)
    async with Client(connection, cluster=name, metrics=metrics) as opened:
        yield opened


def config_map(namespace: str, name: str, **data: str) -> JsonObject:
    """Return a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


async def put(client: Client, namespace: str, name: str, **data: str) -> JsonObject:
    """Apply a ConfigMap as somebody called ``test`` and return it."""
    body = orjson.dumps(config_map(namespace, name, **data))
    applied = await client.apply(CONFIG_MAPS, body, namespace, name, manager="test")
    obj: JsonObject = orjson.loads(applied.raw)
    return obj
