"""Applies and deletes the objects of a release, by the engine that serves Kustomizations.

What belongs to a release is the union of what its records and its inventory name, so that what a
failed or killed operation made is found again: it is deleted with the rest once no manifest has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.meta import Inventory, InventoryEntry
from kube import inventory, prune, stages
from kube.apply import ApplyOptions
from kube.changes import Action, ChangeSet
from reconcilers.helmrelease import bundle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.helm import HelmRelease
    from kube.helm.record import Record
    from kube.inventory import Entries
    from kube.objects import JsonObject, ObjectId
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.bundle import Bundle, Owner

PROPAGATIONS: Final = {
    "background": "Background",
    "foreground": "Foreground",
    "orphan": "Orphan",
}
_CRD: Final = (stages.CRD_GROUP, stages.CRD_KIND)


def entries_of(item: HelmRelease) -> Entries:
    """Return the inventory that a HelmRelease's status holds, without definitions.

    Those from ``crds/`` are listed there as in Flux, and are never deleted; those from templates
    are found in the manifests.
    """
    return [entry for entry in _listed(item) if not is_definition(entry[0])]


def definitions_of(item: HelmRelease, manifest: Entries) -> Entries:
    """Return the definitions that the inventory names and a manifest does not: the chart's own."""
    named = {obj for obj, _ in manifest}
    return [
        (obj, version) for obj, version in _listed(item) if is_definition(obj) and obj not in named
    ]


def _listed(item: HelmRelease) -> Entries:
    found = item.status.inventory
    return inventory.parse(found.entries if found else ())


async def remember(attempt: Attempt, before: Entries) -> None:
    """Let the status name what a release owns, before another record becomes the newest.

    Of revisions that did not end only the newest record tells; with several in a row, each of which
    was killed, what the first of them made would be forgotten.
    """
    listed = _listed(attempt.item)
    if {obj for obj, _ in before} <= {obj for obj, _ in listed}:
        return
    attempt.change(inventory=as_status([*listed, *before]))
    await attempt.write()


def as_status(entries: Iterable[tuple[ObjectId, str]]) -> Inventory | None:
    """Return entries as ``status.inventory``; None where there are none."""
    ordered = sorted(
        dict(entries).items(),
        key=lambda entry: (stages.stage_of(entry[0]), stages.sort_key(entry[0])),
    )
    found = tuple(InventoryEntry(id=obj.entry, v=version) for obj, version in ordered)
    return Inventory(entries=found) if found else None


async def bundle_of(attempt: Attempt, record: Record) -> Bundle:
    """Return the objects of a record.

    Raises:
        ManifestError: its manifest cannot be read.
        ApiError: the API server did not say how a kind is served.
    """
    context = attempt.context
    return await bundle.of_record(record, attempt.item, attempt.target.discovery, context.threads)


async def apply(
    attempt: Attempt, wanted: Bundle, before: Entries, *, afresh: bool = False
) -> ChangeSet:
    """Apply the objects of a revision; the books then name these and those of before.

    Args:
        attempt: the run.
        wanted: the objects.
        before: what the release is known to own.
        afresh: take over what other writers of the release own, also where nothing else changes.

    Raises:
        ApplyError: an object was refused.
    """
    at = attempt.target
    at.tracker.set_inventory(attempt.ref, inventory.union(before, wanted.entries))
    with await attempt.context.threads.open(wanted.open) as reader:
        options = ApplyOptions(at_interval=afresh)
        return await at.applier.apply(attempt.ref, list(wanted.desired), reader, options)


async def remove(
    attempt: Attempt, entries: Entries, owner: Owner, propagation: str = "background"
) -> ChangeSet:
    """Delete objects of the release, but for those that outlive it or were taken over.

    Raises:
        PruneError: some could not be deleted.
    """
    at = attempt.target
    how = prune.How(owner.has, PROPAGATIONS[propagation])
    with at.tracker.processing(attempt.ref):
        return await prune.prune(at.client, at.discovery, at.tracker, attempt.ref, entries, how)


def stale(before: Entries, wanted: Entries) -> Entries:
    """Return what a release had and has no longer, second names of what it has left out."""
    cluster_wide = {obj for obj, _ in wanted if not obj.namespace}
    return [
        (obj, version)
        for obj, version in inventory.without(before, wanted)
        if obj._replace(namespace="") not in cluster_wide
    ]


def gone(changes: ChangeSet) -> Entries:
    """Return what a removal has deleted."""
    return [(each.id, each.version) for each in changes if each.action is Action.DELETED]


async def define(attempt: Attempt, definitions: list[JsonObject], owner: Owner) -> Entries:
    """Apply the chart's own definitions, and wait until their kinds are served.

    They are never deleted, and nobody watches over them.

    Raises:
        ApplyError: one was refused, or its kind is not served in time.
    """
    at, threads = attempt.target, attempt.context.threads
    found = await bundle.of_objects(definitions, owner, at.discovery, threads)
    owned = list(at.tracker.owned(attempt.ref))
    try:
        with await threads.open(found.open) as reader:
            await at.applier.apply(attempt.ref, list(found.desired), reader)
    finally:
        at.tracker.set_inventory(attempt.ref, owned)
    return found.entries


def is_definition(obj: ObjectId) -> bool:
    """Whether an object is a definition."""
    return (obj.group, obj.kind) == _CRD


def settle(attempt: Attempt, entries: Entries, definitions: Entries) -> None:
    """Make entries what the release owns, in the books and in the status.

    Args:
        attempt: the run.
        entries: the objects of its manifests.
        definitions: those of ``crds/``, which the status lists and nobody watches over.
    """
    attempt.target.tracker.set_inventory(attempt.ref, entries)
    found = as_status([*definitions, *entries])
    same = attempt.status.inventory
    if found is None or same is None or set(found.entries) != set(same.entries):
        attempt.change(inventory=found)
