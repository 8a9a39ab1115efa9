"""What the containers of a pod, or of a workload's pods, wrote; without credentials in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from inspection import failure, live, masking
from kube import errors
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from kube.client import Client
    from kube.objects import JsonObject

PODS: Final = Resource(GVK("", "v1", "Pod"), "pods", is_namespaced=True)
MOST_BYTES: Final = 256 * 1024
"""Of one container at most, as the operator's server has it."""


class Log(meta.Struct, frozen=True, kw_only=True):
    """The last lines of one container."""

    pod: str
    container: str
    text: str
    is_cut: bool = False
    """Whether earlier lines were left out because there is too much."""


async def read(
    client: Client,
    namespace: str,
    pod: str,
    container: str = "",
    *,
    lines: int = 100,
    previous: bool = False,
) -> Log:
    """Return the last lines of a container.

    Args:
        client: the cluster.
        namespace: of the pod.
        pod: its name.
        container: its container; the only one where empty.
        lines: how many at most.
        previous: of the container that ran before this one.

    Raises:
        failure.CommandError: there is no such pod, or it has not run yet.
    """
    params = {"tailLines": str(lines), "limitBytes": str(MOST_BYTES)}
    if container:
        params["container"] = container
    if previous:
        params["previous"] = "true"
    path = PODS.path(namespace, pod, "log")
    try:
        body = await client.get_raw(path, params=params)
    except errors.NotFound as err:
        raise failure.MissingError(f"Pod/{namespace}/{pod} is not there: {err}") from err
    except errors.BadRequest as err:
        raise failure.CommandError(f"Pod/{namespace}/{pod} has no log to show: {err}") from err
    text = masking.text(body.decode("utf-8", "replace"))
    return Log(pod=pod, container=container, text=text, is_cut=len(body) >= MOST_BYTES)


async def pods_of(client: Client, workload: JsonObject) -> list[JsonObject]:
    """Return the pods of a workload, or the pod itself; none where it selects none."""
    if workload.get("kind") == "Pod":
        return [workload]
    wanted = live.selector_of(workload)
    if not wanted:
        return []
    namespace = str(workload["metadata"].get("namespace") or "")
    return (await live.page(client, PODS, live.Selection(namespace, wanted))).items


def containers(pod: JsonObject) -> list[str]:
    """Return the names of a pod's containers, those that start it first."""
    spec = pod.get("spec") or {}
    found = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return [str(each["name"]) for each in found]
