"""The artifact of a source, as its status announces it to whoever consumes it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from api import rules
from api.meta import Struct


class Artifact(Struct, frozen=True, kw_only=True):
    """A packed copy of what a source held at one revision."""

    digest: Annotated[str, rules.matching(r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$")]
    """Digest of the stored file, ``<algorithm>:<hex>``."""
    path: str
    """Path of the file below the root of the artifact storage."""
    url: str
    """HTTP address at which the file can be fetched."""
    revision: str
    """What was packed, in the words of the source: ``main@sha1:<hex>`` for a Git branch."""
    last_update_time: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
    """When the file was written (RFC 3339, to the second)."""
    size: int | None = None
    """Size of the file in bytes."""
    metadata: dict[str, str] = {}
    """Further facts from the source, such as the annotations of an OCI manifest."""
