"""The last lines of the log of a hook's pod, which tell why it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from kube import errors
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from kube.client import Client
    from kube.objects import JsonObject, ObjectId

LINES: Final = 10
LIMIT_BYTES: Final = 4096
"""Bytes of these lines that are told, the last ones."""
_READ_BYTES: Final = 64 * 1024
"""Bytes that are read: the server counts from the first line, and the last ones tell most."""
_PODS: Final = Resource(GVK("", "v1", "Pod"), "pods", is_namespaced=True)
_DEFAULT: Final = "kubectl.kubernetes.io/default-container"
"""The annotation that names the container that a pod is about."""


async def tail(client: Client, obj: ObjectId) -> str:
    """Return the last lines of what a Pod, or the newest pod of a Job, has printed.

    Returns:
        Nothing where there is no pod, or its log cannot be had.
    """
    try:
        pod = await _pod(client, obj)
        if pod is None:
            return ""
        path = _PODS.path(obj.namespace, str(pod["metadata"]["name"]), "log")
        lines, size = str(LINES), str(_READ_BYTES)
        params = {"container": telling(pod), "tailLines": lines, "limitBytes": size}
        raw = await client.get_raw(path, params=params)
    except errors.ApiError:
        return ""
    return raw[-LIMIT_BYTES:].decode(errors="replace").strip()


def telling(pod: JsonObject) -> str:
    """Return the container of a pod whose log tells most: one that failed, else the main one."""
    status = pod.get("status") or {}
    for each in (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ):
        if _exit_code(each) != 0:
            return str(each["name"])
    named = (pod["metadata"].get("annotations") or {}).get(_DEFAULT)
    return str(named or pod["spec"]["containers"][0]["name"])


def _exit_code(status: JsonObject) -> int:
    """Return how a container ended, or ended last before it was started again; 0 if it did not."""
    for state in (status.get("state"), status.get("lastState")):
        ended = (state or {}).get("terminated")
        if ended:
            return int(ended.get("exitCode", 0))
    return 0


async def _pod(client: Client, obj: ObjectId) -> JsonObject | None:
    if obj.kind == "Pod":
        return await client.get(_PODS, obj.namespace, obj.name)
    return await _newest_pod(client, obj) if obj.kind == "Job" else None


async def _newest_pod(client: Client, job: ObjectId) -> JsonObject | None:
    selector = f"batch.kubernetes.io/job-name={job.name}"
    pods: list[JsonObject] = []
    async for page in client.list_pages(_PODS, namespace=job.namespace, label_selector=selector):
        pods += orjson.loads(page)["items"]
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)
