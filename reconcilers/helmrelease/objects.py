"""The objects of a record, as they are applied and as drift is judged by.

::

    ManifestError    a manifest is no YAML of objects
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from kube import manifests, normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kube.helm.record import Hook, Record
    from kube.objects import JsonObject

_MANAGED_BY: Final = {meta.MANAGED_BY: "Helm"}
_KEEP: Final = "keep"


class ManifestError(Exception):
    """A manifest is no YAML of objects; the message quotes none of it."""


def of_record(record: Record) -> list[JsonObject]:
    """Return the objects of the manifest, with the label and annotations that Helm sets. Blocking.

    The namespace is left as the template has it: which kinds have one, discovery knows.

    Raises:
        ManifestError: the manifest is no YAML of objects.
    """
    found = list(_parse(record.manifest))
    for obj in found:
        _mark(obj, record)
    return found


def of_hook(hook: Hook) -> JsonObject:
    """Return the object of a hook.

    Raises:
        ManifestError: it is no YAML of an object.
    """
    found = list(_parse(hook.manifest))
    if len(found) != 1:
        raise ManifestError(f"hook {hook.kind}/{hook.name} is not exactly one object")
    return found[0]


def is_kept(obj: JsonObject) -> bool:
    """Tell whether an object outlives its release: ``helm.sh/resource-policy: keep``."""
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(meta.HELM_RESOURCE_POLICY, "")).strip().lower() == _KEEP


def _mark(obj: JsonObject, record: Record) -> None:
    names = {
        meta.HELM_RELEASE_NAME: record.name,
        meta.HELM_RELEASE_NAMESPACE: record.namespace,
    }
    normalise.add_metadata(obj, "labels", _MANAGED_BY)
    normalise.add_metadata(obj, "annotations", names)


def _parse(text: str) -> Iterator[JsonObject]:
    try:
        for value in manifests.load_all(text):
            yield from _flat(value)
    except manifests.ManifestError as err:
        raise ManifestError(f"the manifest of the release cannot be read: {err}") from err


def _flat(value: object) -> Iterator[JsonObject]:
    """Yield an object, or those of a list; nothing of an empty document."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise ManifestError("the manifest of the release holds something that is no object")
    items = value.get("items")
    if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
        for each in items:
            yield from _flat(each)
        return
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not (value.get("apiVersion") and value.get("kind") and name):
        raise ManifestError("an object of the release has no apiVersion, kind or name")
    yield value
