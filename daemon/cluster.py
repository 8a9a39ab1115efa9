"""One cluster from connection to shutdown: a supervised child that harms no other.

connect -> CRDs -> caches -> leadership of each component -> pulse. Whatever fails before the pulse
raises, and the supervisor connects anew after a back-off. Afterwards the caches mend themselves;
the pulse notices that the API server is away, says so, and wakes everything when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from api import meta
from daemon import connect, instance_manifest, kinds, leadership, preparation, report, wiring
from daemon.engine import Engine
from kube import errors
from kube.client import Client
from kube.connection import AuthError
from runtime import logs
from runtime.clock import rfc3339
from runtime.errors import TransientError
from runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon import settings
    from daemon.shared import Shared

logger = logging.getLogger(__name__)

PULSE_S = 5.0
"""Seconds between two looks at whether the API server answers."""
AWAY = "away"
CONNECTING = "connecting"
SYNCING = "syncing"
SYNCED = "synced"


class _Version(meta.Struct, frozen=True, kw_only=True):
    git_version: str = ""


class ManagedCluster:
    """One of ``[[clusters]]``.

    Args:
        settings: what ``config.toml`` says of it.
        shared: the process's services.
        on_synced: called whenever the cluster answers and everything in it is known.
    """

    def __init__(
        self, settings: settings.Cluster, shared: Shared, on_synced: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.engine: Engine | None = None
        """What runs while the cluster is connected."""
        self._shared, self._on_synced = shared, on_synced
        self._leaders: dict[str, leadership.Leadership] = {}
        self._server = self._version = self._message = ""
        self._state = CONNECTING
        self._since = rfc3339(shared.clock.now())
        self._is_stopping = False

    async def run(self) -> None:
        """Serve the cluster until cancelled.

        Raises:
            TransientError: it cannot be reached or prepared; to be started again.
        """
        with logs.bind(cluster=self.name):
            try:
                await self._serve()
            except Exception as raised:
                error = _root(raised)
                self._turn(AWAY, str(error) or type(error).__name__)
                if isinstance(error, (errors.ApiError, AuthError)):
                    raise TransientError("ClusterUnreachable", str(error)) from error
                raise error from raised
            finally:
                self.engine = None
                self._leaders = {}

    async def _serve(self) -> None:
        """Connect, build the engine, and run it."""
        if self._state != AWAY:
            self._turn(CONNECTING)
        connection = await connect.connect(self.settings)
        self._server = connection.server
        shared = self._shared
        async with Client(
            connection,
            cluster=self.name,
            metrics=shared.metrics,
            max_connections=shared.limits.requests,
        ) as client:
            version = await client.get_raw("/version")
            self._version = msgspec.json.decode(version, type=_Version).git_version
            await preparation.prepare(client, self.settings, shared.threads)
            folder = shared.cluster_dir(self.name)
            await shared.threads.run(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
            self._turn(SYNCING)
            async with Supervisor(shared.clock, shared.rng, shared.metrics) as children:
                await self._engage(client, children)

    async def _engage(self, client: Client, children: Supervisor) -> None:
        """Run the engine and hold the Leases until cancelled."""
        context = wiring.build(self.settings, self._shared, client)
        self.engine = engine = Engine(context, self._shared, children)
        engine.start()
        children.start(f"{self.name}: events", partial(wiring.record, context, engine.is_crowded))
        await engine.synced()
        self._lead(client, engine, children)
        self._turn(SYNCED)
        logger.info("cluster is served", extra={"server": self._server, "version": self._version})
        try:
            await self._pulse(client, engine)
        finally:
            await self._release(children)

    def _lead(self, client: Client, engine: Engine, children: Supervisor) -> None:
        """Start to compete for the kinds of each component."""
        namespace = self.settings.namespace or instance_manifest.NAMESPACE
        for component in kinds.COMPONENTS:
            leader = leadership.Leadership(component, client, engine, self._shared, namespace)
            self._leaders[component.name] = leader
            children.start(f"{self.name}: lease of {component.name}", leader.run)

    async def _release(self, children: Supervisor) -> None:
        """Stop competing and give the Leases back, so that a successor need not wait."""
        for leader in self._leaders.values():
            await children.stop(f"{self.name}: lease of {leader.component.name}")
        if self._state == AWAY:
            return
        try:
            async with asyncio.timeout(leadership.RELEASE_S), asyncio.TaskGroup() as tasks:
                for leader in self._leaders.values():
                    tasks.create_task(leader.release(), name=f"release {leader.component.lease}")
        except (TimeoutError, ExceptionGroup):
            logger.warning("leases are not released; they expire by themselves")

    async def _pulse(self, client: Client, engine: Engine) -> None:
        """Look again and again whether the API server answers.

        Raises:
            errors.Unauthorized: the credentials are refused, also after they were renewed.
        """
        while True:
            try:
                await client.get_raw("/readyz")
            except errors.Unauthorized:
                raise
            except errors.ApiError as error:
                if self._state != AWAY:
                    logger.warning("cluster is away", extra={"error": str(error)})
                self._turn(AWAY, str(error))
                await self._look_elsewhere()
            else:
                if self._state == AWAY:
                    logger.info("cluster is back")
                    engine.wake_all("the API server is back")
                self._turn(SYNCED)
            await asyncio.sleep(PULSE_S)

    async def _look_elsewhere(self) -> None:
        """Connect anew where the kubeconfig names another server by now: a VM was started again.

        Raises:
            TransientError: it does.
        """
        server = (await connect.connect(self.settings)).server
        if server != self._server:
            raise TransientError("ServerMoved", f"{self.name}: the kubeconfig names {server} now")

    def _turn(self, state: str, message: str = "") -> None:
        """Note how the cluster stands."""
        if state != self._state:
            self._since = rfc3339(self._shared.clock.now())
            if state == SYNCED:
                self._on_synced()
        self._state, self._message = state, message
        self._shared.metrics.cluster_up.labels(self.name).set(state == SYNCED)

    # What it tells ------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether it is synced, or away: what cannot be reached keeps nobody from being ready."""
        return self._state in {SYNCED, AWAY}

    @property
    def state(self) -> str:
        """``connecting``, ``syncing``, ``synced`` or ``away``."""
        return self._state

    def snapshot(self) -> report.ClusterState:
        """Return what there is to say of the cluster."""
        engine = self.engine
        fault = engine.fault() if engine and self._state != AWAY else ""
        return report.ClusterState(
            name=self.name,
            state=self._state,
            message=fault or self._message,
            since=self._since,
            server=self._server,
            version=self._version,
            kinds=tuple(self._kind(kind) for kind in kinds.ALL if kind.is_reconciled)
            if engine
            else (),
            watches=report.watches(engine.context) if engine else {},
            rows=engine.rows() if engine else (),
        )

    def _kind(self, kind: kinds.Kind) -> report.KindState:
        leader = self._leaders.get(kind.component)
        standing = leader.standing if leader else leadership.UNDECIDED
        queued, active = self.engine.load(kind) if self.engine else (0, 0)
        return report.KindState(
            kind=kind.name,
            mode=standing.mode,
            reason=standing.reason,
            queued=queued,
            active=active,
        )


def _root(error: Exception) -> Exception:
    """Return the one error inside a task group's wrapping, or the error itself."""
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return _root(error.exceptions[0])
    return error
