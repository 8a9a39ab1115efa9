"""Any object of a cluster, Flux's or not, by the names people have for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import orjson

from api import meta
from inspection import failure
from kube import errors
from kube.objects import GVK, ObjectId, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kube.client import Client
    from kube.discovery import Discovery
    from kube.objects import JsonObject


_CORE: Final = (
    "Pod",
    "Service",
    "ConfigMap",
    "Secret",
    "Namespace",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "Node",
    "Event",
    "ResourceQuota",
    "LimitRange",
)
_SHORT: Final = {
    "po": "Pod",
    "svc": "Service",
    "cm": "ConfigMap",
    "ns": "Namespace",
    "sa": "ServiceAccount",
    "pvc": "PersistentVolumeClaim",
    "pv": "PersistentVolume",
    "no": "Node",
    "deploy": "Deployment",
    "sts": "StatefulSet",
    "ds": "DaemonSet",
    "rs": "ReplicaSet",
    "cj": "CronJob",
    "ing": "Ingress",
    "netpol": "NetworkPolicy",
    "crd": "CustomResourceDefinition",
}


class Page(NamedTuple):
    """Some objects of a list."""

    items: list[JsonObject]
    following: str
    """Asks for the objects after these; empty at the end."""


class _ListMeta(meta.Struct, frozen=True, kw_only=True):
    continue_: str = msgspec.field(name="continue", default="")


class _Page(meta.Struct, frozen=True, kw_only=True):
    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] = ()


class _Group(meta.Struct, frozen=True, kw_only=True):
    name: str


class _Groups(meta.Struct, frozen=True, kw_only=True):
    groups: tuple[_Group, ...] = ()


_WELL_KNOWN = {
    "Deployment": "apps",
    "StatefulSet": "apps",
    "DaemonSet": "apps",
    "ReplicaSet": "apps",
    "Job": "batch",
    "CronJob": "batch",
    "Ingress": "networking.k8s.io",
    "NetworkPolicy": "networking.k8s.io",
    "CustomResourceDefinition": "apiextensions.k8s.io",
    "Role": "rbac.authorization.k8s.io",
    "RoleBinding": "rbac.authorization.k8s.io",
    "ClusterRole": "rbac.authorization.k8s.io",
    "ClusterRoleBinding": "rbac.authorization.k8s.io",
}


def proper(kind: str) -> str:
    """Return a well-known kind as manifests spell it: ``deploy`` is ``Deployment``."""
    known = {name.lower(): name for name in (*_WELL_KNOWN, *_CORE)}
    word = kind.lower()
    return _SHORT.get(word) or known.get(word) or known.get(word.removesuffix("s")) or kind


def gvk(api_version: str, kind: str) -> GVK:
    """Return the kind that an ``apiVersion`` and a ``kind`` name."""
    group, _, version = api_version.rpartition("/")
    return GVK(group, version, kind)


async def resource(discovery: Discovery, api_version: str, kind: str) -> Resource:
    """Return how a kind is served.

    Args:
        discovery: the cluster's.
        api_version: ``group/version``, a group alone, or nothing for a well-known kind.
        kind: the kind, spelt as in a manifest.

    Raises:
        failure.CommandError: it is not served; the message says how to find what is.
    """
    try:
        if "/" in api_version or api_version == "v1":
            return await discovery.resource(gvk(api_version, kind))
        group = api_version or _WELL_KNOWN.get(kind, "")
        return await discovery.for_group_kind(group, kind)
    except errors.NoMatch as err:
        raise failure.CommandError(
            f"{err}; kinds are spelt as in a manifest (Deployment, not deploy), and "
            "get_kubernetes_api_versions lists the custom ones with their versions"
        ) from err


async def groups(client: Client) -> list[str]:
    """Return the API groups of a cluster, the core's empty name first."""
    body = await client.get_raw("/apis")
    return ["", *(each.name for each in msgspec.json.decode(body, type=_Groups).groups)]


async def get(client: Client, found: Resource, namespace: str, name: str) -> JsonObject:
    """Return one whole object.

    Raises:
        failure.CommandError: there is none.
    """
    try:
        return await client.get(found, namespace, name)
    except errors.NotFound as err:
        where = f"{namespace}/" if namespace else ""
        raise failure.CommandError(
            f"{found.gvk.kind}/{where}{name} is not there; list its kind to see the names"
        ) from err


async def page(
    client: Client,
    found: Resource,
    *,
    namespace: str = "",
    selector: str = "",
    limit: int = 50,
    following: str = "",
) -> Page:
    """Return some objects of a kind.

    Args:
        client: the cluster.
        found: the kind.
        namespace: of one namespace; empty for all.
        selector: of these labels; commas or blanks stand between several.
        limit: how many at most.
        following: what the page before said.
    """
    params = {"limit": str(limit)}
    if selector:
        params["labelSelector"] = ",".join(selector.replace(",", " ").split())
    if following:
        params["continue"] = following
    body = await client.get_raw(found.path(namespace), params=params)
    answer = msgspec.json.decode(body, type=_Page)
    head = {"apiVersion": found.gvk.api_version, "kind": found.gvk.kind}
    items = [head | orjson.loads(bytes(each)) for each in answer.items]
    return Page(items, answer.metadata.continue_)


async def several(
    client: Client, discovery: Discovery, wanted: Iterable[tuple[ObjectId, str]]
) -> dict[ObjectId, JsonObject]:
    """Return the objects of an inventory that are there and may be read."""
    found: dict[ObjectId, JsonObject] = {}
    slots = asyncio.Semaphore(16)

    async def read(obj: ObjectId, version: str) -> None:
        async with slots:
            with suppress(errors.NotFound, errors.Forbidden):
                served = await discovery.for_group_kind(obj.group, obj.kind, version)
                found[obj] = await client.get(served, obj.namespace, obj.name)

    async with asyncio.TaskGroup() as tasks:
        for obj, version in wanted:
            tasks.create_task(read(obj, version), name=f"read {obj}")
    return found
