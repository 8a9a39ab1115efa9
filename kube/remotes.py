"""Other clusters, reached with credentials that somebody put into a cluster: opened once, shared.

Everybody who comes with the same credentials is given the same `Remote`: one connection, one set of
books, the same watches that a cluster of the settings has. It is opened for its first owner and
closed with its last one. One that is away says so at once, to its own owners alone, and wakes them
when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from kube import errors
from kube.apply import Applier
from kube.client import Client
from kube.discovery import Discovery
from kube.ownership import IDENTITIES, Identity
from kube.tracker import Tracker
from runtime.supervisor import Supervisor

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from api.meta import ObjectRef
    from kube.connection import Connection
    from kube.judgement import Drift
    from kube.objects import ObjectId
    from runtime.clock import Clock
    from runtime.limits import Threads
    from runtime.metrics import Metrics

logger = logging.getLogger(__name__)

PULSE_S: Final = 5.0
"""Seconds between two looks at whether a remote cluster answers."""
REACH_S: Final = 10.0
"""Seconds for which a new remote cluster may keep its first caller waiting."""


class Services(NamedTuple):
    """What every remote cluster uses of the process."""

    clock: Clock
    rng: random.Random
    metrics: Metrics
    threads: Threads
    directory: Path
    """Holds a disposable file of baselines for each."""
    max_connections: int = 32
    identities: Mapping[str, Identity] = IDENTITIES
    """How each kind of owner signs what it applies there."""


class Credentials(NamedTuple):
    """The way to a remote cluster."""

    name: str
    """What logs and metrics call the cluster."""
    key: str
    """Of their content: the same key, the same connection. Fit for the name of a file."""
    connect: Callable[[], Awaitable[Connection]]
    """Reads them; raises `AuthError`. Opens no connection."""
    advice: str = ""
    """What to do where the cluster does not take them."""


class Remote:
    """One remote cluster. Open while `run` runs.

    Args:
        credentials: the way there.
        connection: made from them.
        file: where the baselines are kept.
        services: the process's.
        on_return: called when it answers again after it did not.
    """

    def __init__(
        self,
        credentials: Credentials,
        connection: Connection,
        file: Path,
        services: Services,
        on_return: Callable[[Remote], None],
    ) -> None:
        clock, name = services.clock, credentials.name
        self.name = name
        self.fault = ""
        """Why it cannot be used at present; empty where it can, or nobody has looked yet."""
        self.client = Client(
            connection,
            cluster=name,
            metrics=services.metrics,
            max_connections=services.max_connections,
        )
        self.discovery = Discovery(self.client, clock)
        self.tracker = Tracker(
            self.client,
            self.discovery,
            clock=clock,
            metrics=services.metrics,
            threads=services.threads,
            file=file,
            rng=services.rng,
            identities=services.identities,
        )
        self.applier = Applier(self.client, self.discovery, self.tracker, clock)
        self.file = file
        self._services, self._on_return = services, on_return
        self._advice = credentials.advice
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Keep the connection, the books and the watches until cancelled."""
        services = self._services
        await services.threads.run(self.file.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
        async with (
            self.client,
            Supervisor(services.clock, services.rng, services.metrics) as children,
        ):
            children.start(f"{self.name}: tracker", self.tracker.run)
            await self._pulse()

    async def reached(self) -> None:
        """Return if the cluster answers; how it answered last is known without asking.

        Raises:
            Unreachable: it does not, or it refuses the credentials.
        """
        try:
            async with asyncio.timeout(REACH_S):
                await self._looked.wait()
        except TimeoutError:
            text = f"{self.client.server} did not answer in time"
            raise errors.Unreachable(text) from None
        if self.fault:
            raise errors.Unreachable(self.fault)

    async def _pulse(self) -> None:
        while True:
            was, self.fault = self.fault, await self._look()
            self._looked.set()
            if self.fault and not was:
                logger.warning("remote cluster is away", extra=self._fields)
            if was and not self.fault:
                logger.info("remote cluster is back", extra=self._fields)
                self._on_return(self)
            await asyncio.sleep(PULSE_S)

    async def _look(self) -> str:
        """Return why the cluster cannot be used; a user who may not ask may still work there."""
        try:
            await self.client.get_raw("/readyz")
        except errors.Unreachable as error:
            return error.message
        except errors.Unauthorized as error:
            advice = f"; {self._advice}" if self._advice else ""
            return f"{self.client.server}: {error.message}{advice}"
        except errors.ServerError as error:
            return f"{self.client.server}: {error.message}"
        except errors.ApiError:
            return ""
        return ""

    @property
    def _fields(self) -> dict[str, str]:
        return {"remote": self.name, "server": self.client.server, "reason": self.fault}


class Remotes:
    """The remote clusters that the objects of one cluster name.

    Args:
        services: the process's.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._remotes: dict[str, Remote] = {}
        self._held: dict[ObjectRef, str] = {}
        self._changed = asyncio.Event()
        self.on_drift: Callable[[ObjectRef, ObjectId, Drift], None] = lambda *_: None
        """Told of drift in any of them, as by `Tracker.on_drift`."""
        self.wake: Callable[[ObjectRef, str], None] = lambda *_: None
        """Queues the owners of a cluster that is back, with the cause."""

    def all(self) -> tuple[Remote, ...]:
        """Return every cluster that somebody holds."""
        return tuple(self._remotes.values())

    async def run(self) -> None:
        """Open and close clusters as they are needed, until cancelled."""
        services, running = self._services, dict[str, Remote]()
        async with Supervisor(services.clock, services.rng, services.metrics) as children:
            while True:
                self._changed.clear()
                for key in running.keys() - self._remotes.keys():
                    await children.stop(_child(key, running[key]))
                    await self._clear(running.pop(key))
                for key in self._remotes.keys() - running.keys():
                    remote = running[key] = self._remotes[key]
                    children.start(_child(key, remote), remote.run)
                await self._changed.wait()

    async def lease(self, owner: ObjectRef, credentials: Credentials) -> Remote:
        """Return the cluster of some credentials, held by an owner until it takes another.

        Raises:
            AuthError: the credentials cannot be used; the owner then holds none.
        """
        if credentials.key not in self._remotes:
            self.release(owner)
            connection = await credentials.connect()
            if credentials.key not in self._remotes:  # nobody was faster
                self._open(credentials, connection)
        remote = self._remotes[credentials.key]
        if self.held(owner) is not remote:
            self.release(owner)
            self._held[owner] = credentials.key
        return remote

    def join(self, owner: ObjectRef, remote: Remote) -> bool:
        """Let an owner that holds no cluster yet hold one; return whether it does so now."""
        keys = [key for key, each in self._remotes.items() if each is remote]
        if owner in self._held or not keys:
            return False
        self._held[owner] = keys[0]
        return True

    def held(self, owner: ObjectRef) -> Remote | None:
        """Return the cluster that an owner holds."""
        key = self._held.get(owner)
        return self._remotes.get(key) if key else None

    def release(self, owner: ObjectRef) -> None:
        """Let an owner's cluster go; it is closed with its last owner."""
        key = self._held.pop(owner, None)
        if key is None:
            return
        self._remotes[key].tracker.drop_owner(owner)
        if key not in self._held.values():
            del self._remotes[key]
            self._changed.set()

    def _open(self, credentials: Credentials, connection: Connection) -> None:
        file = self._services.directory / credentials.key
        remote = Remote(credentials, connection, file, self._services, self._returned)
        remote.tracker.on_drift = self._drifted
        self._remotes[credentials.key] = remote
        self._changed.set()

    def _drifted(self, owner: ObjectRef, obj: ObjectId, drift: Drift) -> None:
        self.on_drift(owner, obj, drift)

    def _returned(self, remote: Remote) -> None:
        for owner, key in self._held.items():
            if self._remotes[key] is remote:
                self.wake(owner, f"{remote.name} is back")

    async def _clear(self, remote: Remote) -> None:
        """Forget what was kept of a cluster that nobody names any more."""
        await self._services.threads.run(remote.file.unlink, missing_ok=True)
        if all(each.name != remote.name for each in self._remotes.values()):
            self._services.metrics.forget_cluster(remote.name)


def _child(key: str, remote: Remote) -> str:
    return f"remote {remote.name} {key[:8]}"
