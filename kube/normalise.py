"""Brings a manifest into the form that is sent, so that equal intentions have equal bytes.

The changes are Flux's, made before every apply: Kubernetes' own kinds take the form that a Go
client gives them (see `kube.typed`), ``stringData`` moves into ``data``, ports get their protocol,
what only a server may write is removed. Without them a Secret could not be compared and a port
list could not be merged.
"""

from __future__ import annotations

import base64
import json
import ssl
from typing import TYPE_CHECKING, Final

import orjson

from kube import stages, typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kube.objects import JsonObject

_UNTOUCHED: Final = frozenset({"Role", "ClusterRole"})
"""An empty ``rules`` means something to an aggregated role; Flux leaves both kinds alone."""
_POD_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_CA_BUNDLE_PATH: Final = ("spec", "conversion", "webhook", "clientConfig")


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
    dropped: list[str] | None = None,
) -> bytes:
    """Make an object ready to send, in Flux's order: owner labels, normalise, common metadata.

    Args:
        obj: the built object; it is changed in place.
        owner_labels: name and namespace of the owner under the owner's label keys.
        labels: of ``commonMetadata``.
        annotations: of ``commonMetadata``.
        dropped: gets the paths of fields that were left out, because the kind does not have them.

    Returns:
        The canonical JSON.
    """
    add_metadata(obj, "labels", owner_labels)
    unknown = normalise(obj)
    if dropped is not None:
        dropped += unknown
    add_metadata(obj, "labels", labels or {})
    add_metadata(obj, "annotations", annotations or {})
    return canonical(obj)


def add_metadata(obj: JsonObject, field: str, values: Mapping[str, str]) -> None:
    """Set labels or annotations on an object, in place; given values win."""
    if values:
        metadata = obj.setdefault("metadata", {})
        metadata[field] = {**(metadata.get(field) or {}), **values}


def normalise(obj: JsonObject) -> list[str]:
    """Apply Flux's changes to a built object, in place.

    An object whose parts have unexpected types is left for the server to refuse, since its
    message names the field.

    Returns:
        The paths of fields that the kind does not have and that are gone now, as with Flux.
    """
    kind = str(obj.get("kind", ""))
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("creationTimestamp", None)
    if kind == stages.CRD_KIND and group == stages.CRD_GROUP:
        _drop_broken_ca_bundle(obj)
        return []
    obj.pop("status", None)
    if kind in _UNTOUCHED:
        return []
    unknown = typed.round_trip(obj)
    if unknown is None:
        return []
    obj.pop("status", None)
    _set_defaults(obj, kind)
    return unknown


def _set_defaults(obj: JsonObject, kind: str) -> None:
    """Fill in what a built-in kind needs for a server-side apply."""
    if kind == "Secret":
        _merge_string_data(obj)
    elif kind == "Service":
        _default_protocol(_descend(obj, ("spec",)).get("ports"))
    elif kind in _POD_PATHS:
        for container in _dicts(_descend(obj, _POD_PATHS[kind]).get("containers")):
            _default_protocol(container.get("ports"))


def _drop_broken_ca_bundle(obj: JsonObject) -> None:
    """Remove a conversion webhook's CA bundle that no server accepts; an injector fills it later.

    Charts carry placeholders there, which Kubernetes 1.31 and later refuse.
    """
    config = _descend(obj, _CA_BUNDLE_PATH)
    bundle = config.get("caBundle")
    if isinstance(bundle, str) and bundle and not _is_ca_bundle(bundle):
        del config["caBundle"]


def _is_ca_bundle(text: str) -> bool:
    """Whether some base64 holds certificates that all can be read."""
    try:
        pem = base64.b64decode(text, validate=True).decode()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ValueError, ssl.SSLError):
        return False
    return True


def _merge_string_data(secret: JsonObject) -> None:
    """Encode ``stringData`` over ``data``, as the server would, so that both sides compare."""
    plain = secret.pop("stringData", None)
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
