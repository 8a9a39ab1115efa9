"""One whole object as it is shown; a Flux object with its events, its source and its release."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from inspection import events, failure, flux, kinds, live, masking, released
from kube import errors
from kube.objects import GVK
from mcp_server import shapes

if TYPE_CHECKING:
    from inspection.flux import FluxObject
    from kube.objects import JsonObject
    from mcp_server.desk import Call, Site

_MOST_EVENTS: Final = 100
_ROUTINE: Final = "ReconciliationSucceeded"


async def whole(call: Call, site: Site, obj: JsonObject) -> JsonObject:
    """Return an object as it is shown. What may not be read besides it is left out."""
    shown = shapes.whole(obj)
    if not flux.is_flux(GVK.of(obj).group):
        return shown
    found = flux.FluxObject(site.name, obj)
    more: dict[str, Any] = {}
    with suppress(errors.Forbidden):
        more |= await _source(site, found)
    with suppress(errors.Forbidden):
        more |= await _inventory(call, site, found)
    with suppress(errors.Forbidden):
        more |= await _events(site, found)
    status = dict(shown.get("status") or {}) | more
    return shown | {"status": status} if status else shown


async def _source(site: Site, obj: FluxObject) -> dict[str, Any]:
    """Return where the content comes from, and how that stands."""
    ref = obj.source
    if ref is None:
        return {}
    told: dict[str, Any] = {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}
    kind = kinds.words().get(ref.kind.lower())
    if kind is None:
        return {"source": told}
    try:
        body = await live.get(site.client, kind.resource, ref.namespace, ref.name)
    except failure.MissingError:
        return {"source": told | {"state": "Missing"}}
    head = {"apiVersion": kind.gvk.api_version, "kind": kind.name}
    source = flux.FluxObject(site.name, head | body)
    told |= {
        "state": str(source.state),
        "url": masking.text(str(source.spec.get("url") or source.spec.get("endpoint") or "")),
        "revision": source.revision,
        "message": masking.text(source.message),
    }
    return {"source": {key: value for key, value in told.items() if value}}


async def _inventory(call: Call, site: Site, obj: FluxObject) -> dict[str, Any]:
    """Return what a HelmRelease released, with the images."""
    if obj.kind != "HelmRelease":
        return {}
    found = await released.find(
        site.client, site.discovery, obj, call.desk.clock, call.desk.threads
    )
    return {"inventory": msgspec.to_builtins(found)} if found else {}


async def _events(site: Site, obj: FluxObject) -> dict[str, Any]:
    """Return what happened to it lately, without what is routine."""
    found = await events.listed(site.client, obj.namespace, kind=obj.kind, name=obj.name)
    told = [
        {"lastTimestamp": each.when, "type": each.type, "message": masking.text(each.message)}
        for each in found
        if each.reason != _ROUTINE
    ]
    return {"events": told[-_MOST_EVENTS:]} if told else {}
