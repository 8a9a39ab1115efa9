"""A cluster's context for one question: the daemon's own parts, with disposable folders.

No informer and no watch runs. What is built here is the daemon's build.
"""

from __future__ import annotations

import random
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import reload, shared, tools, wiring
from inspection import clusters, failure
from runtime import clock, limits, metrics, supervisor
from sources import git
from sources.helm.repositories import Repositories
from sources.oci.client import Registries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.settings import Cluster, Settings
    from reconcilers.context import ClusterContext


@asynccontextmanager
async def opened(file: Path, settings: Settings, cluster: Cluster) -> AsyncIterator[ClusterContext]:
    """Open a cluster; its folders are removed at the end, with what Secrets a build held.

    Args:
        file: the configuration file.
        settings: what it says.
        cluster: one of its clusters.

    Raises:
        failure.CommandError: there is no place for temporary files.
    """
    async with AsyncExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitopsd-")))
        except OSError as err:
            raise failure.CommandError(
                f"no temporary directory: {err}; set TMPDIR to one that is writable"
            ) from err
        client = await stack.enter_async_context(clusters.client(cluster))
        time, counters, threads = clock.SystemClock(), metrics.Metrics(), limits.Threads()
        processes = limits.Processes(counters, settings.processes)
        fetcher = git.GitFetcher(folder / "git", threads, processes, time)
        stack.callback(fetcher.close)
        stack.push_async_callback(threads.aclose)
        registries = Registries(threads, time)
        stack.push_async_callback(registries.aclose)
        charts = Repositories(folder / "charts", threads, processes, time)
        stack.push_async_callback(charts.aclose)
        found, _ = await tools.look(settings)
        current = reload.Reload(file, settings)
        services = shared.Shared(
            clock=time,
            rng=random.Random(),  # noqa: S311 - spreads load, guards nothing
            metrics=counters,
            threads=threads,
            processes=processes,
            git=fetcher,
            oci=registries,
            charts=charts,
            tools=found,
            limits=settings.limits,
            data_dir=folder,
            artifacts_url="",
            identity="",
            github_app=current.github_app,
            age_key=current.age_key,
            machine=shared.this_machine(fetcher.contexts, threads, time),
        )
        context = wiring.build(cluster, services, client)
        context.data_dir.mkdir(parents=True, mode=0o700)
        await stack.enter_async_context(_reaching_out(context, services.rng))
        yield context


@asynccontextmanager
async def _reaching_out(context: ClusterContext, rng: random.Random) -> AsyncIterator[None]:
    """Let the context open the clusters that ``spec.kubeConfig`` names."""
    try:
        async with supervisor.Supervisor(context.clock, rng, context.metrics) as children:
            children.start("remote clusters", context.remotes.run)
            yield
    except ExceptionGroup as group:  # of the one thing that the block raised
        raise group.exceptions[0] from None
