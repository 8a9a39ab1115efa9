"""Any object of a cluster, Flux's or not, by the names people have for it."""

from __future__ import annotations

import asyncio
import re
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


_MOST_OF_NAME: Final = 100
"""Objects of one name in different namespaces."""
_PAIR: Final = re.compile(r"[^\s=!()]+(=|==|!=)[^\s=!()]*")


class Page(NamedTuple):
    """Some objects of a list."""

    items: list[JsonObject]
    following: str
    """Asks for the objects after these; empty at the end."""


class Selection(NamedTuple):
    """Which objects of a kind."""

    namespace: str = ""
    """Of one namespace; empty for all. Not looked at for a cluster-scoped kind."""
    labels: str = ""
    """A selector of labels; commas or blanks stand between several pairs."""
    fields: str = ""
    """A selector of fields."""


class _ListMeta(meta.Struct, frozen=True, kw_only=True):
    continue_: str = msgspec.field(name="continue", default="")


class _Page(meta.Struct, frozen=True, kw_only=True):
    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] = ()


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


def is_well_known(kind: str) -> bool:
    """Tell whether a kind, as `proper` spells it, is found without asking for its group."""
    return kind in _WELL_KNOWN or kind in _CORE


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


async def get(client: Client, found: Resource, namespace: str, name: str) -> JsonObject:
    """Return one whole object.

    Raises:
        failure.MissingError: there is none.
    """
    try:
        return await client.get(found, namespace, name)
    except errors.NotFound as err:
        where = f"{namespace}/" if namespace else ""
        raise failure.MissingError(
            f"{found.gvk.kind}/{where}{name} is not there; list its kind to see the names"
        ) from err


async def named(client: Client, found: Resource, namespace: str, name: str) -> list[JsonObject]:
    """Return the whole objects of a name: one, or those of every namespace where none is given.

    Raises:
        failure.MissingError: there is none.
    """
    head = {"apiVersion": found.gvk.api_version, "kind": found.gvk.kind}
    if namespace or not found.is_namespaced:
        where = namespace if found.is_namespaced else ""
        return [head | await get(client, found, where, name)]
    listed = await page(
        client, found, Selection(fields=f"metadata.name={name}"), limit=_MOST_OF_NAME
    )
    if not listed.items:
        raise failure.MissingError(
            f"{found.gvk.kind} {name} is not there, in no namespace; list its kind to see the names"
        )
    return listed.items


async def page(
    client: Client,
    found: Resource,
    wanted: Selection,
    *,
    limit: int = 50,
    following: str = "",
) -> Page:
    """Return some objects of a kind.

    Args:
        client: the cluster.
        found: the kind.
        wanted: which of its objects.
        limit: how many at most.
        following: what the page before said.
    """
    params = {
        "limit": str(limit),
        "labelSelector": label_selector(wanted.labels),
        "fieldSelector": wanted.fields,
        "continue": following,
    }
    namespace = wanted.namespace if found.is_namespaced else ""
    given = {key: value for key, value in params.items() if value}
    body = await client.get_raw(found.path(namespace), params=given)
    answer = msgspec.json.decode(body, type=_Page)
    head = {"apiVersion": found.gvk.api_version, "kind": found.gvk.kind}
    items = [head | orjson.loads(bytes(each)) for each in answer.items]
    return Page(items, answer.metadata.continue_)


def label_selector(text: str) -> str:
    """Return a selector as the API server reads it; blanks may part pairs in place of commas.

    A selector of sets, such as ``tier in (web, db)``, is left as it is.
    """
    words = text.replace(",", " ").split()
    return ",".join(words) if all(_PAIR.fullmatch(each) for each in words) else text.strip()


def selector_of(workload: JsonObject) -> str:
    """Return the selector of a workload's pods; empty where it has none."""
    found = (workload.get("spec") or {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in (found.get("matchLabels") or {}).items()]
    for each in found.get("matchExpressions") or ():
        key, values = each["key"], ",".join(each.get("values") or ())
        words = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append(words[each["operator"]])
    return ",".join(parts)


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
