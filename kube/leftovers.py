"""What an apply removes because it takes other managers' leftovers over, told before it does.

A dry run cannot show it: the take-over is a write of its own before the apply. But who owns what
is known, so what nobody owns any more once the absorbed managers are gone can be computed. Pure.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import msgspec

from kube import cleanup
from kube.ownership import LEGACY_ANNOTATIONS, LEGACY_LABELS, is_absorbed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kube.objects import JsonObject, ManagedField, PartialMeta
    from kube.ownership import Identity


def absorbed_managers(metadata: PartialMeta, identity: Identity) -> list[str]:
    """Return the names of the managers that an apply takes over, each once."""
    entries = (each for each in metadata.managed_fields if is_absorbed(each, identity))
    return list(dict.fromkeys(each.manager for each in entries))


def removed(
    answer: JsonObject, metadata: PartialMeta, identity: Identity, desired: JsonObject
) -> JsonObject:
    """Return what a dry run answered without what the take-over before the apply removes.

    Args:
        answer: of the dry run.
        metadata: the answer's, with its managers.
        identity: who applies.
        desired: the manifest.
    """
    result = copy.deepcopy(answer)
    absorbed = [each for each in metadata.managed_fields if is_absorbed(each, identity)]
    others = [each for each in metadata.managed_fields if not is_absorbed(each, identity)]
    _remove(result, _only_left(_fields(absorbed), _fields(others)))
    kept = desired.get("metadata") or {}
    for field, keys in (("annotations", LEGACY_ANNOTATIONS), ("labels", LEGACY_LABELS)):
        values = (result.get("metadata") or {}).get(field) or {}
        for key in keys:
            if key not in (kept.get(field) or {}):
                values.pop(key, None)
    return result


def _fields(entries: Iterable[ManagedField]) -> JsonObject:
    """Return the union of what managers own of the main resource."""
    fields: JsonObject = {}
    for entry in entries:
        if not entry.subresource:
            fields = cleanup.union(fields, msgspec.json.decode(entry.fields_v1))
    return fields


def _only_left(left: JsonObject, right: JsonObject) -> JsonObject:
    """Return the ``fieldsV1`` paths of one set that the other does not have.

    An empty member of the result stands for everything at and below its path.
    """
    found: JsonObject = {}
    for key, below in left.items():
        if key == ".":
            continue
        if key not in right and (not below or "." in below):
            found[key] = {}
        elif deeper := _only_left(below, right.get(key, {})):
            found[key] = deeper
    return found


def _remove(value: Any, doomed: JsonObject) -> None:  # noqa: ANN401 - decoded JSON of any shape
    """Take the paths of a ``fieldsV1`` set out of a value, in place; unknown ones are no matter."""
    for key, below in doomed.items():
        kind, _, name = key.partition(":")
        if kind == "f" and isinstance(value, dict) and name in value:
            if not below or _is_emptied(value[name], below):
                del value[name]
        elif kind in {"k", "v"} and isinstance(value, list):
            wanted = json.loads(name)
            for member in [each for each in value if _is_meant(each, wanted, kind)]:
                if not below or _is_emptied(member, below):
                    value.remove(member)


def _is_emptied(value: Any, doomed: JsonObject) -> bool:  # noqa: ANN401 - as above
    """Take paths out of a value and return whether that left nothing, which the server drops."""
    was_empty = not value
    _remove(value, doomed)
    return not value and not was_empty


def _is_meant(member: object, wanted: Any, kind: str) -> bool:  # noqa: ANN401 - as above
    if kind == "v":
        return bool(member == wanted)
    return isinstance(member, dict) and all(member.get(key) == wanted[key] for key in wanted)
