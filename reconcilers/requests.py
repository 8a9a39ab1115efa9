"""Asks the resources of a Receiver to reconcile, by the annotation that every Flux tool uses.

The annotation reaches objects of every kind, also those that another controller reconciles. One
resource that cannot be asked does not keep the others from being asked.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from kube import errors
from kube.objects import GVK, JsonObject
from reconcilers import filters
from runtime import cel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.notification import Receiver, ReceiverResource
    from kube.objects import Resource
    from reconcilers.context import ClusterContext
    from reconcilers.filters import Call, Filter

AT_ONCE: Final = 8
"""Objects asked at the same time."""

_SOURCE_KINDS: Final = (
    "Bucket",
    "HelmChart",
    "HelmRepository",
    "GitRepository",
    "OCIRepository",
)
_API_VERSIONS: Final = dict.fromkeys(_SOURCE_KINDS, "source.toolkit.fluxcd.io/v1") | {
    "ImageRepository": "image.toolkit.fluxcd.io/v1",
    "ArtifactGenerator": "source.extensions.fluxcd.io/v1beta1",
}
"""What Flux takes an absent ``apiVersion`` to mean; every other kind has to state it."""

_LOG = logging.getLogger(__name__)


class RequestError(Exception):
    """A resource of a Receiver that cannot be asked."""


class _List(msgspec.Struct):
    items: tuple[JsonObject, ...] = ()


async def request_all(context: ClusterContext, receiver: Receiver, call: Call) -> int:
    """Ask every resource of a Receiver to reconcile that its filters let pass.

    Returns:
        How many could not be asked; each is logged.
    """
    try:
        resources = await filters.of_call(context, receiver, call)
    except (filters.FilterError, cel.CompileError) as err:
        _log_failure(context, receiver, "*", "*", err)
        return len(receiver.spec.resources)
    failures = 0
    for resource, wanted in resources:
        try:
            failures += await _request(context, receiver, resource, wanted)
        except (RequestError, cel.EvaluationError, errors.ApiError) as err:
            failures += 1
            _log_failure(context, receiver, resource.kind, resource.name, err)
    return failures


async def _request(
    context: ClusterContext, receiver: Receiver, wanted: ReceiverResource, filter_: Filter
) -> int:
    """Ask one object, or all that match; return how many of these could not be asked."""
    namespace = wanted.namespace or receiver.metadata.namespace
    if context.settings.no_cross_namespace_refs and namespace != receiver.metadata.namespace:
        raise RequestError("cross-namespace references have been blocked")
    resource = await context.discovery.resource(_gvk(wanted))
    if wanted.name != "*":
        if filter_ and not filter_.passes(
            await context.client.get(resource, namespace, wanted.name)
        ):
            return 0
        await _annotate(context, resource, namespace, wanted.name)
        return 0
    if not wanted.match_labels:
        raise RequestError("matchLabels is required where name is '*'")
    slots, failed = asyncio.Semaphore(AT_ONCE), []

    async def ask(obj: JsonObject) -> None:
        name = obj["metadata"]["name"]
        async with slots:
            try:
                if filter_.passes(obj):
                    await _annotate(context, resource, namespace, name)
            except (cel.EvaluationError, errors.ApiError) as err:
                failed.append(name)
                _log_failure(context, receiver, wanted.kind, name, err)

    async with asyncio.TaskGroup() as group:
        async for obj in _labelled(context, resource, namespace, wanted.match_labels):
            group.create_task(ask(obj), name=f"request {wanted.kind} in {namespace}")
    return len(failed)


def _gvk(wanted: ReceiverResource) -> GVK:
    """Return the kind of a resource.

    Raises:
        RequestError: its API version is not stated and has no default.
    """
    api_version = wanted.api_version or _API_VERSIONS.get(wanted.kind, "")
    if not api_version:
        raise RequestError(f"apiVersion is required for kind {wanted.kind}")
    return GVK.of({"apiVersion": api_version, "kind": wanted.kind})


async def _labelled(
    context: ClusterContext, resource: Resource, namespace: str, labels: dict[str, str]
) -> AsyncIterator[JsonObject]:
    """Yield the kind and the metadata of the objects that have all the labels."""
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    pages = context.client.list_pages(
        resource, namespace=namespace, label_selector=selector, metadata_only=True
    )
    async for page in pages:
        for item in msgspec.json.decode(page, type=_List).items:
            api_version, kind = resource.gvk.api_version, resource.gvk.kind
            yield {"apiVersion": api_version, "kind": kind, "metadata": item["metadata"]}


async def _annotate(context: ClusterContext, resource: Resource, namespace: str, name: str) -> None:
    """Write a fresh request on one object."""
    token = context.clock.now().isoformat()
    body = msgspec.json.encode({"metadata": {"annotations": {meta.REQUESTED_AT: token}}})
    await context.client.patch(resource, namespace, name, body, manager=meta.NOTIFICATION_MANAGER)


def _log_failure(
    context: ClusterContext, receiver: Receiver, kind: str, name: str, err: Exception
) -> None:
    _LOG.warning(
        "receiver cannot request a reconcile",
        extra={
            "cluster": context.name,
            "receiver": str(receiver.ref(context.name)),
            "resource": f"{kind}/{name}",
            "error": str(err),
        },
    )
