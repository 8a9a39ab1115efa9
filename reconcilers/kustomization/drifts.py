"""What the watches reported and nobody has put right yet, with the pauses of fights.

The tracker tells of each drift once. It is kept here until a run has applied the object again; a
run that dies in between leaves it here, and a run of the whole Kustomization settles everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from kube.judgement import DriftKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.meta import ObjectRef
    from kube.fights import Fights
    from kube.judgement import Drift
    from kube.objects import ObjectId
    from runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Pending:
    """One object that is not as it should be."""

    drift: Drift
    due_s: float
    """Monotonic seconds from which on it may be corrected."""
    is_fight: bool
    """Whether this is the moment to tell that somebody keeps changing it back."""

    def describe(self, obj: ObjectId) -> str:
        """Say what happened to the object, and who did it where that is known."""
        who = f" by {self.drift.who}" if self.drift.who else ""
        return f"{obj} was {self.drift.kind}{who}"


Report: TypeAlias = "Callable[[ObjectRef, ObjectId, Drift], None]"


class Drifts:
    """The drifts of one cluster; bounded by the number of its objects.

    Args:
        fights: decides the pauses.
        clock: the time.
    """

    def __init__(self, fights: Fights, clock: Clock) -> None:
        self._fights, self._clock = fights, clock
        self._pending: dict[ObjectRef, dict[ObjectId, Pending]] = {}

    def add(self, owner: ObjectRef, obj: ObjectId, drift: Drift) -> None:
        """Note a drift. One that gives the object to another owner is told, not fought over."""
        pause_s, is_fight = 0.0, False
        if drift.kind is not DriftKind.MOVED:
            pause_s, is_fight = self._fights.correct((owner, obj), drift.who or drift.kind)
        due_s = self._clock.monotonic() + pause_s
        self._pending.setdefault(owner, {})[obj] = Pending(drift, due_s, is_fight)

    def all(self, owner: ObjectRef) -> dict[ObjectId, Pending]:
        """Return everything that is pending, also what a fight's pause holds back."""
        return dict(self._pending.get(owner, {}))

    def due(self, owner: ObjectRef) -> dict[ObjectId, Pending]:
        """Return what may be corrected now."""
        now = self._clock.monotonic()
        found = self._pending.get(owner, {})
        return {obj: pending for obj, pending in found.items() if pending.due_s <= now}

    def next_s(self, owner: ObjectRef) -> float | None:
        """Return the seconds until the next pause ends; None where nothing is pending."""
        found = self._pending.get(owner)
        if not found:
            return None
        first = min(pending.due_s for pending in found.values())
        return max(0.0, first - self._clock.monotonic())

    def settle(self, owner: ObjectRef, objects: dict[ObjectId, Pending] | None = None) -> None:
        """Forget drifts that were dealt with: the given ones unless they were renewed, or all."""
        found = self._pending.get(owner, {})
        for obj, pending in list(found.items() if objects is None else objects.items()):
            if found.get(obj) is pending:
                del found[obj]
        if not found:
            self._pending.pop(owner, None)


class Listener:
    """Notes what a tracker reports about one kind before whoever listened so far hears it.

    Args:
        drifts: where to note it.
        then: who listened so far, and wakes the owner; a listener of an earlier reconciler of the
            same kind is replaced.
        kind: of the owners.
        cares: tells whether an owner wants to hear of drift at all; nobody does of one that does
            not.
    """

    def __init__(
        self,
        drifts: Drifts,
        then: Report,
        kind: str = "Kustomization",
        cares: Callable[[ObjectRef], bool] | None = None,
    ) -> None:
        self._drifts, self._cares = drifts, cares
        self.kind = kind
        self.then: Report = _without(then, kind)

    def __call__(self, owner: ObjectRef, obj: ObjectId, drift: Drift) -> None:
        """Note a report and pass it on."""
        if owner.kind == self.kind:
            if self._cares is not None and not self._cares(owner):
                return
            self._drifts.add(owner, obj, drift)
        self.then(owner, obj, drift)


def _without(listener: Report, kind: str) -> Report:
    """Return who listens when the listener of a kind is left out."""
    if not isinstance(listener, Listener):
        return listener
    if listener.kind == kind:
        return listener.then
    listener.then = _without(listener.then, kind)
    return listener
