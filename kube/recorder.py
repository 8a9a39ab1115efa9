"""Writes the daemon's events into the cluster, where ``kubectl events`` and Flux's tools look.

One Kubernetes event (core/v1, in the namespace of the object it is about) for each thing that
happened; what repeats raises the count of the event that is there. Events are news, not state: a
failure is logged and the event is gone. And as news they give way: while objects wait for a turn of
their reconciler, their requests go first, for `PATIENCE_S` at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sized
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from kube import errors
from kube.objects import GVK, Resource
from runtime import events as bus
from runtime.clock import SystemClock, rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from kube.client import Client
    from kube.objects import JsonObject
    from runtime.clock import Clock
    from runtime.events import Event

_log = logging.getLogger(__name__)

RESOURCE: Final = Resource(GVK("", "v1", "Event"), "events", is_namespaced=True)
REMEMBERED: Final = 2048
"""Different events that are remembered to count their repeats; the oldest is forgotten first."""
REPEAT_WITHIN_S: Final = 600.0
"""A repeat after more than this is news again; kubectl's ``Age`` would mislead otherwise."""
PATIENCE_S: Final = 10.0
"""Seconds for which an event gives way. It keeps the time at which it happened."""
LOOK_S: Final = 0.1
"""Seconds between looks whether the way is free."""
MESSAGE_LIMIT: Final = 32_768
"""Characters; longer lists of changes are cut."""
_CLUSTER_SCOPED_NAMESPACE: Final = "default"
_NAME_LIMIT: Final = 253


class _Key(NamedTuple):
    uid: str
    kind: str
    namespace: str
    name: str
    reporter: str
    severity: str
    reason: str
    message: str
    metadata: tuple[tuple[str, str], ...]


class _Written(NamedTuple):
    name: str
    times: int
    at: float
    """When it was last written: seconds since the epoch."""


class Recorder:
    """The sink of one cluster's events.

    Args:
        client: the daemon's own.
        instance: of the reporting program, e.g. the host's name.
        is_crowded: whether objects wait for a turn, to whose requests events give way.
        clock: measures how long.
    """

    def __init__(
        self,
        client: Client,
        *,
        instance: str,
        is_crowded: Callable[[], bool] = lambda: False,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._instance = instance
        self._is_crowded = is_crowded
        self._clock = clock or SystemClock()
        self._written: OrderedDict[_Key, _Written] = OrderedDict()

    async def run(self, events: AsyncIterable[Event]) -> None:
        """Record the events of this recorder's cluster, until there are no more."""
        async for event in events:
            if event.involved.cluster == self._client.cluster and not event.is_quiet:
                while self._gives_way(event) and not _is_filling(events):  # noqa: ASYNC110 - many queues, none of which tells
                    await asyncio.sleep(LOOK_S)
                await self.record(event)

    async def record(self, event: Event) -> None:
        """Record one event; a failure is only logged."""
        try:
            await self._record(event)
        except errors.ApiError as error:
            _log.warning(
                "event not recorded",
                extra={
                    "cluster": event.involved.cluster,
                    "object": str(event.involved),
                    "reason": event.reason,
                    "error": error.message,
                },
            )

    def _gives_way(self, event: Event) -> bool:
        age_s = (self._clock.now() - event.timestamp).total_seconds()
        return self._is_crowded() and age_s < PATIENCE_S

    async def _record(self, event: Event) -> None:
        key, now = _key(event), event.timestamp.timestamp()
        before = self._written.pop(key, None)
        if before is not None and now - before.at <= REPEAT_WITHIN_S:
            after = _Written(before.name, before.times + 1, now)
            if await self._count(event, after):
                self._remember(key, after)
                return
        body = _body(event, self._instance)
        namespace = body["metadata"]["namespace"]
        await self._client.create(RESOURCE, namespace, orjson.dumps(body), manager=event.reporter)
        self._remember(key, _Written(body["metadata"]["name"], 1, now))

    async def _count(self, event: Event, written: _Written) -> bool:
        """Raise the count of an event; False if the cluster has forgotten it."""
        patch = orjson.dumps({"count": written.times, "lastTimestamp": rfc3339(event.timestamp)})
        namespace = event.involved.namespace or _CLUSTER_SCOPED_NAMESPACE
        try:
            await self._client.patch(
                RESOURCE, namespace, written.name, patch, manager=event.reporter
            )
        except errors.NotFound:
            return False
        return True

    def _remember(self, key: _Key, written: _Written) -> None:
        self._written[key] = written
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)


def _is_filling(events: object) -> bool:
    """Whether so many events wait behind this one that the oldest might get lost soon."""
    return isinstance(events, Sized) and len(events) > bus.SUBSCRIBER_LIMIT // 2


def _key(event: Event) -> _Key:
    return _Key(
        event.uid,
        event.involved.kind,
        event.involved.namespace,
        event.involved.name,
        event.reporter,
        event.severity,
        event.reason,
        event.message,
        tuple(sorted(event.metadata.items())),
    )


def _body(event: Event, instance: str) -> JsonObject:
    involved = event.involved
    moment = rfc3339(event.timestamp)
    suffix = f".{int(event.timestamp.timestamp() * 1_000_000):x}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": involved.name[: _NAME_LIMIT - len(suffix)] + suffix,
            "namespace": involved.namespace or _CLUSTER_SCOPED_NAMESPACE,
            "annotations": dict(event.metadata),
        },
        "involvedObject": {
            "apiVersion": event.api_version,
            "kind": involved.kind,
            "namespace": involved.namespace,
            "name": involved.name,
            "uid": event.uid,
            "resourceVersion": event.resource_version,
        },
        "type": "Warning" if event.severity == "error" else "Normal",
        "reason": event.reason,
        "message": event.message[:MESSAGE_LIMIT],
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "source": {"component": event.reporter},
        "reportingComponent": event.reporter,
        "reportingInstance": instance,
    }
