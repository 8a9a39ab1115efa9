"""The digests by which Flux tells whether a release is still the one that it made.

Byte for byte Flux's: a digest that came out otherwise would upgrade every release once when a
cluster moves here, and once more when it moves back.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from kube.helm import gojson, goyaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.helm import PostRenderer
    from api.kustomize import CommonMetadata
    from kube.helm.record import Record
    from kube.objects import JsonObject


def of_values(values: JsonObject) -> str:
    """Return the digest of merged values: ``configDigest`` and ``lastAttemptedConfigDigest``."""
    return _sha256(goyaml.dump(values) if values else b"")


def of_record(record: Record, oci_digest: str = "") -> str:
    """Return the digest of a record in storage: ``history[].digest``.

    Args:
        record: the record, as it was read.
        oci_digest: the digest of the OCI artifact that the chart came from.
    """
    raise NotImplementedError


def of_post_renderers(renderers: Sequence[PostRenderer]) -> str:
    """Return the digest of ``spec.postRenderers``; empty where there are none."""
    return _sha256(gojson.encode(list(renderers)) + b"\n") if renderers else ""


def of_common_metadata(metadata: CommonMetadata | None) -> str:
    """Return the digest of ``spec.commonMetadata``; empty where there is none."""
    raise NotImplementedError


def _sha256(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
