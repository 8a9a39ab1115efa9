"""How objects are shown: whole and masked, in short, or by chosen fields. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from inspection import flux, masking
from kube import health, manifests
from kube.objects import GVK

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from kube.objects import JsonObject

_SPEC_IN_SHORT: Final = ("suspend", "sourceRef", "chartRef", "path", "url", "ref", "dependsOn")
_STATUS_IN_SHORT: Final = ("lastAppliedRevision", "lastAttemptedRevision")


def whole(obj: JsonObject) -> JsonObject:
    """Return an object without secrets and without what only API servers care for."""
    shown = masking.document(obj)
    metadata = dict(shown.get("metadata") or {})
    metadata.pop("managedFields", None)
    return shown | {"metadata": metadata}


def short(obj: JsonObject, now: dt.datetime) -> JsonObject:
    """Return an object in a few lines, its fields where the whole object has them."""
    metadata = obj.get("metadata") or {}
    names = {key: metadata[key] for key in ("name", "namespace") if metadata.get(key)}
    head = {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": names}
    if not flux.is_flux(GVK.of(obj).group):
        state = health.assess(obj, now)
        return head | {"status": {"state": str(state.status), "message": state.message}}
    found = flux.FluxObject("", obj)
    spec = {key: found.spec[key] for key in _SPEC_IN_SHORT if found.spec.get(key)}
    status = {key: found.status[key] for key in _STATUS_IN_SHORT if found.status.get(key)}
    if found.status.get("artifact"):
        status["artifact"] = {"revision": found.revision}
    ready = found.condition("Ready")
    if ready:
        shown = {key: ready.get(key) for key in ("type", "status", "reason", "message")}
        status["conditions"] = [shown]
    if found.inventory:
        status["inventory"] = {"count": len(found.inventory)}
    shortened: JsonObject = masking.tree(
        head | ({"spec": spec} if spec else {}) | {"status": status}
    )
    return shortened


def chosen(obj: JsonObject, fields: Sequence[str]) -> JsonObject:
    """Return the named fields of an object alone, with its kind and name.

    Args:
        obj: the object, masked already.
        fields: paths such as ``spec.path`` or ``status.conditions``; a path through a list is
            taken of every member.
    """
    metadata = obj.get("metadata") or {}
    names = {key: metadata[key] for key in ("name", "namespace") if metadata.get(key)}
    found: JsonObject = {"kind": obj.get("kind"), "metadata": names}
    for path in fields:
        value = _at(obj, path.strip().split("."))
        if value is not None:
            found[path.strip()] = value
    return found


def yaml(documents: Iterable[JsonObject]) -> str:
    """Return documents as YAML."""
    return "".join(f"---\n{manifests.dump(each).decode()}" for each in documents)


def _at(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON
    """Return what is at a path, None where nothing is."""
    if not path:
        return value
    if isinstance(value, list):
        found = [_at(each, path) for each in value]
        return [each for each in found if each is not None] or None
    if isinstance(value, dict):
        return _at(value.get(path[0]), path[1:])
    return None
