"""How a release stands, decided from what is: its newest record, the history, what is wanted.

The order of the questions is Flux's, and a pure function asks them. Whether the objects in the
cluster are still as the release left them is asked only where this says `State.IN_SYNC`.

::

    UnexpectedStatusError    the record has a status that no finished operation leaves
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease import policy

if TYPE_CHECKING:
    from api.helm import HelmRelease, Snapshot

_PENDING: Final = frozenset(
    {"pending-install", "pending-upgrade", "pending-rollback", "uninstalling"}
)
"""Statuses of operations that are under way, or did not end. Flux gives up at the last one."""
_CHECKED: Final = "v2"
"""The version of snapshots whose digest can be made from the record."""


class State(enum.Enum):
    """How a release stands."""

    ABSENT = enum.auto()
    """There is none, or it was uninstalled."""
    LOCKED = enum.auto()
    """An operation on it did not end."""
    UNMANAGED = enum.auto()
    """Somebody else wrote its newest record."""
    FAILED = enum.auto()
    OUT_OF_SYNC = enum.auto()
    """Another chart, other values or other changes to the templates are wanted."""
    UNTESTED = enum.auto()
    DRIFTED = enum.auto()
    """Its objects are not as it left them."""
    IN_SYNC = enum.auto()


class UnexpectedStatusError(Exception):
    """The record has a status that no finished operation leaves."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest record of a release."""

    name: str
    namespace: str
    version: int
    status: str
    chart_name: str
    chart_version: str
    digest: str
    """Made with the digest of the OCI artifact that the history names."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a release is to be made of."""

    chart_name: str
    chart_version: str
    config_digest: str
    post_renderers_digest: str = ""
    common_metadata_digest: str = ""


class Standing(NamedTuple):
    """How a release stands, and why."""

    state: State
    why: str = ""


def determine(item: HelmRelease, wanted: Wanted, stored: Stored | None) -> Standing:
    """Decide how a release stands, its objects left aside.

    Raises:
        UnexpectedStatusError: the newest record has a status that nothing can be done about.
    """
    if stored is None:
        return Standing(State.ABSENT, "no release in storage for object")
    if stored.status in _PENDING:
        return Standing(State.LOCKED, f"release with status '{stored.status}'")
    if stored.status == "uninstalled":
        return Standing(State.ABSENT, "found uninstalled release in storage")
    newest = histories.latest(item.status.history)
    if newest is None:
        return Standing(State.UNMANAGED, "found existing release in storage")
    strangeness = _strangeness(newest, stored)
    if strangeness:
        return Standing(State.UNMANAGED, strangeness)
    match stored.status:
        case "failed":
            return Standing(State.FAILED, "release has failed")
        case "deployed":
            return _deployed(item, wanted, stored, newest)
        case _:
            raise UnexpectedStatusError(
                f"unable to determine state for release with status '{stored.status}'"
            )


def _strangeness(newest: Snapshot, stored: Stored) -> str:
    """Return why a record is not the one that the history tells of; empty where it is."""
    told = (newest.name, newest.namespace, newest.version)
    if told != (stored.name, stored.namespace, stored.version):
        return "release not observed to be made for object"
    if newest.api_version == _CHECKED and newest.digest != stored.digest:
        return "release digest verification error"
    return ""


def _deployed(item: HelmRelease, wanted: Wanted, stored: Stored, newest: Snapshot) -> Standing:
    change = _change(item, wanted, stored, newest)
    if change:
        return Standing(State.OUT_OF_SYNC, change)
    if policy.tests(item.spec):
        if not histories.is_tested(newest):
            return Standing(State.UNTESTED, "release has not been tested")
        ignores = policy.ignores_test_failures(item.spec, item.status)
        if histories.has_failed_test(newest) and not ignores:
            return Standing(State.FAILED, "release has test in failed phase")
    return Standing(State.IN_SYNC)


def _change(item: HelmRelease, wanted: Wanted, stored: Stored, newest: Snapshot) -> str:
    """Return what is wanted otherwise than it is; empty where nothing is."""
    if (stored.chart_name, stored.chart_version) != (wanted.chart_name, wanted.chart_version):
        return "release chart changed"
    if newest.config_digest != wanted.config_digest:
        return "release config values changed"
    status = item.status
    if status.observed_generation == item.metadata.generation:
        return ""
    if status.observed_post_renderers_digest != wanted.post_renderers_digest:
        return "post renderers digest has changed"
    if status.observed_common_metadata_digest != wanted.common_metadata_digest:
        return "common metadata digest has changed"
    return ""
