"""All clusters: started, changed and stopped one by one; to webhooks and status they are one."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from daemon import cluster, server
from reconcilers import receiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from api.meta import ObjectRef
    from api.source import GitRepository
    from daemon import report, settings, webhooks
    from daemon.shared import Shared
    from runtime.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Fleet:
    """Every cluster of the settings; what incoming webhooks can reach (`webhooks.Targets`).

    Args:
        shared: the process's services.
        supervisor: runs each cluster as a child that restarts by itself.
    """

    def __init__(self, shared: Shared, supervisor: Supervisor) -> None:
        self._shared, self._supervisor = shared, supervisor
        self._clusters: dict[str, cluster.ManagedCluster] = {}

    async def apply(self, wanted: Sequence[settings.Cluster]) -> None:
        """Make the running clusters those of the settings: new ones start, changed ones restart."""
        by_name = {each.name: each for each in wanted}
        for name, present in tuple(self._clusters.items()):
            if by_name.get(name) != present.settings:
                await self._remove(name, is_forgotten=name not in by_name)
        for name, each in by_name.items():
            if name not in self._clusters:
                self._add(each)

    def retry(self) -> None:
        """Try the clusters that back off at once: something outside may have been mended."""
        for name in self._clusters:
            self._supervisor.retry_now(_child(name))

    def stop_intake(self) -> None:
        """Start no further reconcile in any cluster. Final."""
        for each in self._clusters.values():
            if each.engine:
                each.engine.stop_intake()

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is under way in every cluster, and cancel what is left."""
        async with asyncio.TaskGroup() as tasks:
            for each in self._clusters.values():
                if each.engine:
                    tasks.create_task(each.engine.drain(timeout_s), name=f"drain {each.name}")

    async def stop(self) -> None:
        """Stop every cluster; their Leases are given back."""
        async with asyncio.TaskGroup() as tasks:
            for name in self._clusters:
                tasks.create_task(self._supervisor.stop(_child(name)), name=f"stop {name}")
        self._clusters.clear()

    def _add(self, wanted: settings.Cluster) -> None:
        child = _child(wanted.name)
        added = self._clusters[wanted.name] = cluster.ManagedCluster(
            wanted, self._shared, partial(self._supervisor.healthy, child)
        )
        self._supervisor.start(child, added.run)
        logger.info("cluster added", extra={"cluster": wanted.name})

    async def _remove(self, name: str, *, is_forgotten: bool) -> None:
        await self._supervisor.stop(_child(name))
        del self._clusters[name]
        if is_forgotten:
            self._shared.metrics.forget_cluster(name)
        logger.info("cluster stopped", extra={"cluster": name})

    # What webhooks reach ------------------------------------------------------------------------

    def repositories(self) -> Iterator[tuple[str, GitRepository]]:
        """Yield every GitRepository with the name of its cluster."""
        for each in self._clusters.values():
            if each.engine:
                for source in each.engine.context.gitrepositories.items():
                    yield each.name, source

    def endpoints(self) -> Iterator[webhooks.Endpoint]:
        """Yield every Receiver of every cluster."""
        for each in self._clusters.values():
            if each.engine:
                for found in each.engine.context.receivers.items():
                    yield receiver.Endpoint(each.engine.context, found)

    def wake(self, ref: ObjectRef, cause: str) -> None:
        """Queue an object for reconciliation in its cluster."""
        found = self._clusters.get(ref.cluster)
        if found and found.engine:
            found.engine.wake(ref, cause)

    # What it tells ------------------------------------------------------------------------------

    def reports(self) -> tuple[report.ClusterState, ...]:
        """Return the state of every cluster, in the order of the settings."""
        return tuple(each.snapshot() for each in self._clusters.values())

    def drifts(self) -> tuple[report.Correction, ...]:
        """Return the last drifts of every cluster, the oldest of each first."""
        engines = [each.engine for each in self._clusters.values() if each.engine]
        return tuple(found for engine in engines for found in engine.journal)

    def health(self) -> server.Health:
        """Tell whether every cluster that can be reached is synced."""
        waiting = [each for each in self._clusters.values() if not each.is_ready]
        text = "\n".join(f"{each.name}: {each.state}" for each in waiting)
        return server.Health(is_ready=not waiting, text=text or "ok")

    def is_idle(self) -> bool:
        """Tell whether nothing waits or runs in any cluster."""
        return all(
            each.engine.is_idle() for each in self._clusters.values() if each.engine is not None
        )


def _child(name: str) -> str:
    """Return the name of a cluster's child."""
    return f"cluster {name}"
