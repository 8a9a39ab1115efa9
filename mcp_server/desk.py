"""What all calls share: the settings, a client for each cluster, and the audit log.

A client is opened when a call first needs its cluster and kept until the server ends. Which cluster
a session works on by default is the session's own matter: two agents on one server do not get into
each other's way.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from inspection import clusters, commits, daemon_client, failure, survey
from kube.discovery import Discovery
from runtime import clock, limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from daemon import report
    from daemon.settings import Cluster, Settings
    from inspection.survey import Survey
    from inspection.trace import Commit
    from kube.client import Client
    from mcp_server.audit import Audit

USER_AGENT: Final = "gitopsd-mcp"


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster, connected."""

    settings: Cluster
    client: Client
    discovery: Discovery

    @property
    def name(self) -> str:
        """Its name in ``config.toml``."""
        return self.settings.name


class Desk:
    """What all calls share. Used as an asynchronous context manager.

    Args:
        config: the configuration file.
        settings: what it says.
        audit: where writes are noted; None to note none.
    """

    def __init__(self, config: Path, settings: Settings, audit: Audit | None = None) -> None:
        self.config, self.settings, self.audit = config, settings, audit
        self.clock = clock.SystemClock()
        self.threads = limits.Threads()
        self._stack = AsyncExitStack()
        self._sites: dict[str, Site] = {}
        self._opening = asyncio.Lock()
        self._writing: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        self._stack.push_async_callback(self.threads.aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sites.clear()
        await self._stack.aclose()

    async def site(self, name: str) -> Site:
        """Return a cluster, connected.

        Raises:
            failure.CommandError: there is none of that name, or several and no name.
            AuthError: its kubeconfig cannot be used.
        """
        found = clusters.named(self.settings, name, str(self.config))
        if len(found) > 1:
            known = ", ".join(each.name for each in found)
            raise failure.UsageError(f"say which cluster with the argument cluster: {known}")
        async with self._opening:
            if found[0].name not in self._sites:
                opened = clusters.client(found[0], USER_AGENT)
                client = await self._stack.enter_async_context(opened)
                discovery = Discovery(client, self.clock)
                self._sites[found[0].name] = Site(found[0], client, discovery)
        return self._sites[found[0].name]

    async def daemon(self) -> report.Report | None:
        """Return what the daemon says of itself; None where none runs."""
        return await asyncio.to_thread(daemon_client.status, self.settings.control_socket)

    async def drifts(self) -> tuple[report.Correction, ...] | None:
        """Return the drifts that the daemon remembers; None where none runs."""
        return await asyncio.to_thread(daemon_client.drifts, self.settings.control_socket)

    def commit(self, sha: str) -> Commit | None:
        """Return a commit that the daemon fetched. Blocking."""
        return commits.find(self.settings.data_dir, sha)

    @asynccontextmanager
    async def writing(self, what: str) -> AsyncIterator[None]:
        """Be the only one that writes to something.

        Raises:
            failure.RefusedError: another call does at the moment.
        """
        if what in self._writing:
            raise failure.RefusedError(
                f"another call is writing to {what} at the moment; wait for it with wait_for, "
                "look at the result, and then try again"
            )
        self._writing.add(what)
        try:
            yield
        finally:
            self._writing.discard(what)


@dataclass(slots=True)
class Session:
    """What one client chose."""

    cluster: str = ""
    lasts: bool = True
    """Whether there is a session at all, and not this one call alone."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one client."""

    desk: Desk
    session: Session
    progress: Callable[[float, float | None, str], Awaitable[None]]
    """Tells the client how far it is: done, of how much, in words."""
    who: str = "stdio"
    """Who called, for the audit log."""
    notes: list[str] = field(default_factory=list)
    """What the answer has to say besides."""

    async def site(self, cluster: str) -> Site:
        """Return the cluster that the arguments or the session name."""
        return await self.desk.site(cluster or self.session.cluster)

    async def survey(self, site: Site) -> Survey:
        """Read the Flux objects of a cluster, and note what may not be read."""
        found = await survey.take(site.client)
        for kind, reason in found.unread.items():
            self.notes.append(f"{kind} cannot be listed in {site.name}: {reason}")
        return found
