"""Brings a manifest into the form that is sent, so that equal intentions have equal bytes.

The changes are Flux's, made before every apply: ``stringData`` moves into ``data``, ports get
their protocol, nulls of built-in kinds disappear, what only a server may write is removed. Without
them a Secret could not be compared and a port list could not be merged.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

import orjson

from kube import stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kube.objects import JsonObject

_BUILT_IN_GROUPS: Final = frozenset({"", "apps", "autoscaling", "batch", "extensions", "policy"})
_BUILT_IN_SUFFIX: Final = ".k8s.io"
_CUSTOM_IN_SUFFIX: Final = frozenset({"gateway.networking.k8s.io", "snapshot.storage.k8s.io"})
"""Groups of custom resources under the suffix that built-in groups use."""
_UNTOUCHED: Final = frozenset({"Role", "ClusterRole"})
"""An empty ``rules`` means something to an aggregated role; Flux leaves both kinds alone."""
_STRING_MAPS: Final = frozenset({"data", "labels", "annotations", "matchLabels", "nodeSelector"})
_POD_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_POD_GROUPS: Final = frozenset({"", "apps", "batch"})


def canonical(obj: JsonObject) -> bytes:
    """Return the JSON of an object with sorted keys and without white space.

    Integers beyond 64 bits keep every digit.
    """
    try:
        return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()


def prepare(
    obj: JsonObject,
    *,
    owner_labels: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """Make an object ready to send, in Flux's order: owner labels, normalise, common metadata.

    Args:
        obj: the built object; it is changed in place.
        owner_labels: name and namespace of the owner under the owner's label keys.
        labels: of ``commonMetadata``.
        annotations: of ``commonMetadata``.

    Returns:
        The canonical JSON.
    """
    add_metadata(obj, "labels", owner_labels)
    normalise(obj)
    add_metadata(obj, "labels", labels or {})
    add_metadata(obj, "annotations", annotations or {})
    return canonical(obj)


def add_metadata(obj: JsonObject, field: str, values: Mapping[str, str]) -> None:
    """Set labels or annotations on an object, in place; given values win."""
    if values:
        metadata = obj.setdefault("metadata", {})
        metadata[field] = {**(metadata.get(field) or {}), **values}


def normalise(obj: JsonObject) -> None:
    """Apply Flux's changes to a built object, in place.

    An object whose parts have unexpected types is left for the server to refuse, since its
    message names the field.
    """
    kind = str(obj.get("kind", ""))
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("creationTimestamp", None)
    if not (kind == stages.CRD_KIND and group == stages.CRD_GROUP):
        obj.pop("status", None)
    if not is_built_in(group) or kind in _UNTOUCHED:
        return
    _drop_nulls(obj)
    if kind == "Secret" and not group:
        _merge_string_data(obj)
    elif kind == "Service" and not group:
        _default_protocol(_descend(obj, ("spec",)).get("ports"))
    elif kind in _POD_PATHS and group in _POD_GROUPS:
        for container in _dicts(_descend(obj, _POD_PATHS[kind]).get("containers")):
            _default_protocol(container.get("ports"))


def is_built_in(group: str) -> bool:
    """Whether the kinds of an API group are Kubernetes' own."""
    if group in _CUSTOM_IN_SUFFIX or group.endswith(".x-k8s.io"):
        return False
    return group in _BUILT_IN_GROUPS or group.endswith(_BUILT_IN_SUFFIX)


def _drop_nulls(value: object, field: str = "") -> None:
    """Remove null members; in a map of strings a null means an empty string."""
    if isinstance(value, dict):
        for key in [key for key, member in value.items() if member is None]:
            if field in _STRING_MAPS:
                value[key] = ""
            else:
                del value[key]
        for key, member in value.items():
            _drop_nulls(member, key)
    elif isinstance(value, list):
        for member in value:
            _drop_nulls(member)


def _merge_string_data(secret: JsonObject) -> None:
    """Encode ``stringData`` over ``data``, as the server would, so that both sides compare."""
    plain = secret.get("stringData")
    if not isinstance(plain, dict) or not all(isinstance(text, str) for text in plain.values()):
        return
    del secret["stringData"]
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def _default_protocol(ports: object) -> None:
    """Name the protocol, which is part of a port's key in server-side apply."""
    for port in _dicts(ports):
        port.setdefault("protocol", "TCP")


def _descend(obj: JsonObject, path: Iterable[str]) -> JsonObject:
    for key in path:
        value = obj.get(key)
        if not isinstance(value, dict):
            return {}
        obj = value
    return obj


def _dicts(value: object) -> Iterable[JsonObject]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
