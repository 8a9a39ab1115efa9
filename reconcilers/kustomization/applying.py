"""Apply, inventory and prune: everything a run changes in the cluster beside its own status.

The inventory is the promise that nothing is lost. It is written before the first write of an apply
that adds objects (old and new together), and again at the end with what is left. What left Git
while ``spec.prune`` was false stays in it, so that it is pruned when prune comes back; Flux reads
such an inventory as its own, and would prune the same objects.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from api import meta
from api.meta import Inventory, InventoryEntry
from kube import inventory, prune, stages
from kube.apply import ApplyError, ApplyOptions
from kube.changes import Action, ChangeSet
from kube.ignore import Rules
from kube.judgement import DriftKind
from reconcilers.kustomization import store
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from api.kustomize import Kustomization
    from kube.desired import Desired
    from kube.inventory import Entries
    from kube.objects import ObjectId
    from kube.tracker import Tracker
    from reconcilers.kustomization.attempt import Attempt
    from reconcilers.kustomization.drifts import Pending
    from reconcilers.kustomization.store import Build

DRIFT_CORRECTED = "DriftCorrected"
"""Reason of the event that tells of a correction; helm-controller's word for the same."""
UNKNOWN_FIELDS = "UnknownFields"
"""Reason of the event that tells which fields of a manifest were left out; Flux tells nothing."""


def entries_of(item: Kustomization) -> Entries:
    """Return the inventory that a Kustomization's status holds."""
    found = item.status.inventory
    return inventory.parse(found.entries if found else ())


def recorded(attempt: Attempt) -> Entries:
    """Return the inventory as the server has it now."""
    return entries_of(attempt.item)


async def apply(attempt: Attempt, build: Build, options: ApplyOptions) -> ChangeSet:
    """Apply a build and leave its inventory in the wanted status.

    Raises:
        ApplyError: an object was refused; the inventory then holds old and new, and the old alone
            where nothing new was written.
        StaleBuildError: the build's file is gone.
        ApiError: the write-ahead was refused; nothing has been applied.
    """
    desired = build.desired
    old = recorded(attempt)
    both = inventory.union(old, ((item.id, item.version) for item in desired))
    adds = len(both) > len(old)

    async def write_ahead() -> None:
        attempt.is_busy = True
        if adds:
            await attempt.write_ahead(as_status(in_order(both, options.custom_stages)))

    attempt.target.tracker.set_inventory(attempt.ref, both)
    options = replace(options, before_write=write_ahead)
    try:
        changes = await _send(attempt, build, desired, options)
    except ApplyError as error:
        if error.is_untouched:
            settle(attempt, inventory.union(old, inventory.of_changes(error.changes)))
        raise
    settle(attempt, inventory.union(old, inventory.of_changes(changes)))
    if changes.loud:
        attempt.notice(meta.PROGRESSING, changes.lines())
    _warn_of_unknown_fields(attempt, desired, changes)
    return changes


def _warn_of_unknown_fields(
    attempt: Attempt, desired: Iterable[Desired], changes: ChangeSet
) -> None:
    """Tell of declared fields that were not sent, as often as the object is written."""
    written = {change.id for change in changes.loud}
    lines = [
        f"{item.id}: {', '.join(item.unknown)}"
        for item in desired
        if item.unknown and not written.isdisjoint({item.id, item.id._replace(namespace="")})
    ]
    if lines:
        attempt.notice(UNKNOWN_FIELDS, "\n".join(["fields that the kind does not have:", *lines]))


def ignored(item: Kustomization) -> Rules | None:
    """Return which fields ``spec.ignore`` leaves to others.

    Raises:
        TransientError: a rule cannot be read.
    """
    try:
        return Rules(item.spec.ignore) if item.spec.ignore else None
    except ValueError as err:
        raise TransientError(meta.RECONCILIATION_FAILED, f"spec.ignore: {err}") from err


async def correct(attempt: Attempt, build: Build, pending: dict[ObjectId, Pending]) -> None:
    """Put single objects right that somebody changed, and tell who did.

    Only what the build says now as it was applied last is put right: a build that is newer than
    what was applied has been refused, or not come to it yet.

    Raises:
        ApplyError: an object was refused.
        StaleBuildError: the build's file is gone.
    """
    spec = attempt.item.spec
    try:
        options = ApplyOptions(force=spec.force, ignore=ignored(attempt.item))
    except TransientError:
        return  # the run itself reports it
    wrong = {obj: item for obj, item in pending.items() if item.drift.kind is not DriftKind.MOVED}
    desired = _as_applied_last(build, wrong, attempt.target.tracker)
    changes = await _send(attempt, build, desired, options)
    for change in changes:
        if change.action not in {Action.CREATED, Action.CONFIGURED}:
            continue
        item = wrong[change.id]
        attempt.context.metrics.drift_corrections.labels(item.drift.kind, attempt.ref.cluster).inc()
        text = f"{item.describe(change.id)}; corrected"
        if item.is_fight:
            rivals = f"{item.drift.who or 'somebody'} and {meta.KUSTOMIZE_MANAGER}"
            text += f". {rivals} keep changing it: corrections now wait longer each time"
        attempt.notice(DRIFT_CORRECTED, text)
    for obj, item in pending.items():
        if item.drift.kind is DriftKind.MOVED:
            attempt.notice(DRIFT_CORRECTED, f"{item.describe(obj)} to another owner; left alone")


def _as_applied_last(
    build: Build, wrong: Mapping[ObjectId, Pending], tracker: Tracker
) -> list[Desired]:
    found: list[Desired] = []
    for item in build.desired:
        # The books know objects of a cluster-wide kind without the namespace they may declare.
        obj = item.id if item.id in wrong else item.id._replace(namespace="")
        baseline = tracker.baseline(obj) if obj in wrong else None
        if baseline is not None and baseline.desired == item.digest:
            found.append(item)
    return found


async def _send(
    attempt: Attempt,
    build: Build,
    desired: list[Desired],
    options: ApplyOptions,
) -> ChangeSet:
    applier = attempt.target.applier
    if _is_at_rest(attempt, desired, options):
        with contextlib.suppress(store.StaleBuildError):  # or was, until a moment ago
            return await applier.apply(attempt.ref, desired, store.UNOPENED, options)
    reader = await attempt.context.threads.run(store.Reader, build)
    with reader:
        return await applier.apply(attempt.ref, desired, reader, options)


def _is_at_rest(attempt: Attempt, desired: Iterable[Desired], options: ApplyOptions) -> bool:
    """Whether nothing will be sent, so that nothing has to be read: as for most of a mono-repo."""
    if options.verify or options.at_interval or options.ignore is not None:
        return False
    tracker = attempt.target.tracker
    return all(tracker.is_current(attempt.ref, item) for item in desired)


async def remove_stale(attempt: Attempt, changes: ChangeSet) -> None:
    """Prune what the apply no longer names; without ``spec.prune`` only remember it.

    Raises:
        PruneError: some objects could not be deleted; they stay in the inventory.
    """
    kept = inventory.of_changes(changes)
    stale = stale_of(recorded(attempt), kept)
    if not stale:
        settle(attempt, kept)
        return
    if not attempt.item.spec.prune:
        settle(attempt, inventory.union(stale, kept))
        return
    try:
        pruned = await delete(attempt, stale)
    except prune.PruneError as err:
        left = [(item.id, item.version) for item in err.changes if item.action is Action.UNKNOWN]
        settle(attempt, inventory.union(left, kept))
        raise
    settle(attempt, kept)
    attempt.notice(meta.PROGRESSING, describe_pruned(pruned))


def stale_of(old: Entries, kept: Entries) -> Entries:
    """Return what an inventory names and what was applied does not.

    Second names of applied objects are left out: of a cluster-wide kind with a namespace.
    """
    cluster_wide = {obj for obj, _ in kept if not obj.namespace}
    return [
        (obj, version)
        for obj, version in inventory.without(old, kept)
        if obj._replace(namespace="") not in cluster_wide
    ]


async def delete(attempt: Attempt, entries: Iterable[tuple[ObjectId, str]]) -> ChangeSet:
    """Delete objects of the Kustomization.

    Raises:
        PruneError: some objects could not be deleted.
    """
    at = attempt.target
    with at.tracker.processing(attempt.ref):
        return await prune.prune(at.client, at.discovery, at.tracker, attempt.ref, entries)


def describe_pruned(changes: ChangeSet) -> str:
    """Return the text of a prune's event: a line per object, then what was handed over to whom."""
    handed = [f"{obj} kept: {owner} declares it too" for obj, owner in changes.handed_over]
    return "\n".join([changes.lines(everything=True), *handed])


def settle(attempt: Attempt, entries: Entries) -> None:
    """Make entries the inventory, in the books and, if it names other objects, in the status."""
    attempt.target.tracker.set_inventory(attempt.ref, entries)
    if set(entries) != set(recorded(attempt)):
        ordered = in_order(entries, attempt.context.settings.custom_stages)
        attempt.change(inventory=as_status(ordered))
    else:
        attempt.change(inventory=attempt.item.status.inventory)


def in_order(entries: Entries, custom_stages: frozenset[str] = frozenset()) -> Entries:
    """Return entries in the order of applying, as Flux writes them."""
    return sorted(
        entries,
        key=lambda entry: (stages.stage_of(entry[0], custom_stages), stages.sort_key(entry[0])),
    )


def as_status(entries: Entries) -> Inventory:
    """Return entries as ``status.inventory``."""
    return Inventory(entries=tuple(InventoryEntry(id=obj.entry, v=v) for obj, v in entries))
