"""The ConfigMaps and Secrets that our objects refer to: which ones, and how they are read."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from kube.objects import GVK, ObjectId, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.kustomize import Kustomization
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext

SECRET: Final = "Secret"  # noqa: S105 - a kind
CONFIG_MAP: Final = "ConfigMap"
RESOURCES: Final = {
    SECRET: Resource(GVK("", "v1", SECRET), "secrets", is_namespaced=True),
    CONFIG_MAP: Resource(GVK("", "v1", CONFIG_MAP), "configmaps", is_namespaced=True),
}
"""How each kind is served, by kind."""


def of_kustomization(item: Kustomization) -> frozenset[ObjectId]:
    """Return what a Kustomization refers to; all of it lies in its own namespace."""
    return frozenset(
        ObjectId(item.metadata.namespace, name, "", kind) for kind, name in _named(item)
    )


def _named(item: Kustomization) -> Iterator[tuple[str, str]]:
    spec = item.spec
    for each in spec.post_build.substitute_from if spec.post_build else ():
        yield each.kind, each.name
    if spec.decryption and spec.decryption.secret_ref:
        yield SECRET, spec.decryption.secret_ref.name
    if spec.kube_config and spec.kube_config.secret_ref:
        yield SECRET, spec.kube_config.secret_ref.name
    if spec.kube_config and spec.kube_config.config_map_ref:
        yield CONFIG_MAP, spec.kube_config.config_map_ref.name


async def read(context: ClusterContext, target: ObjectId) -> JsonObject:
    """Return a ConfigMap or Secret, read with the daemon's own identity.

    Raises:
        ApiError: it is not there, or cannot be read now.
    """
    return await context.client.get(RESOURCES[target.kind], target.namespace, target.name)


def version_of(obj: JsonObject) -> tuple[str, str]:
    """Return what changes whenever an object does: its uid and its resourceVersion."""
    metadata = obj["metadata"]
    return str(metadata.get("uid", "")), str(metadata.get("resourceVersion", ""))


def data_of(obj: JsonObject) -> dict[str, bytes]:
    """Return the values of a Secret, decoded; of a ConfigMap those that are text.

    A value that is no base64 is left out, which the API server lets nobody write.
    """
    values = obj.get("data") or {}
    if obj.get("kind") == CONFIG_MAP:
        return {key: value.encode() for key, value in values.items()}
    found = {}
    for key, value in values.items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except binascii.Error:
            continue
    return found
