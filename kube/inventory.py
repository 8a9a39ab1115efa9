"""A Kustomization's inventory: which objects it owns, as ``status.inventory`` spells them.

The identity of an entry leaves the API version out, so that a new version of a kind never prunes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from kube.objects import ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kube.changes import Change

Entries: TypeAlias = list[tuple[ObjectId, str]]
"""Objects with the API version they were last applied in, in the order of applying."""


class WireEntry(Protocol):
    """One entry of ``status.inventory.entries``."""

    @property
    def id(self) -> str:
        """``<namespace>_<name>_<group>_<Kind>``."""
        ...

    @property
    def v(self) -> str:
        """The API version, such as ``v1``."""
        ...


def parse(entries: Iterable[WireEntry]) -> Entries:
    """Read a status; entries nobody can read name nothing and are left out, as Flux does."""
    found: Entries = []
    for entry in entries:
        try:
            found.append((ObjectId.parse(entry.id), entry.v))
        except ValueError:
            continue
    return found


def of_changes(changes: Iterable[Change]) -> Entries:
    """Return the inventory that an apply leaves: every object it looked at, skipped ones too."""
    return [(change.id, change.version) for change in changes]


def without(old: Iterable[tuple[ObjectId, str]], new: Iterable[tuple[ObjectId, str]]) -> Entries:
    """Return the entries of `old` whose objects `new` no longer names."""
    kept = {obj for obj, _ in new}
    return [(obj, version) for obj, version in old if obj not in kept]


def union(old: Iterable[tuple[ObjectId, str]], new: Iterable[tuple[ObjectId, str]]) -> Entries:
    """Return `new` followed by what only `old` names: the inventory to write before an apply."""
    new = list(new)
    return new + without(old, new)
