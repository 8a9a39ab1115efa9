"""Not two captains on one ship: whether this daemon reconciles a kind, or only looks on.

Flux's controllers elect a leader by a Lease each, and so do we by the same Leases: whoever holds
one reconciles, the other waits. Where Flux runs, we only observe, until somebody orders a takeover
(``gitopsd takeover``); a Flux that is scaled up again without such an order gets its Lease back.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from kube import errors, lease
from kube.objects import GVK, Resource
from reconcilers import instance

if TYPE_CHECKING:
    from api.instance import FluxInstance
    from daemon.engine import Engine
    from daemon.kinds import Component
    from daemon.shared import Shared
    from kube.client import Client
    from kube.lease import Holding

logger = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""Seconds between two looks at a Lease that is not ours."""
CHECK_S: Final = 30.0
"""Seconds between two looks at whether Flux was started again while the Lease is ours."""
RELEASE_S: Final = 3.0
"""Seconds that giving the Leases back may take at a stop."""
OUR_PREFIX: Final = "gitopsd_"
"""How the identity of every daemon begins; see `daemon.datadir.identity`."""
_DEPLOYMENTS = Resource(GVK("apps", "v1", "Deployment"), "deployments", is_namespaced=True)


class Mode(enum.StrEnum):
    """What the daemon does with a kind."""

    RECONCILING = "reconciling"
    OBSERVING = "observing"
    OFF = "off"


class Standing(NamedTuple):
    """What the daemon does with a kind, and why it does not reconcile it."""

    mode: Mode
    reason: str = ""


UNDECIDED: Final = Standing(Mode.OBSERVING, "not decided yet")
LEADING: Final = Standing(Mode.RECONCILING)


def judge(component: Component, namespace: str, holding: Holding, replicas: int) -> Standing:
    """Decide what to do with the kinds of a component that is switched on.

    Args:
        component: whose work it is.
        namespace: of the Lease and the controller.
        holding: who holds the Lease.
        replicas: how many copies of Flux's controller are asked for.

    Returns:
        ``LEADING`` where the Lease may be taken, by force if a takeover is ordered. An order is
        against Flux alone: two daemons that both found it would take turns for ever.
    """
    is_ordered = bool(holding.takeover)
    if not (holding.is_ours or holding.is_free):
        who = f"Lease {namespace}/{component.lease} is held by {holding.holder}"
        if holding.holder.startswith(OUR_PREFIX):
            return Standing(Mode.OBSERVING, f"{who}, another gitopsd")
        if not is_ordered:
            return Standing(Mode.OBSERVING, f"{who}; `gitopsd takeover` takes it")
    if replicas and not is_ordered:
        what = f"Deployment {namespace}/{component.name} has {replicas} replicas"
        return Standing(Mode.OBSERVING, f"{what}; `gitopsd takeover` takes over from it")
    return LEADING


def is_enabled(component: Component, flux: FluxInstance | None) -> bool:
    """Tell whether a cluster's FluxInstance wants a component; without one, all are."""
    return not component.is_switchable or component.name in instance.components(flux)


class Leadership:
    """Our part in the election for the kinds of one component of one cluster.

    Args:
        component: whose work it is.
        client: the cluster.
        engine: what is started and stopped.
        shared: the process's services.
        namespace: of the Lease.
    """

    def __init__(
        self, component: Component, client: Client, engine: Engine, shared: Shared, namespace: str
    ) -> None:
        self.component = component
        self.standing = UNDECIDED
        """What is done with its kinds at present."""
        self._client, self._engine, self._namespace = client, engine, namespace
        self._lease = lease.Lease(
            client, namespace, component.lease, identity=shared.identity, clock=shared.clock
        )
        self._nudge = asyncio.Event()

    async def run(self) -> None:
        """Compete for the kinds, and have them reconciled while they are ours, until cancelled."""
        unsubscribe = self._engine.context.instances.subscribe(lambda _old, _new: self._nudge.set())
        try:
            while True:
                if await self._is_to_lead():
                    await self._lead()
                else:
                    await self._pause(LOOK_S)
        finally:
            unsubscribe()

    async def release(self) -> None:
        """Give the Lease back, if it is ours.

        Raises:
            errors.ApiError: the API server did not answer; the Lease ends by itself.
        """
        await self._lease.release()

    async def _is_to_lead(self) -> bool:
        """Look how things stand, and take the Lease if that is right."""
        if not self._is_enabled():
            return self._stand(Standing(Mode.OFF, "not among the components of the FluxInstance"))
        try:
            standing, is_ordered = await self._judge()
            if standing is not LEADING:
                return self._stand(standing)
            if await self._lease.acquire(force=is_ordered):
                return True
        except errors.Forbidden as err:
            return self._stand(Standing(Mode.OBSERVING, f"may not use Leases: {err.message}"))
        except errors.ApiError as err:
            logger.debug(
                "lease cannot be read", extra={"component": self.component.name, "error": str(err)}
            )
        return False

    async def _judge(self) -> tuple[Standing, bool]:
        """Return what to do, and whether a takeover is ordered."""
        holding = await self._lease.observe()
        standing = judge(self.component, self._namespace, holding, await self._replicas())
        return standing, bool(holding.takeover)

    async def _lead(self) -> None:
        """Have the kinds reconciled until the Lease is lost, or is to be given back."""
        self._stand(LEADING)
        for kind in self.component.kinds:
            self._engine.start_kind(kind)
        try:
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(self._lease.keep(), name=f"keep {self.component.lease}")
                await self._until_unwanted()
                keeper.cancel()
        except* lease.LeaseLost as lost:
            reason = str(lost.exceptions[0])
            logger.warning("lease lost", extra={"component": self.component.name, "reason": reason})
            self._stand(Standing(Mode.OBSERVING, reason))
        finally:
            for kind in self.component.kinds:
                await self._engine.stop_kind(kind)
        with suppress(errors.ApiError):
            await self.release()

    async def _until_unwanted(self) -> None:
        """Return when the component is switched off, or Flux was started again without an order."""
        while True:
            await self._pause(CHECK_S)
            if not self._is_enabled():
                return
            try:
                standing, _ = await self._judge()
            except errors.ApiError:
                continue
            if standing is not LEADING:
                self._stand(standing)
                return

    async def _replicas(self) -> int:
        """Return how many copies of Flux's controller are asked for; 0 where nobody may know."""
        try:
            found = await self._client.get(_DEPLOYMENTS, self._namespace, self.component.name)
        except (errors.NotFound, errors.Forbidden):
            return 0
        return int(found["spec"].get("replicas", 1))

    def _is_enabled(self) -> bool:
        """Tell whether the component is switched on, by the FluxInstance as it is now."""
        return is_enabled(self.component, self._engine.instance())

    def _stand(self, standing: Standing) -> bool:
        """Note how things stand, log a change, and say whether we lead."""
        if standing != self.standing:
            logger.info(
                "standing changed",
                extra={
                    "component": self.component.name,
                    "mode": standing.mode,
                    "reason": standing.reason,
                },
            )
        self.standing = standing
        return standing is LEADING

    async def _pause(self, seconds: float) -> None:
        """Wait, or until the FluxInstance changes."""
        self._nudge.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
