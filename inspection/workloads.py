"""Why a workload is not healthy: its pods, their containers, and what Kubernetes tells of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from inspection import events, live, masking, podlogs
from kube import errors
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kube.client import Client
    from kube.objects import JsonObject

REPLICA_SETS: Final = Resource(GVK("apps", "v1", "ReplicaSet"), "replicasets", is_namespaced=True)
KINDS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod"})
_HARMLESS: Final = frozenset({"ContainerCreating", "PodInitializing", "Completed"})
_MOST: Final = 5
_TELLING: Final = (
    "FailedCreate",
    "FailedScheduling",
    "Failed",
    "BackOff",
    "Unhealthy",
    "FailedMount",
    "FailedAttachVolume",
    "InspectFailed",
)
"""Reasons of warnings that explain, the most telling first."""


class Trouble(NamedTuple):
    """One thing that is wrong with a workload."""

    where: str
    """``Pod/shop/web-1 container app``, or another object."""
    reason: str
    message: str


async def troubles(client: Client, workload: JsonObject) -> list[Trouble]:
    """Return what is wrong with a workload, the most telling first.

    Args:
        client: the cluster.
        workload: the whole object.
    """
    found: list[Trouble] = []
    with suppress(errors.Forbidden, errors.NotFound):
        pods = await podlogs.pods_of(client, workload)
        found += [trouble for pod in pods for trouble in of_pod(pod)]
    with suppress(errors.Forbidden, errors.NotFound):
        found += await _warnings(client, workload)
    return list(dict.fromkeys(found))[:_MOST]


def of_pod(pod: JsonObject) -> Iterator[Trouble]:
    """Yield what is wrong with a pod, by its own status."""
    status = pod.get("status") or {}
    where = f"Pod/{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    for each in statuses:
        yield from _of_container(f"{where} container {each.get('name')}", each)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield Trouble(where, "FailedScheduling", str(condition.get("message") or ""))


def _of_container(where: str, status: dict[str, Any]) -> Iterator[Trouble]:
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    if reason and reason not in _HARMLESS:
        yield Trouble(where, reason, masking.text(str(waiting.get("message") or reason)))
    for state in (status.get("state") or {}, status.get("lastState") or {}):
        ended = state.get("terminated") or {}
        if ended.get("exitCode"):
            text = f"exited with code {ended['exitCode']}: {ended.get('message') or 'no message'}"
            yield Trouble(where, str(ended.get("reason") or "Error"), masking.text(text))


async def _warnings(client: Client, workload: JsonObject) -> list[Trouble]:
    """Return the warnings about a workload, its ReplicaSets and its pods."""
    metadata = workload["metadata"]
    namespace, name = str(metadata.get("namespace") or ""), str(metadata["name"])
    names = {name} | {
        each["metadata"]["name"] for each in await _replica_sets(client, workload, namespace)
    }
    seen = [
        each
        for each in await events.listed(client, namespace)
        if each.type == "Warning" and _is_about(each, names)
    ]
    ordered = sorted(_latest(seen), key=lambda event: _rank(event.reason))
    return [
        Trouble(
            f"{event.involved_object.kind}/{namespace}/{event.involved_object.name}",
            event.reason,
            masking.text(event.message),
        )
        for event in ordered
    ]


async def _replica_sets(client: Client, workload: JsonObject, namespace: str) -> list[JsonObject]:
    selector = live.selector_of(workload)
    if workload.get("kind") != "Deployment" or not selector:
        return []
    return (await live.page(client, REPLICA_SETS, live.Selection(namespace, selector))).items


def _is_about(event: events.Event, names: set[str]) -> bool:
    found = event.involved_object
    if found.kind not in KINDS:
        return False
    owner = found.name.rpartition("-")[0]
    return found.name in names or (found.kind == "Pod" and owner in names)


def _latest(found: Iterable[events.Event]) -> list[events.Event]:
    """Return the last event for each reason."""
    return list({event.reason: event for event in found}.values())


def _rank(reason: str) -> int:
    return _TELLING.index(reason) if reason in _TELLING else len(_TELLING)
