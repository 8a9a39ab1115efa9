"""Leader election by a Lease, as client-go does it: whoever renews it in time is the one.

Flux's controllers hold one Lease for each controller, and so does the daemon for each kind it
reconciles, so that never two work on the same objects. Time is judged by our own clock alone: a
holder is gone when we have not *seen* its Lease change for as long as the Lease says, however its
clock and ours differ. Hence a Lease seen for the first time is never taken at once, unless it was
given up (no holder) or is taken over by order.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from api import meta
from kube import errors
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from kube.client import Client
    from kube.objects import JsonObject
    from runtime.clock import Clock

RESOURCE: Final = Resource(GVK("coordination.k8s.io", "v1", "Lease"), "leases", is_namespaced=True)
TAKEOVER: Final = "gitopsd.dev/takeover"
"""Annotation of a Lease: somebody ordered the daemon to take it from its holder. Any value."""

DURATION_S: Final = 35.0
"""For how long a Lease holds after it was renewed; Flux's own figure."""
RENEW_WITHIN_S: Final = 30.0
"""A holder that could not renew for so long stops working, before others may start."""
RETRY_S: Final = 5.0
"""Seconds between two renewals, or two attempts to acquire."""


class LeaseLost(Exception):  # noqa: N818 - says what happened
    """The Lease is somebody else's now, or could not be renewed in time."""


class Holding(NamedTuple):
    """Who holds a Lease."""

    holder: str
    """The holder's identity; empty where nobody does."""
    is_ours: bool
    is_free: bool
    """Whether it may be acquired: no holder, or one that is gone."""
    takeover: str
    """The value of the `TAKEOVER` annotation; empty without one."""


class Lease:
    """One Lease of a cluster, and our part in it.

    Args:
        client: the daemon's own.
        namespace: of the Lease.
        name: of the Lease, e.g. ``kustomize-controller-leader-election``.
        identity: what we call ourselves in it; unique to this process.
        clock: judges time.
        retry_s: seconds between two renewals.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        identity: str,
        clock: Clock,
        retry_s: float = RETRY_S,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._retry_s = retry_s
        self._seen = ("", "")
        self._seen_at = clock.monotonic()

    async def observe(self) -> Holding:
        """Return who holds the Lease, without touching it.

        Raises:
            ApiError: the server did not say.
        """
        return self._judge(await self._read())

    async def acquire(self, *, force: bool = False) -> bool:
        """Try once to get or renew the Lease.

        Args:
            force: take it from a living holder; it stops when it notices.

        Returns:
            Whether it is ours now.

        Raises:
            ApiError: the server did not say; whether it is ours is not known.
        """
        lease = await self._read()
        holding = self._judge(lease)
        if not (holding.is_ours or holding.is_free or force):
            return False
        try:
            if lease is None:
                await self._create()
            else:
                await self._write(lease, self._claim(lease["spec"]))
        except errors.Conflict:
            return False
        return True

    async def keep(self) -> None:
        """Renew the Lease, which is ours, for as long as that goes well.

        Raises:
            LeaseLost: somebody else has it, or it could not be renewed for `RENEW_WITHIN_S`.
        """
        renewed_at = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._retry_s)
            try:
                async with asyncio.timeout(RETRY_S):
                    is_ours = await self._renew()
            except (errors.ApiError, TimeoutError) as error:
                if self._clock.monotonic() - renewed_at >= RENEW_WITHIN_S:
                    message = f"Lease {self._namespace}/{self._name} could not be renewed in time"
                    raise LeaseLost(message) from error
                continue
            if not is_ours:
                raise LeaseLost(f"Lease {self._namespace}/{self._name} was taken over")
            renewed_at = self._clock.monotonic()

    async def release(self) -> None:
        """Give the Lease up, if it is ours, so that the next one need not wait.

        Raises:
            ApiError: the server did not answer; the Lease ends by itself.
        """
        lease = await self._read()
        if lease is None or not self._judge(lease).is_ours:
            return
        spec = lease["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._write(lease, spec)
        except errors.Conflict:
            return

    async def order_takeover(self, value: str) -> None:
        """Annotate the Lease, so that the daemon takes it from its holder.

        Args:
            value: for people, e.g. who ordered it and when; empty takes the order back.

        Raises:
            NotFound: there is no such Lease, hence nobody to take it from.
        """
        annotations = {TAKEOVER: value or None}
        body = orjson.dumps({"metadata": {"annotations": annotations}})
        await self._client.patch(
            RESOURCE, self._namespace, self._name, body, manager=meta.DAEMON_MANAGER
        )

    async def _renew(self) -> bool:
        lease = await self._read()
        if lease is None or not self._judge(lease).is_ours:
            return False
        try:
            await self._write(lease, self._claim(lease["spec"]))
        except errors.Conflict:
            return self._judge(await self._read()).is_ours
        return True

    async def _read(self) -> JsonObject | None:
        try:
            return await self._client.get(RESOURCE, self._namespace, self._name)
        except errors.NotFound:
            return None

    async def _create(self) -> None:
        lease = {
            "apiVersion": RESOURCE.gvk.api_version,
            "kind": RESOURCE.gvk.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._claim({}),
        }
        await self._client.create(
            RESOURCE, self._namespace, orjson.dumps(lease), manager=meta.DAEMON_MANAGER
        )

    async def _write(self, lease: JsonObject, spec: JsonObject) -> None:
        body = orjson.dumps(lease | {"spec": spec})
        await self._client.replace(
            RESOURCE, self._namespace, self._name, body, manager=meta.DAEMON_MANAGER
        )

    def _claim(self, spec: JsonObject) -> JsonObject:
        now = _micro_time(self._clock.now())
        claim = spec | {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION_S),
            "renewTime": now,
        }
        if spec.get("holderIdentity") != self._identity:
            claim["acquireTime"] = now
            claim["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        return claim

    def _judge(self, lease: JsonObject | None) -> Holding:
        if lease is None:
            return Holding("", is_ours=False, is_free=True, takeover="")
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        seen = (holder, spec.get("renewTime") or "")
        now = self._clock.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        is_stale = now - self._seen_at > (spec.get("leaseDurationSeconds") or DURATION_S)
        is_ours = holder != "" and holder == self._identity
        annotations = lease["metadata"].get("annotations") or {}
        return Holding(
            holder, is_ours, not is_ours and (not holder or is_stale), annotations.get(TAKEOVER, "")
        )


def _micro_time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
