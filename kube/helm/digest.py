"""The digests by which Flux tells whether a release is still the one that it made.

Byte for byte Flux's: a digest that came out otherwise would upgrade every release once when a
cluster moves here, and once more when it moves back.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from kube.helm import gojson, goyaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.helm import PostRenderer
    from api.kustomize import CommonMetadata
    from kube.helm.record import Record
    from kube.objects import JsonObject

_NULL: Final = b"null"


def of_values(values: JsonObject) -> str:
    """Return the digest of merged values: ``configDigest`` and ``lastAttemptedConfigDigest``."""
    return _sha256(goyaml.dump(values) if values else b"")


def of_record(record: Record, oci_digest: str = "") -> str:
    """Return the digest of a record in storage: ``history[].digest``.

    Args:
        record: the record, as it was read.
        oci_digest: the digest of the OCI artifact that the chart came from.
    """
    info = msgspec.structs.replace(record.info, rollback_revision=0)
    hooks = tuple(hook for hook in record.hooks if not hook.is_test)
    parts = {
        "name": record.fields["name"],
        "version": record.fields["version"],
        "info": gojson.encode(info),
        "chartMetadata": record.chart_metadata,
        "config": record.fields.get("config", _NULL) if record.config else _NULL,
        "manifest": record.fields.get("manifest", b'""'),
        "hooks": gojson.encode(hooks) if hooks else _NULL,
        "namespace": record.fields.get("namespace", b'""'),
    }
    if oci_digest:
        parts["ociDigest"] = gojson.encode(oci_digest)
    text = b",".join(b'"%b":%b' % (key.encode(), bytes(value)) for key, value in parts.items())
    return _sha256(b"{%b}\n" % text)


def of_post_renderers(renderers: Sequence[PostRenderer]) -> str:
    """Return the digest of ``spec.postRenderers``; empty where there are none."""
    return _sha256(gojson.encode(list(renderers)) + b"\n") if renderers else ""


def of_common_metadata(metadata: CommonMetadata | None) -> str:
    """Return the digest of ``spec.commonMetadata``; empty where there is none."""
    if metadata is None:
        return ""
    found = {"annotations": metadata.annotations, "labels": metadata.labels}
    wire = {key: dict(sorted(value.items())) for key, value in found.items() if value}
    return _sha256(gojson.encode(wire) + b"\n")


def _sha256(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
