"""The composition root: builds the process's services, runs them, and takes them down in stages."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import api
from daemon import (
    background,
    control,
    datadir,
    fleet,
    memory,
    notify_systemd,
    reload,
    report,
    server,
    shared,
    shutdown,
    webhooks,
)
from runtime import clock, limits, metrics, supervisor
from sources import git, gitpack
from sources.helm import repositories
from sources.oci import client

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings
    from reconcilers.context import Tools

logger = logging.getLogger(__name__)

STOP_INTAKE_S = 2.0
DRAIN_S = 20.0
CANCEL_S = 5.0
CLOSE_S = 3.0
QUICK_THREADS = 2
"""Threads for short blocking work: reading and writing builds, artifacts and baselines."""


class App:
    """One daemon.

    Args:
        config: the file that ``settings`` were read from; read again on a signal and on change.
        settings: the settings to start with.
        programs: what `tools.look` found.
    """

    def __init__(self, config: Path, settings: Settings, programs: tuple[Tools, str]) -> None:
        self._settings = settings
        self._programs = programs
        self._clock = clock.SystemClock()
        self._rng = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._metrics = metrics.Metrics()
        self._started = clock.rfc3339(self._clock.now())
        self._shutdown = shutdown.Shutdown()
        self._reload = reload.Reload(config, settings)
        self._fleet: fleet.Fleet | None = None
        self._artifacts = server.Listener(
            "artifacts",
            settings.listen.artifacts,
            server.artifacts_app(settings.data_dir / "artifacts"),
        )
        self._observed = server.Listener(
            "metrics",
            settings.listen.metrics,
            server.metrics_app(self._metrics.registry, self._health),
        )
        self._webhooks: server.Listener | None = None

    async def run(self) -> None:
        """Serve until a signal asks for the end, then stop in stages.

        The caller holds the data directory.

        Raises:
            ListenError: an address cannot be bound.
            ControlError: the control socket cannot be bound.
        """
        async with AsyncExitStack() as stack:
            services = await self._services(stack)
            children = supervisor.Supervisor(self._clock, self._rng, self._metrics)
            self._fleet = fleet.Fleet(services, children)
            await self._open_listeners(stack, self._fleet)
            async with children:
                await self._serve(children, self._fleet)

    async def _services(self, stack: AsyncExitStack) -> shared.Shared:
        """Build what all clusters share, and open the artifacts' listener, whose URL they need.

        Git has threads of its own: they wait for the network, and nothing quick may wait for them.
        """
        settings = self._settings
        threads, slow = limits.Threads(QUICK_THREADS), limits.Threads(settings.limits.threads)
        processes = limits.Processes(self._metrics, settings.processes)
        folder, bounds = settings.data_dir / "git", _git_limits(settings)
        fetcher = git.GitFetcher(folder, slow, processes, self._clock, bounds)
        stack.callback(fetcher.close)  # after its threads, which the stack ends before
        for each in (threads, slow):
            stack.push_async_callback(each.aclose)
        registries = client.Registries(slow, self._clock)
        stack.push_async_callback(registries.aclose)
        charts = repositories.Repositories(
            settings.data_dir / "charts", slow, processes, self._clock
        )
        stack.push_async_callback(charts.aclose)
        found, complaint = self._programs
        if complaint:
            logger.warning("a tool is missing", extra={"reason": complaint})
        await self._artifacts.open()
        stack.push_async_callback(self._artifacts.close)
        return shared.Shared(
            clock=self._clock,
            rng=self._rng,
            metrics=self._metrics,
            threads=threads,
            processes=processes,
            git=fetcher,
            oci=registries,
            charts=charts,
            tools=found,
            limits=settings.limits,
            data_dir=settings.data_dir,
            artifacts_url=settings.listen.artifacts_url or f"http://{self._artifacts.bound}",
            identity=await threads.run(datadir.identity, settings.data_dir),
            github_app=self._reload.github_app,
            age_key=self._reload.age_key,
            machine=shared.this_machine(fetcher.contexts, threads, self._clock),
        )

    async def _open_listeners(self, stack: AsyncExitStack, clusters: fleet.Fleet) -> None:
        """Open every other listener."""
        hooks = webhooks.Webhooks(
            clusters, github_secret=self._reload.github_secret, clock=self._clock
        )
        self._webhooks = server.Listener(
            "webhooks", self._settings.listen.webhooks, hooks.application()
        )
        local = control.Control(
            self._settings.control_socket, self._report, self._reload.ask, clusters.drifts
        )
        for each in (self._webhooks, self._observed, local):
            await each.open()
            stack.push_async_callback(each.close)

    async def _serve(self, children: supervisor.Supervisor, clusters: fleet.Fleet) -> None:
        """Start the clusters, wait for the end, and run the stages of the stop."""
        self._handle_signals()
        memory.freeze()
        await clusters.apply(self._settings.clusters)
        children.start("settings", partial(self._reload.follow, clusters))
        children.start("memory", partial(background.keep_small, clusters.is_idle))
        children.start("watchdog", background.feed_watchdog)
        self._announce()
        await self._shutdown.requested.wait()
        logger.info("stopping", extra={"reason": self._shutdown.reason})
        notify_systemd.send("STOPPING=1")
        await self._shutdown.run(self._stages(children, clusters))

    def _stages(
        self, children: supervisor.Supervisor, clusters: fleet.Fleet
    ) -> tuple[shutdown.Stage, ...]:
        """Return the stages of a stop."""

        async def stop_intake() -> None:
            clusters.stop_intake()
            await children.stop("settings")
            if self._webhooks:
                await self._webhooks.close()

        async def close() -> None:
            for name in ("memory", "watchdog"):
                await children.stop(name)

        return (
            shutdown.Stage("stop intake", STOP_INTAKE_S, stop_intake),
            shutdown.Stage("drain workers", DRAIN_S, partial(clusters.drain, DRAIN_S - 1)),
            shutdown.Stage("cancel", CANCEL_S, clusters.stop),
            shutdown.Stage("close", CLOSE_S, close),
        )

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._shutdown.request, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._reload.ask)

    def _announce(self) -> None:
        """Say that the daemon is up: to the log and to systemd."""
        logger.info(
            "started",
            extra={
                "version": api.__version__,
                "clusters": len(self._settings.clusters),
                **self._bound(),
            },
        )
        if not self._settings.clusters:
            logger.warning("no [[clusters]] in the settings: there is nothing to do yet")
        notify_systemd.send(f"READY=1\nSTATUS={len(self._settings.clusters)} clusters")

    def _bound(self) -> dict[str, str]:
        """Return the listeners that are open, by their key in the settings."""
        listeners = (self._webhooks, self._artifacts, self._observed)
        return {each.key: each.bound for each in listeners if each and each.bound}

    def _health(self) -> server.Health:
        if self._fleet is None:
            return server.Health(is_ready=False, text="starting")
        return self._fleet.health()

    def _report(self) -> report.Report:
        return report.Report(
            version=api.__version__,
            pid=os.getpid(),
            started=self._started,
            memory_bytes=memory.resident_bytes(),
            config=str(self._reload.path),
            config_error=self._reload.error,
            listeners=self._bound(),
            clusters=self._fleet.reports() if self._fleet else (),
        )


def _git_limits(settings: Settings) -> gitpack.Limits:
    """Return what one Git repository may cost."""
    found = settings.limits
    return gitpack.Limits(
        found.git_objects, found.git_megabytes << 20, found.git_file_megabytes << 20
    )
