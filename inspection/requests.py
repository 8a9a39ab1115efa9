"""What people ask of Flux objects: reconcile now, stop, go on. All by merge patches, as flux does.

A request is an annotation with a new text; whoever reconciles the object answers by putting the
text into ``status.lastHandledReconcileAt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from api import meta
from inspection import failure, flux
from kube import client as kube_client
from kube import errors
from runtime import clock

if TYPE_CHECKING:
    from kube.client import Client
    from kube.objects import GVK, JsonObject, Resource

MANAGER: Final = "gitopsd-cli"
"""Field manager of what people write through us: annotations and ``spec.suspend``."""


def token() -> str:
    """Return the text of a new request: the time, to the microsecond."""
    return clock.SystemClock().now().isoformat(timespec="microseconds")


async def reconcile(
    client: Client,
    resource: Resource,
    namespace: str,
    name: str,
    *,
    request: str,
    force: bool = False,
    reset: bool = False,
    verify: bool = False,
) -> JsonObject:
    """Ask for a reconcile of one object and return the object.

    Args:
        client: the cluster.
        resource: its kind.
        namespace: where it is.
        name: its name.
        request: the text of the request, see `token`.
        force: of a HelmRelease: install or upgrade in any case.
        reset: of a HelmRelease: forget its failures.
        verify: of a Kustomization: compare every object by a dry run.

    Raises:
        failure.MissingError: there is no such object.
    """
    annotations = {meta.REQUESTED_AT: request}
    chosen = {meta.FORCE_AT: force, meta.RESET_AT: reset, meta.VERIFY: verify}
    annotations |= {name: request for name, is_chosen in chosen.items() if is_chosen}
    body: JsonObject = {"metadata": {"annotations": annotations}}
    return await patch(client, resource, namespace, name, body)


async def suspend(
    client: Client, resource: Resource, namespace: str, name: str, *, is_suspended: bool
) -> JsonObject:
    """Suspend or resume one object: by its spec, an operator's kind by its annotation.

    Raises:
        failure.MissingError: there is no such object.
    """
    body: JsonObject = {"spec": {"suspend": is_suspended or None}}
    if is_operators(resource.gvk):
        value = "disabled" if is_suspended else "enabled"
        body = {"metadata": {"annotations": {meta.INSTANCE_RECONCILE: value}}}
    return await patch(client, resource, namespace, name, body)


async def patch(
    client: Client, resource: Resource, namespace: str, name: str, body: JsonObject
) -> JsonObject:
    """Change one object by a merge patch and return what it is now.

    Raises:
        failure.MissingError: there is no such object.
    """
    try:
        raw = await client.patch(
            resource,
            namespace,
            name,
            orjson.dumps(body),
            content_type=kube_client.MERGE,
            manager=MANAGER,
        )
    except errors.NotFound as err:
        raise failure.MissingError(f"{resource.gvk.kind}/{namespace}/{name} is not there") from err
    found: JsonObject = orjson.loads(raw)
    return found


def is_operators(gvk: GVK) -> bool:
    """Tell whether a kind is one of Flux's operator, which are suspended by an annotation."""
    return gvk.group == meta.INSTANCE_GROUP


def check_is_flux(gvk: GVK) -> None:
    """Refuse what nobody reconciles.

    Raises:
        failure.UsageError: the kind is not one of Flux's.
    """
    if not flux.is_flux(gvk.group):
        raise failure.UsageError(
            f"{gvk.kind} of {gvk.group or 'the core group'} is no Flux kind: there is nothing to "
            "reconcile, suspend or resume; name the Kustomization or HelmRelease that applies it "
            "(trace finds it)"
        )
