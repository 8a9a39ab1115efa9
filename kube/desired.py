"""What one object must look like: its name, its digest and where its bytes lie.

A build of a thousand objects is a thousand of these, half a kilobyte each; the manifests
themselves stay on disk and are read one at a time, when there is something to send.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from api import meta
from kube.objects import GVK, JsonObject, ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DIGEST_SIZE: Final = 16
"""Bytes of every digest kept in memory or in the baseline file."""


def digest(data: bytes) -> bytes:
    """Return the 16 byte BLAKE2b digest of some bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_SIZE).digest()


class Flag(enum.IntFlag):
    """What labels and annotations ask of the apply engine, readable without the manifest."""

    NONE = 0
    IGNORE = 1
    """``ssa: Ignore`` or ``reconcile: disabled``: never applied, never pruned."""
    IF_NOT_PRESENT = 2
    """``ssa: IfNotPresent``: created when absent, otherwise left alone."""
    MERGE = 4
    """``ssa: Merge``: other managers keep their fields."""
    FORCE = 8
    """``force: enabled``: recreated when an immutable field changes."""
    KEEP = 16
    """``prune: disabled``: never deleted by prune or finalizer."""
    FOREIGN = 32
    """Somebody else left what an apply cleans away (see `kube.cleanup`); of live objects only."""


_FLAGS: Final = (
    (meta.SSA, "ignore", Flag.IGNORE),
    (meta.RECONCILE, "disabled", Flag.IGNORE),
    (meta.SSA, "ifnotpresent", Flag.IF_NOT_PRESENT),
    (meta.SSA, "merge", Flag.MERGE),
    (meta.FORCE, "enabled", Flag.FORCE),
    (meta.PRUNE, "disabled", Flag.KEEP),
)


def flags_of(labels: Mapping[str, str] | None, annotations: Mapping[str, str] | None) -> Flag:
    """Read the engine's switches; a label and an annotation count the same, in any letter case."""
    found = Flag.NONE
    for values in (labels, annotations):
        for key, value, flag in _FLAGS if values else ():
            if values and values.get(key, "").lower() == value:
                found |= flag
    return found


@dataclass(frozen=True, slots=True)
class Desired:
    """One object as it must be applied; the bytes are fetched through a `ManifestReader`."""

    id: ObjectId
    version: str
    """The API version's last part, such as ``v1``."""
    digest: bytes
    """Of the canonical JSON bytes that are sent, owner labels and common metadata included."""
    flags: Flag = Flag.NONE
    origin: str = ""
    """Where it was declared, for messages: ``deploy/app.yaml document 2``."""
    offset: int = 0
    """Where its bytes start in the reader's store."""
    length: int = 0
    unknown: tuple[str, ...] = ()
    """Paths of fields that were declared and left out, because the kind does not have them."""

    @property
    def gvk(self) -> GVK:
        """The kind with its version."""
        return GVK(self.id.group, self.version, self.id.kind)


def describe(
    obj: JsonObject,
    body: bytes,
    *,
    origin: str = "",
    offset: int = 0,
    unknown: Iterable[str] = (),
) -> Desired:
    """Make the `Desired` of a normalised object and its canonical bytes.

    Args:
        obj: the object, with apiVersion, kind and a name.
        body: its canonical JSON, see `kube.normalise.canonical`.
        origin: where it was declared.
        offset: where the reader finds the bytes.
        unknown: fields that were left out of them.
    """
    metadata = obj["metadata"]
    return Desired(
        id=ObjectId.of(obj),
        version=GVK.of(obj).version,
        digest=digest(body),
        flags=flags_of(metadata.get("labels"), metadata.get("annotations")),
        origin=origin,
        offset=offset,
        length=len(body),
        unknown=tuple(unknown),
    )


class ManifestReader(Protocol):
    """Finds the bytes of a desired object."""

    def read(self, desired: Desired) -> bytes:
        """Return the canonical JSON of the object."""
        ...
