"""Takes over what earlier tools left on an object, as Flux does before it applies.

``kubectl`` and its like own the fields they wrote; a field that only they own survives an apply
of a manifest without it. Their entries in ``managedFields`` are therefore merged into ours first,
so that the apply that follows removes what the manifest does not have. Their book-keeping
annotations go too. The patch is pure; it is conditional on the resourceVersion it was made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from kube.ownership import (
    APPLY,
    LEGACY_ANNOTATIONS,
    LEGACY_LABELS,
    Identity,
    apply_entry,
    is_absorbed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kube.objects import JsonObject, ManagedField, PartialMeta

_METADATA: Final = "/metadata"


def patch(metadata: PartialMeta, identity: Identity, desired: JsonObject) -> bytes | None:
    """Return the JSON patch that makes an object ours alone, or None where nothing is to do.

    Args:
        metadata: the live object's.
        identity: who we are.
        desired: the manifest; what it declares itself stays.
    """
    declared = desired.get("metadata", {})
    steps = [
        *_removals("annotations", metadata.annotations, LEGACY_ANNOTATIONS, declared),
        *_removals("labels", metadata.labels, LEGACY_LABELS, declared),
    ]
    managers = merged(metadata, identity)
    if managers is not None:
        steps.append(_replace("managedFields", managers))
    if not steps:
        return None
    steps.append(_replace("resourceVersion", metadata.resource_version))
    return orjson.dumps(steps)


def migration(metadata: PartialMeta, api_version: str) -> bytes | None:
    """Return the JSON patch that says every manager wrote in one API version; None if all did.

    The fields of all managers and subresources are counted, since the server converts the object
    into the version of each entry.
    """
    if all(entry.api_version == api_version for entry in metadata.managed_fields):
        return None
    entries = [_wire(entry) | {"apiVersion": api_version} for entry in metadata.managed_fields]
    steps = [
        _replace("managedFields", entries),
        _replace("resourceVersion", metadata.resource_version),
    ]
    return orjson.dumps(steps)


def merged(metadata: PartialMeta, identity: Identity) -> list[JsonObject] | None:
    """Return ``managedFields`` with the absorbed managers in our entry; None where there are none.

    Where we never applied the object, the first absorbed entry becomes ours.
    """
    absorbed = [entry for entry in metadata.managed_fields if is_absorbed(entry, identity)]
    if not absorbed:
        return None
    ours = apply_entry(metadata, identity.manager)
    target = ours or absorbed[0]
    fields: JsonObject = {}
    for entry in (target, *absorbed):
        fields = union(fields, msgspec.json.decode(entry.fields_v1))
    taken = _wire(target) | {
        "manager": identity.manager,
        "operation": APPLY,
        "fieldsV1": fields,
    }
    return [
        taken if entry is target else _wire(entry)
        for entry in metadata.managed_fields
        if entry is target or not is_absorbed(entry, identity)
    ]


def union(left: JsonObject, right: JsonObject) -> JsonObject:
    """Return the union of two ``fieldsV1`` trees."""
    result = dict(left)
    for key, value in right.items():
        result[key] = union(result[key], value) if key in result else value
    return result


def _wire(entry: ManagedField) -> JsonObject:
    wire: JsonObject = msgspec.json.decode(msgspec.json.encode(entry))
    return wire


def _replace(field: str, value: object) -> JsonObject:
    return {"op": "replace", "path": f"{_METADATA}/{field}", "value": value}


def _removals(
    field: str, live: Mapping[str, str], keys: tuple[str, ...], declared: JsonObject
) -> list[JsonObject]:
    kept = declared.get(field) or {}
    return [
        {"op": "remove", "path": f"{_METADATA}/{field}/{_escaped(key)}"}
        for key in keys
        if key in live and key not in kept
    ]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
