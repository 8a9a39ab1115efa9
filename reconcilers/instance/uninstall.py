"""What remains when a FluxInstance is deleted: the workloads.

The sync Kustomization must vanish without pruning what it applied. Its finalizer is therefore taken
away first, and the deletion holds only for that very version of the object: had anybody put the
finalizer back in between, the API server would refuse, and the next run starts over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import orjson

from api import meta
from kube import errors, inventory
from kube.objects import GVK, PartialObject
from reconcilers.instance import apply

if TYPE_CHECKING:
    from api.instance import FluxInstance
    from kube.objects import ObjectId, PartialMeta, Resource
    from reconcilers.context import ClusterContext


async def release(context: ClusterContext, flux: FluxInstance) -> None:
    """Delete what the instance created, without letting any of it prune.

    Raises:
        ApiError: the API server refused; what is left is found again by the next run.
    """
    entries = inventory.parse(flux.status.inventory.entries if flux.status.inventory else ())
    for obj, version in reversed(entries):
        resource = await context.discovery.resource(GVK(obj.group, version, obj.kind))
        try:
            metadata = await context.client.metadata(resource, obj.namespace, obj.name)
            if apply.owns(flux, metadata):
                await _remove(context, resource, obj, metadata)
        except errors.NotFound:
            continue


async def _remove(
    context: ClusterContext, resource: Resource, obj: ObjectId, metadata: PartialMeta
) -> None:
    """Take the finalizers of one object away and delete it.

    Raises:
        Conflict: it changed in between.
        NotFound: it is gone, also when it waited for nothing but its finalizers.
    """
    change = {"finalizers": None, "resourceVersion": metadata.resource_version}
    raw = await context.client.patch(
        resource,
        obj.namespace,
        obj.name,
        orjson.dumps({"metadata": change}),
        manager=meta.INSTANCE_MANAGER,
    )
    version = msgspec.json.decode(raw, type=PartialObject).metadata.resource_version
    await context.client.delete(
        resource, obj.namespace, obj.name, uid=metadata.uid, resource_version=version
    )
