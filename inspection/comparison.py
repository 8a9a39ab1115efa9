"""How two clusters, or two objects, differ. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from inspection import masking
from kube import fielddiff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspection.flux import FluxObject
    from inspection.survey import Survey
    from kube.objects import JsonObject, ObjectId

_SPEC_OF_ITS_OWN: Final = ("interval", "retryInterval", "timeout")
"""Fields of a spec that say how often and not what."""
_ABSENT: Final = "(absent)"


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One field that differs."""

    field: str
    left: Any
    """``(absent)`` where only the other side has it."""
    right: Any


class Pair(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One object that is on both sides and differs."""

    id: str
    """``Kind/namespace/name``."""
    differences: tuple[Difference, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What differs between two sides."""

    left: str
    right: str
    only_left: tuple[str, ...] = ()
    only_right: tuple[str, ...] = ()
    differing: tuple[Pair, ...] = ()
    same: int = 0
    """How many objects are the same on both sides."""
    omitted: int = 0
    """How many objects that differ are not told of."""

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not (self.only_left or self.only_right or self.differing)


def of_clusters(left: Survey, right: Survey, *, ignores_intervals: bool = True) -> Comparison:
    """Compare the Flux objects of two clusters: revisions, readiness, specs, what they own.

    Args:
        left: one cluster.
        right: the other.
        ignores_intervals: leave out how often things are looked at.
    """
    here, there = _by_name(left), _by_name(right)
    pairs = []
    for name in sorted(here.keys() & there.keys()):
        found = _facts(here[name], ignores_intervals), _facts(there[name], ignores_intervals)
        pairs.append((name, tuple(_differences(*found))))
    return _result(left.cluster, right.cluster, set(here), set(there), pairs)


def of_objects(
    left: str,
    right: str,
    here: Mapping[ObjectId, JsonObject],
    there: Mapping[ObjectId, JsonObject],
) -> Comparison:
    """Compare objects by their fields, without their status and what a server adds.

    Args:
        left: what one side is called.
        right: what the other side is called.
        here: the objects of the one side.
        there: those of the other.
    """
    pairs = []
    for obj in sorted(here.keys() & there.keys()):
        found = _shown(here[obj]), _shown(there[obj])
        secret = fielddiff.is_secret(here[obj])
        pairs.append((str(obj), tuple(_differences(*found, is_secret=secret))))
    return _result(left, right, set(map(str, here)), set(map(str, there)), pairs)


def first(found: Comparison, most: int) -> Comparison:
    """Return a comparison that tells of so many objects at most."""
    parts = (found.only_left, found.only_right, found.differing)
    left, right, differing = (part[:most] for part in parts)
    omitted = sum(map(len, parts)) - len(left) - len(right) - len(differing)
    return msgspec.structs.replace(
        found, only_left=left, only_right=right, differing=differing, omitted=omitted
    )


def _result(
    left: str,
    right: str,
    here: set[str],
    there: set[str],
    pairs: list[tuple[str, tuple[Difference, ...]]],
) -> Comparison:
    differing = tuple(Pair(id=name, differences=found) for name, found in pairs if found)
    return Comparison(
        left=left,
        right=right,
        only_left=tuple(sorted(here - there)),
        only_right=tuple(sorted(there - here)),
        differing=differing,
        same=len(pairs) - len(differing),
    )


def _by_name(survey: Survey) -> dict[str, FluxObject]:
    return {str(each.ref): each for each in survey.objects.values()}


def _facts(obj: FluxObject, ignores_intervals: bool) -> JsonObject:
    """Return what counts when two clusters are compared."""
    left_out = {"suspend", *(_SPEC_OF_ITS_OWN if ignores_intervals else ())}
    spec = {key: value for key, value in obj.spec.items() if key not in left_out}
    found: JsonObject = {
        "revision": obj.revision,
        "state": str(obj.state),
        "suspended": obj.is_suspended,
        "spec": spec,
        "owns": sorted(str(each) for each, _ in obj.inventory),
    }
    return found


def _shown(obj: JsonObject) -> JsonObject:
    """Return the part of an object that its author wrote."""
    return fielddiff.view(obj)


def _differences(
    before: JsonObject, after: JsonObject, *, is_secret: bool = False
) -> Iterator[Difference]:
    for change in fielddiff.changes(before, after):
        seen = fielddiff.masked(change) if is_secret else change
        name = seen.field
        yield Difference(field=name, left=_side(name, seen.before), right=_side(name, seen.after))


def _side(field: str, value: object) -> object:
    if value is fielddiff.MISSING:
        return _ABSENT
    return masking.member(field, value)
