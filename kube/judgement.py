"""What is remembered of one object of ours, and the judgement of it. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kube.desired import Flag
from kube.ownership import Live, Owner, version_of

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from kube.baseline import Baseline
    from kube.ignore import FieldPath
    from kube.objects import PartialMeta


class DriftKind(enum.StrEnum):
    """What somebody did to an object of ours."""

    EDITED = "edited"
    """A field of ours was changed or taken."""
    DELETED = "deleted"
    UNLABELLED = "unlabelled"
    """It no longer names an owner."""
    MOVED = "moved"
    """It names another owner; to be told, not to be fought over."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What happened to an object, and who did it."""

    kind: DriftKind
    who: str
    """The manager that wrote last, ours if nobody else is on record; empty for a deletion."""
    resource_version: int = 0
    """When: the live resourceVersion it was seen at."""
    fields: tuple[str, ...] = field(default=(), compare=False)
    """What that manager wrote, some of it; empty for a deletion."""


@dataclass(slots=True)
class Entry:
    """What is remembered of one object."""

    version: str
    owners: frozenset[ObjectRef]
    live: Live | None = None
    baseline: Baseline | None = None
    is_gone: bool = False
    verified_s: float = 0.0
    ignored: tuple[FieldPath, ...] = ()
    """Fields that are left to others, and are no part of the ownership."""
    tolerated: int = 0
    """At which resourceVersion it was found to be as nobody wants it, and left so; 0 if not."""
    missed: int = 0
    """The resourceVersion of a list that did not have it while it was not known to exist."""

    @property
    def is_untouched(self) -> bool:
        """Whether nobody changed the object since the baseline was taken."""
        if self.live is None or self.baseline is None:
            return False
        if self.tolerated:
            return self.live.resource_version <= self.tolerated
        return self.live.ownership == self.baseline.ownership


def judge(owner: ObjectRef, entry: Entry) -> DriftKind | None:
    """Return what is wrong with an object from an owner's point of view, or None."""
    baseline, live = entry.baseline, entry.live
    if baseline is None:
        return None
    if live is None:
        return DriftKind.DELETED if entry.is_gone else None
    if live.is_deleting or live.flags & Flag.IGNORE or not baseline.ownership:
        return None
    if entry.is_untouched:
        return None
    if live.owner is None:
        return DriftKind.UNLABELLED
    if live.owner == Owner(owner.namespace, owner.name):
        return DriftKind.EDITED
    is_anothers = any(live.owner == (each.namespace, each.name) for each in entry.owners)
    return None if is_anothers else DriftKind.MOVED


def is_old_news(metadata: PartialMeta, entry: Entry) -> bool:
    """Whether an event tells what is known, as most do after an apply, or what is past."""
    if entry.live is None:
        return False
    version = version_of(metadata)
    return version < entry.live.resource_version or (
        version == entry.live.resource_version and version > 0 and metadata.uid == entry.live.uid
    )
