"""What is encrypted by SOPS, and in which format: in objects, in Secrets' values, in files. Pure.

The signs are Flux's: a ``sops`` block with a ``mac`` in an object of any kind, and the block's text
in a value of a Secret or in a file that a generator or a patch reads.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from api import meta

if TYPE_CHECKING:
    from kube.objects import JsonObject

MAX_FILE: Final = 5 * 1024 * 1024
"""Bytes of a file that is decrypted before the build, as in Flux."""
_MARKERS: Final = (
    ("json", re.compile(rb'"mac"\s*:\s*"ENC\[')),
    ("dotenv", re.compile(rb"^sops_mac=ENC\[", re.MULTILINE)),
    ("ini", re.compile(rb"^\[sops\]", re.MULTILINE)),
    ("yaml", re.compile(rb"^\s*mac: ENC\[", re.MULTILINE)),
)
_EXTENSIONS: Final = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".env": "dotenv",
    ".ini": "ini",
    ".dockerconfigjson": "json",
}
_BINARY: Final = "binary"
_WRAPPED: Final = frozenset({"data", "sops"})
"""The keys of the JSON in which SOPS keeps a file of no format that it knows."""
_DISABLED: Final = "disabled"


@dataclass(frozen=True, slots=True)
class Sealed:
    """One encrypted text."""

    content: bytes = field(repr=False)
    source: str
    """Its format: yaml, json, dotenv, ini or binary."""
    target: str
    """The format to decrypt into."""
    is_whole: bool
    """Whether the text is as it was encrypted, so that its MAC can be verified. An object that went
    through kustomize has its keys in another order."""


def may_be_in(text: bytes) -> bool:
    """Whether the YAML of an object can hold anything encrypted; to spare the others a look."""
    return b"sops" in text or b"kind: Secret" in text


def of_text(content: bytes, name: str) -> Sealed | None:
    """Return a file's or value's content as something encrypted; None where it is not.

    Args:
        content: the whole content.
        name: the file's name or the value's key, which decides the format to decrypt into.
    """
    if b"ENC[" not in content:
        return None
    source = next((kind for kind, marker in _MARKERS if marker.search(content)), None)
    if source is None:
        return None
    extension = posixpath.splitext(name)[1] or name
    target = _EXTENSIONS.get(extension, "")
    if source == "json" and not target and _is_wrapped(content):
        return Sealed(content, _BINARY, _BINARY, is_whole=True)
    return Sealed(content, source, target or source, is_whole=True)


def of_object(obj: JsonObject) -> Sealed | None:
    """Return an object as something encrypted; None where it, as a whole, is not."""
    block = obj.get("sops")
    if not isinstance(block, dict) or not block.get("mac"):
        return None
    return Sealed(orjson.dumps(obj), "json", "json", is_whole=False)


def of_values(obj: JsonObject) -> dict[str, Sealed]:
    """Return the encrypted values of a Secret by their key; none of any other object."""
    data = obj.get("data")
    if obj.get("kind") != "Secret" or obj.get("apiVersion") != "v1" or not isinstance(data, dict):
        return {}
    found = {}
    for key, value in data.items():
        try:
            text = base64.b64decode(value, validate=False) if isinstance(value, str) else b""
        except binascii.Error:
            continue  # the API server will say so
        sealed = of_text(text, key)
        if sealed:
            found[key] = sealed
    return found


def is_kept(obj: JsonObject) -> bool:
    """Whether an object's annotation asks to leave it encrypted."""
    annotations = obj["metadata"].get("annotations")
    value = annotations.get(meta.DECRYPT) if isinstance(annotations, dict) else None
    return isinstance(value, str) and value.lower() == _DISABLED


def _is_wrapped(content: bytes) -> bool:
    try:
        return set(orjson.loads(content)) == _WRAPPED
    except (orjson.JSONDecodeError, TypeError):
        return False
