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
_PODS: Final = Resource(GVK("", "v1", "Pod"), "pods", is_namespaced=True)


async def tail(client: Client, obj: ObjectId) -> str:
    """Return the last lines of what a Pod, or the newest pod of a Job, has printed.

    Returns:
        Nothing where there is no pod, or its log cannot be had.
    """
    try:
        name = obj.name if obj.kind == "Pod" else await _newest_pod(client, obj)
        if not name:
            return ""
        path = _PODS.path(obj.namespace, name, "log")
        params = {"tailLines": str(LINES), "limitBytes": str(LIMIT_BYTES)}
        raw = await client.get_raw(path, params=params)
    except errors.ApiError:
        return ""
    return raw.decode(errors="replace").strip()


async def _newest_pod(client: Client, job: ObjectId) -> str:
    if job.kind != "Job":
        return ""
    selector = f"batch.kubernetes.io/job-name={job.name}"
    pods: list[JsonObject] = []
    async for page in client.list_pages(_PODS, namespace=job.namespace, label_selector=selector):
        pods += orjson.loads(page)["items"]
    newest = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)
    return str(newest["metadata"]["name"]) if newest else ""
