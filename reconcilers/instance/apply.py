"""Applies the objects of a FluxInstance and removes those that it no longer names.

The pair are Flux objects, which the informers hold whole: whether there is anything to do is seen
without a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from api import meta
from api.meta import InventoryEntry
from kube import cleanup, client, errors, ownership
from kube import inventory as inventories
from kube.objects import GVK, ObjectId
from reconcilers.instance import scope, sync

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.instance import FluxInstance
    from kube.informer import Informer
    from kube.objects import JsonObject, Resource
    from reconcilers.context import ClusterContext
    from reconcilers.instance.sync import OfPair

PRUNE: Final = f"{meta.INSTANCE_GROUP}/prune"
"""Annotation or label by which an object of an instance is kept from being deleted."""


def inventory(wanted: Iterable[JsonObject]) -> tuple[InventoryEntry, ...]:
    """Return the inventory of what is applied."""
    return tuple(
        InventoryEntry(id=ObjectId.of(each).entry, v=GVK.of(each).version) for each in wanted
    )


def name(manifest: JsonObject) -> str:
    """Return ``Kind/namespace/name``."""
    return str(ObjectId.of(manifest))


def live(context: ClusterContext, manifest: JsonObject) -> OfPair | None:
    """Return the live object of a manifest of the pair, None where there is none."""
    key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    found: OfPair | None = _informer(context, manifest).get(*key)
    return found


def _informer(context: ClusterContext, manifest: JsonObject) -> Informer[Any]:
    informer = context.informers.named(manifest["kind"])
    if informer is None:
        raise AssertionError("every kind of the pair is followed")
    return informer


async def apply_all(
    context: ClusterContext, wanted: Iterable[JsonObject], *, is_new: bool
) -> list[str]:
    """Apply what is not as it should be.

    Args:
        context: the cluster.
        wanted: what the instance creates.
        is_new: whether it was something else so far: a field that is declared no longer is only
            found by applying.

    Returns:
        A line for each object that was written, ``Kind/namespace/name created``.

    Raises:
        ApiError: the API server refused one.
    """
    lines = []
    for manifest in wanted:
        if not sync.is_of_pair(manifest):
            if await _create(context, manifest):
                lines.append(f"{name(manifest)} created")
            continue
        found = live(context, manifest)
        if not is_new and sync.is_current(found, manifest):
            continue
        is_created = await _apply(context, manifest, exists=found is not None)
        if found is None or _version(found) != _version(live(context, manifest)):
            lines.append(f"{name(manifest)} {'created' if is_created else 'configured'}")
    return lines


def _version(obj: OfPair | None) -> str:
    return obj.metadata.resource_version if obj else ""


async def _create(context: ClusterContext, manifest: JsonObject) -> bool:
    """Create an object unless there is one, whoever made it; return whether it was created."""
    resource = await context.discovery.resource(GVK.of(manifest))
    metadata = manifest["metadata"]
    try:
        await context.client.metadata(resource, metadata["namespace"], metadata["name"])
    except errors.NotFound:
        body = orjson.dumps(manifest)
        await context.client.create(
            resource, metadata["namespace"], body, manager=meta.INSTANCE_MANAGER
        )
        return True
    return False


async def _apply(context: ClusterContext, manifest: JsonObject, *, exists: bool) -> bool:
    """Apply one object; return whether it was created."""
    resource = await context.discovery.resource(GVK.of(manifest))
    metadata = manifest["metadata"]
    if exists:
        await _adopt(context, resource, manifest)
    applied = await context.client.apply(
        resource,
        orjson.dumps(manifest),
        metadata["namespace"],
        metadata["name"],
        manager=meta.INSTANCE_MANAGER,
    )
    _informer(context, manifest).observe(applied.raw)
    return applied.created


async def _adopt(context: ClusterContext, resource: Resource, manifest: JsonObject) -> None:
    """Take an object over from whoever applied it before: kubectl, Flux's bootstrap, Helm."""
    key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    try:
        metadata = await context.client.metadata(resource, *key)
    except errors.NotFound:
        return
    patch = cleanup.patch(metadata, scope.IDENTITY, manifest)
    if patch is not None:
        await context.client.patch(
            resource, *key, patch, content_type=client.JSON_PATCH, manager=meta.INSTANCE_MANAGER
        )


async def prune(
    context: ClusterContext, flux: FluxInstance, kept: Iterable[InventoryEntry]
) -> list[str]:
    """Delete what the instance applied before and no longer names.

    As in the operator, deleting the sync Kustomization lets it prune what it applied.

    Returns:
        A line for each object that was deleted.

    Raises:
        ApiError: the API server refused.
    """
    if flux.status.inventory is None:
        return []
    old = inventories.parse(flux.status.inventory.entries)
    gone = inventories.without(old, inventories.parse(kept))
    lines = []
    for obj, version in reversed(gone):
        resource = await context.discovery.resource(GVK(obj.group, version, obj.kind))
        if await _delete(context, flux, resource, obj):
            lines.append(f"{obj} deleted")
    return lines


async def _delete(
    context: ClusterContext, flux: FluxInstance, resource: Resource, obj: ObjectId
) -> bool:
    """Delete one object that still belongs to the instance; return whether it did."""
    try:
        metadata = await context.client.metadata(resource, obj.namespace, obj.name)
        if not owns(flux, metadata) or _is_kept(metadata):
            return False
        await context.client.delete(resource, obj.namespace, obj.name, uid=metadata.uid)
    except errors.NotFound:
        return False
    return True


def owns(flux: FluxInstance, metadata: meta.ObjectMeta) -> bool:
    """Tell whether an object's labels name the instance as its owner."""
    owner = ownership.owner_of(metadata.labels, scope.IDENTITY)
    return owner == (flux.metadata.namespace, flux.metadata.name)


def _is_kept(metadata: meta.ObjectMeta) -> bool:
    return any(
        values.get(PRUNE, "").lower() == "disabled"
        for values in (metadata.labels, metadata.annotations)
    )
