"""Deletes what an owner no longer declares: in reverse order, and only what is still its own.

Ownership is read right before each deletion, and the deletion is bound to what was read, so that an
object that moves to another owner in that moment stays. What another inventory of this cluster
still names is handed over instead of deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api import meta
from kube import errors, pool, stages
from kube.changes import Action, Change, ChangeSet
from kube.desired import Flag
from kube.ownership import IDENTITIES, Owner, look
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from api.meta import ObjectRef
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.ledger import Ledger
    from kube.objects import ObjectId, PartialMeta

TRIES: Final = 5
"""Looks at an object that changes between look and deletion."""


class PruneError(TransientError):
    """Objects that could not be deleted; what was done is told with it.

    Args:
        texts: one for each object.
        changes: every object with what happened; failures are `Action.UNKNOWN`, and belong back
            into the inventory.
    """

    def __init__(self, texts: Iterable[str], changes: ChangeSet) -> None:
        joined = "".join(f"{text};" for text in texts)
        super().__init__(meta.PRUNE_FAILED, f"delete failed, errors: {joined}")
        self.changes = changes


@dataclass(frozen=True, slots=True)
class How:
    """How objects are deleted."""

    belongs: Callable[[PartialMeta], bool] | None = None
    """Tells whether an object is still the owner's; None asks its labels and annotations."""
    propagation: str = "Background"
    """What becomes of dependents: ``Background``, ``Foreground`` or ``Orphan``."""


async def prune(
    client: Client,
    discovery: Discovery,
    ledger: Ledger,
    owner: ObjectRef,
    entries: Iterable[tuple[ObjectId, str]],
    how: How = How(),
) -> ChangeSet:
    """Delete objects of an owner; deletions of finalizers are not waited for.

    Args:
        client: whose identity deletes.
        discovery: finds the paths of kinds.
        ledger: who else declares an object.
        owner: whose objects.
        entries: what to delete, with API versions.
        how: whose an object is, and what becomes of its dependents.

    Returns:
        What happened to each, in the order of deletion.

    Raises:
        PruneError: some could not be deleted; the others are.
    """
    versions = dict(entries)
    run = _Prune(client.managing(), discovery, ledger, owner, how, versions, {}, {}, ChangeSet())
    for wave in stages.deletion_waves(versions):
        await pool.each(wave, run.delete)
        run.changes.extend(Change(obj, versions[obj], run.actions[obj]) for obj in wave)
    if run.failures:
        order = [change.id for change in run.changes if change.id in run.failures]
        raise PruneError([run.failures[obj] for obj in order], run.changes)
    return run.changes


@dataclass(slots=True)
class _Prune:
    client: Client
    discovery: Discovery
    ledger: Ledger
    owner: ObjectRef
    how: How
    versions: dict[ObjectId, str]
    actions: dict[ObjectId, Action]
    failures: dict[ObjectId, str]
    changes: ChangeSet

    async def delete(self, obj: ObjectId) -> None:
        """Delete one object, or note why not."""
        others = self.ledger.owners(obj) - {self.owner}
        if others:
            self.changes.handed_over.append((obj, min(others)))
            self.actions[obj] = Action.SKIPPED
            return
        step = "query failed"
        try:
            resource = await self.discovery.for_group_kind(obj.group, obj.kind, self.versions[obj])
            for attempt in range(1, TRIES + 1):
                metadata = await self.client.metadata(resource, obj.namespace, obj.name)
                if not self._belongs(metadata):
                    self.actions[obj] = Action.SKIPPED
                    return
                step = "delete failed"
                try:
                    await self.client.delete(
                        resource,
                        obj.namespace,
                        obj.name,
                        propagation=self.how.propagation,
                        uid=metadata.uid,
                        resource_version=metadata.resource_version,
                    )
                    break
                except errors.Conflict:
                    if attempt == TRIES:
                        raise
        except errors.NotFound:
            pass
        except errors.ApiError as error:
            self.failures[obj] = f"{obj} {step}: {error.message}"
            self.actions[obj] = Action.UNKNOWN
            return
        self.actions[obj] = Action.DELETED
        self.ledger.forget(self.owner, obj)

    def _belongs(self, metadata: PartialMeta) -> bool:
        belongs = self.how.belongs
        return belongs(metadata) if belongs else is_ours(metadata, self.owner)


def is_ours(metadata: PartialMeta, owner: ObjectRef) -> bool:
    """Whether an object still names an owner and nothing on it forbids its deletion."""
    live = look(metadata, IDENTITIES[owner.kind])
    is_named = live.owner == Owner(owner.namespace, owner.name)
    return is_named and not live.flags & (Flag.KEEP | Flag.IGNORE)
