"""Clusters served inside the test's own process, as the daemon serves them, without its listeners.

::

    async with served.fleet(tmp_path, settings.Cluster(name="home", kubeconfig=path)) as home:
        await served.until(lambda: home.mode("Kustomization") == "reconciling")
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from daemon import datadir, settings, shared
from daemon.fleet import Fleet
from reconcilers.context import Tools
from runtime.clock import SystemClock
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from runtime.supervisor import Supervisor
from sources.git import GitFetcher
from sources.helm.repositories import Repositories
from sources.oci.client import Registries
from tests.support import api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from daemon import report


class Served:
    """A fleet and short ways to ask it."""

    def __init__(self, fleet: Fleet, services: shared.Shared, supervisor: Supervisor) -> None:
        self.fleet, self.shared, self.supervisor = fleet, services, supervisor

    def state(self, name: str = "home") -> report.ClusterState:
        """Return what the fleet says of a cluster."""
        return next(each for each in self.fleet.reports() if each.name == name)

    def kind(self, kind: str, name: str = "home") -> report.KindState | None:
        """Return what is done with a kind, None before anything is."""
        return next((each for each in self.state(name).kinds if each.kind == kind), None)

    def mode(self, kind: str, name: str = "home") -> str:
        """Return the mode of a kind, empty before it has one."""
        found = self.kind(kind, name)
        return found.mode if found else ""

    def ready(self, kind: str, namespace: str, object_: str, name: str = "home") -> str:
        """Return the Ready status of an object, empty where the cache has none of that name."""
        wanted = (kind, namespace, object_)
        rows = self.state(name).rows
        return next(
            (each.ready for each in rows if (each.kind, each.namespace, each.name) == wanted), ""
        )


@asynccontextmanager
async def fleet(directory: Path, *clusters: settings.Cluster) -> AsyncIterator[Served]:
    """Serve clusters for the time of the block; leaving it stops them as a daemon's stop does."""
    identity = await asyncio.to_thread(_prepare, directory)
    clock, rng, metrics, threads = SystemClock(), random.Random(7), Metrics(), Threads(2)
    processes = Processes(metrics)
    services = shared.Shared(
        clock=clock,
        rng=rng,
        metrics=metrics,
        threads=threads,
        processes=processes,
        git=GitFetcher(directory / "git", threads, processes, clock),
        oci=Registries(threads, clock),
        charts=Repositories(directory / "charts", threads, processes, clock),
        tools=Tools(),
        limits=settings.Limits(),
        data_dir=directory,
        artifacts_url="http://127.0.0.1:1",
        identity=identity,
    )
    try:
        async with Supervisor(clock, rng, metrics) as children:
            served = Served(Fleet(services, children), services, children)
            await served.fleet.apply(clusters)
            yield served
            await served.fleet.stop()
    finally:
        await services.oci.aclose()
        await services.charts.aclose()
        await threads.aclose()
        services.git.close()


def _prepare(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    return datadir.identity(directory)


async def until(is_so: Callable[[], bool]) -> None:
    """Return once something is so.

    Raises:
        TimeoutError: it does not become so.
    """
    async with asyncio.timeout(api.WAIT_S):
        while not is_so():  # noqa: ASYNC110 - what is asked is state, which sets no event
            await asyncio.sleep(0.02)
