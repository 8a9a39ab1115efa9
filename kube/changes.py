"""What an apply or a prune did, object by object, in the words Flux uses for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from api.meta import ObjectRef
    from kube.objects import ObjectId


class Action(enum.StrEnum):
    """What happened to one object."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    DELETED = "deleted"
    UNKNOWN = "unknown"
    """It could not be looked at, or its deletion failed."""


QUIET = frozenset({Action.UNCHANGED, Action.SKIPPED})
"""Actions that an apply does not tell about."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object."""

    id: ObjectId
    version: str
    action: Action

    def __str__(self) -> str:
        """Return ``Kind/namespace/name action``, a line of an event."""
        return f"{self.id} {self.action}"


@dataclass(slots=True)
class ChangeSet:
    """The outcome of an apply or a prune, in the order of the work."""

    entries: list[Change] = field(default_factory=list)
    handed_over: list[tuple[ObjectId, ObjectRef]] = field(default_factory=list)
    """Objects kept by a prune because another owner still declares them, with that owner."""

    def __iter__(self) -> Iterator[Change]:
        """Iterate over the changes."""
        return iter(self.entries)

    def extend(self, changes: Iterable[Change]) -> None:
        """Append changes."""
        self.entries.extend(changes)

    @property
    def loud(self) -> list[Change]:
        """Changes worth an event: everything but unchanged and skipped."""
        return [change for change in self.entries if change.action not in QUIET]

    def lines(self, *, everything: bool = False) -> str:
        """Return one line per change; an apply tells what is loud, a prune tells everything."""
        return "\n".join(map(str, self.entries if everything else self.loud))
