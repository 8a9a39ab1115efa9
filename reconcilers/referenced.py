"""The ConfigMaps and Secrets that our objects refer to: which ones, and how they are read.

Every read is noted with `kube.references`, which wakes the reader when there is a newer version.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from api.helm import HelmRelease
from api.kustomize import Kustomization
from api.notification import Receiver
from kube import errors, references
from kube.helm import record
from kube.objects import ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.kustomize import KubeConfig
    from api.meta import ObjectRef
    from api.served import AnyKind
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext


def of(obj: AnyKind) -> frozenset[ObjectId]:
    """Return what an object reacts to; but for records of releases it is in its own namespace."""
    named: Iterator[tuple[str, str]]
    match obj:
        case Kustomization(spec=spec) if not spec.suspend:
            named = _named(obj)
        case HelmRelease(spec=spec) if not spec.suspend:
            return frozenset((*_values(obj), *_records(obj)))
        case Receiver(spec=spec) if not spec.suspend and spec.secret_ref:
            named = iter([(references.SECRET, spec.secret_ref.name)])
        case _:
            named = iter(())
    namespace = obj.metadata.namespace
    return frozenset(ObjectId(namespace, name, "", kind) for kind, name in named)


def _named(item: Kustomization) -> Iterator[tuple[str, str]]:
    spec = item.spec
    for each in spec.post_build.substitute_from if spec.post_build else ():
        yield each.kind, each.name
    if spec.decryption and spec.decryption.secret_ref:
        yield references.SECRET, spec.decryption.secret_ref.name
    yield from _ways(spec.kube_config)


def _ways(where: KubeConfig | None) -> Iterator[tuple[str, str]]:
    if where and where.secret_ref:
        yield references.SECRET, where.secret_ref.name
    if where and where.config_map_ref:
        yield references.CONFIG_MAP, where.config_map_ref.name


def _values(item: HelmRelease) -> Iterator[ObjectId]:
    named = [(each.kind, each.name) for each in item.spec.values_from]
    for kind, name in (*named, *_ways(item.spec.kube_config)):
        yield ObjectId(item.metadata.namespace, name, "", kind)


def _records(item: HelmRelease) -> Iterator[ObjectId]:
    """Yield the newest record of a release and the one that would follow it.

    Whoever releases behind our back writes one of the two.
    """
    status = item.status
    if item.spec.kube_config or not status.storage_namespace:
        return
    newest = status.history[0] if status.history else None
    name = newest.name if newest else ""
    for version in (newest.version, newest.version + 1) if newest else ():
        secret = record.secret_name(name, version)
        yield ObjectId(status.storage_namespace, secret, "", references.SECRET)


async def read(
    context: ClusterContext, target: ObjectId, owner: ObjectRef | None = None
) -> JsonObject:
    """Return a ConfigMap or Secret, read with the daemon's own identity.

    Args:
        context: the cluster.
        target: what to read.
        owner: who acts on it and is to be woken when it changes.

    Raises:
        ApiError: it is not there, or cannot be read now.
    """
    resource = references.RESOURCES[target.kind]
    try:
        obj = await context.client.get(resource, target.namespace, target.name)
    except errors.NotFound:
        if owner:
            context.references.note(owner, target, references.ABSENT)
        raise
    if owner:
        context.references.note(owner, target, version_of(obj))
    return obj


def version_of(obj: JsonObject) -> references.Version:
    """Return what changes whenever an object does: its uid and its resourceVersion."""
    metadata = obj["metadata"]
    return str(metadata.get("uid", "")), str(metadata.get("resourceVersion", ""))


def data_of(obj: JsonObject) -> dict[str, bytes]:
    """Return the values of a Secret, decoded; of a ConfigMap those that are text.

    A value that is no base64 is left out, which the API server lets nobody write.
    """
    values = obj.get("data") or {}
    if obj.get("kind") == references.CONFIG_MAP:
        return {key: value.encode() for key, value in values.items()}
    found = {}
    for key, value in values.items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except binascii.Error:
            continue
    return found
