"""What an apply and a prune would do, object by object, without doing any of it.

The requests and the rules are those of the apply itself: dry runs under our own field manager, the
same exclusions, the same words for a refusal. Unlike an apply it always reads the live object, to
tell which fields differ, and goes on after a refusal.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from kube import (
    errors,
    examine,
    fielddiff,
    ignore,
    leftovers,
    ownership,
    pool,
    prune,
    stages,
    wording,
)
from kube.desired import Flag, flags_of
from kube.wording import ObjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from api.meta import ObjectRef
    from kube.desired import Desired
    from kube.fielddiff import Change
    from kube.objects import JsonObject, ObjectId, PartialMeta
    from kube.target import Session, Target

TAKEN_OVER: Final = "taken over from "
"""How the note begins on an object that others hold fields of."""
_NAMESPACES: Final = "namespaces"


class Outcome(enum.StrEnum):
    """What would happen to an object."""

    CREATED = "created"
    CHANGED = "changed"
    RECREATED = "recreated"
    """Deleted and created anew: an immutable field changes, and force allows it."""
    PRUNED = "pruned"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    """Left alone because a label or annotation says so."""
    KEPT = "kept"
    """No longer declared, and yet not deleted."""
    REFUSED = "refused"
    """The API server would not take it."""


QUIET: Final = frozenset({Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.KEPT})
"""Outcomes that change nothing."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen to one object."""

    id: ObjectId
    """With the server's view of the namespace."""
    version: str
    outcome: Outcome
    changes: tuple[Change, ...] = ()
    """The fields that would change."""
    note: str = ""
    """Why, where the outcome alone does not say it."""


async def apply(
    session: Session, desired: Iterable[Desired], custom_stages: frozenset[str] = frozenset()
) -> list[Preview]:
    """Return what applying some objects would do, in the order of applying.

    Args:
        session: in whose name, and where; its ledger may be empty.
        desired: all of an owner's objects.
        custom_stages: kinds of the custom stage, see `kube.stages.stage_of`.

    Raises:
        ObjectError: the server is away or does not know us, so that nothing can be told.
    """
    ordered = sorted(
        desired,
        key=lambda each: (stages.stage_of(each.id, custom_stages), stages.sort_key(each.id)),
    )
    promised = _Promises(session, ordered)
    found: dict[ObjectId, Preview] = {}

    async def look(each: Desired) -> None:
        try:
            found[each.id] = await _look(session, await examine.locate(session, each), promised)
        except ObjectError as error:
            if error.ends_all:
                raise
            outcome = promised.outcome_of_kind(each) or Preview(
                each.id, each.version, Outcome.REFUSED, note=error.text
            )
            found[each.id] = outcome

    await pool.each(ordered, look)
    return [found[each.id] for each in ordered]


async def pruned(
    session: Session,
    stale: Sequence[tuple[ObjectId, str]],
    others: Callable[[ObjectId], ObjectRef | None],
    belongs: Callable[[PartialMeta], bool] | None = None,
) -> list[Preview]:
    """Return what pruning some objects would do, in the order of deletion; the gone are left out.

    Args:
        session: in whose name, and where.
        stale: objects that are no longer declared, with their API versions.
        others: finds another owner that still declares an object.
        belongs: tells whether an object is still the owner's; None asks its labels and annotations.

    Raises:
        ObjectError: the server is away or does not know us.
    """
    versions = dict(stale)
    found: dict[ObjectId, Preview] = {}

    async def look(obj: ObjectId) -> None:
        seen = await _look_at_stale(session, (obj, versions[obj]), others(obj), belongs)
        if seen is not None:
            found[obj] = seen

    await pool.each(versions, look)
    return [found[obj] for wave in stages.deletion_waves(found) for obj in wave]


class _Promises:
    """Kinds and namespaces that the same apply would create before they are needed."""

    def __init__(self, session: Session, desired: Sequence[Desired]) -> None:
        self._kinds: set[tuple[str, str, str]] = set()
        self._namespaces = {each.id.name for each in desired if each.id.kind == "Namespace"}
        for each in desired:
            if each.id.kind == stages.CRD_KIND and each.id.group == stages.CRD_GROUP:
                spec = orjson.loads(session.reader.read(each)).get("spec") or {}
                kind = (spec.get("names") or {}).get("kind", "")
                for version in spec.get("versions") or ():
                    self._kinds.add((spec.get("group", ""), version.get("name", ""), kind))

    def outcome_of_kind(self, desired: Desired) -> Preview | None:
        """Return what happens to an object of a kind that is still to come."""
        if tuple(desired.gvk) not in self._kinds:
            return None
        note = "its kind is defined by this revision, so it could not be tried"
        return Preview(desired.id, desired.version, Outcome.CREATED, note=note)

    def outcome_in_namespace(self, target: Target, error: errors.ApiError) -> Preview | None:
        """Return what happens to an object of a namespace that is still to come."""
        desired = target.desired
        is_missing = isinstance(error, errors.NotFound) and error.details.kind == _NAMESPACES
        if not is_missing or desired.id.namespace not in self._namespaces:
            return None
        note = "its namespace is created by this revision, so it could not be tried"
        return Preview(desired.id, desired.version, Outcome.CREATED, note=note)


async def _look(session: Session, target: Target, promised: _Promises) -> Preview:
    """Look at one object.

    Raises:
        ObjectError: the server refuses it.
    """
    desired = target.desired
    examine.note_ignored(session, target)
    if desired.flags & Flag.IGNORE:
        return _preview(target, Outcome.SKIPPED, note=_why_ignored("manifest"))
    live = await _live(session, target)
    if live is not None:
        metadata = live.get("metadata") or {}
        if flags_of(metadata.get("labels"), metadata.get("annotations")) & Flag.IGNORE:
            return _preview(target, Outcome.SKIPPED, note=_why_ignored("object"))
        if desired.flags & Flag.IF_NOT_PRESENT:
            return _preview(target, Outcome.SKIPPED, note="exists, and is only to be present")
    try:
        answer = await examine.send(session, target, dry_run=True)
    except errors.ApiError as error:
        if live is not None and await examine.may_recreate(session, target, error):
            return _preview(target, Outcome.RECREATED, note=error.message)
        found = promised.outcome_in_namespace(target, error)
        if found is None:
            explained = examine.explain(session, target, error)
            raise wording.refused(desired.id, explained) from error
        return found
    if live is None:
        return _preview(target, Outcome.CREATED)
    if _version(live) != _version(orjson.loads(answer.raw)):  # somebody wrote in between
        live = await _live(session, target) or live
    return await _compare(session, target, live, answer.raw)


async def _live(session: Session, target: Target) -> JsonObject | None:
    obj = target.desired.id
    try:
        return await session.client.get(target.resource, obj.namespace, obj.name)
    except errors.NotFound:
        return None
    except errors.ApiError as error:
        raise wording.refused(obj, error) from error


async def _compare(session: Session, target: Target, live: JsonObject, raw: bytes) -> Preview:
    """Tell which fields of a live object the answer of a dry run has otherwise."""
    wanted: JsonObject = orjson.loads(raw)
    metadata = ownership.read(raw)
    flags = target.desired.flags | ownership.look(metadata, session.identity).flags
    note = ""
    if flags & Flag.FOREIGN and not flags & Flag.MERGE:
        wanted = await _taken_over(session, target, wanted, metadata)
        managers = leftovers.absorbed_managers(metadata, session.identity)
        note = f"{TAKEN_OVER}{', '.join(managers) or 'an earlier tool'}"
    pointers = session.ignored.get(target.desired.id, ())
    before, after = (fielddiff.view(ignore.without(each, pointers)) for each in (live, wanted))
    changes = tuple(fielddiff.changes(before, after))
    is_changed = bool(changes or note)
    outcome = Outcome.CHANGED if is_changed else Outcome.UNCHANGED
    return _preview(target, outcome, changes=changes, note=note)


async def _taken_over(
    session: Session, target: Target, answer: JsonObject, metadata: PartialMeta
) -> JsonObject:
    """Return the answer of a dry run as it would be after the take-over that comes first.

    What the take-over removes may have defaults, which only the server knows.
    """
    desired = orjson.loads(session.reader.read(target.desired))
    left = leftovers.removed(answer, metadata, session.identity, desired)
    obj = target.desired.id
    try:
        raw = await session.client.replace(
            target.resource,
            obj.namespace,
            obj.name,
            orjson.dumps(left),
            manager=session.identity.manager,
            dry_run=True,
        )
    except errors.ApiError:  # without the defaults then; an apply needs no right to update
        return left
    completed: JsonObject = orjson.loads(raw)
    return completed


async def _look_at_stale(
    session: Session,
    entry: tuple[ObjectId, str],
    other: ObjectRef | None,
    belongs: Callable[[PartialMeta], bool] | None,
) -> Preview | None:
    obj, version = entry
    if other is not None:
        return Preview(obj, version, Outcome.KEPT, note=f"{other} declares it too")
    try:
        resource = await session.discovery.for_group_kind(obj.group, obj.kind, version)
        metadata = await session.client.metadata(resource, obj.namespace, obj.name)
    except errors.NotFound:
        return None
    except errors.ApiError as error:
        failed = wording.failed(obj, "query failed", error)
        if failed.ends_all:
            raise failed from error
        return Preview(obj, version, Outcome.REFUSED, note=failed.text)
    if belongs(metadata) if belongs else prune.is_ours(metadata, session.owner):
        return Preview(obj, version, Outcome.PRUNED)
    note = "its labels or annotations keep it, or name another owner"
    return Preview(obj, version, Outcome.KEPT, note=note)


def _preview(
    target: Target, outcome: Outcome, *, changes: tuple[Change, ...] = (), note: str = ""
) -> Preview:
    unknown = target.desired.unknown
    if unknown and outcome not in QUIET:
        left_out = f"not sent, as the kind has no such field: {', '.join(unknown)}"
        note = f"{note}; {left_out}" if note else left_out
    return Preview(target.desired.id, target.desired.version, outcome, changes, note)


def _version(obj: JsonObject) -> object:
    return (obj.get("metadata") or {}).get("resourceVersion")


def _why_ignored(where: str) -> str:
    return f"the {where} says ssa: Ignore or reconcile: disabled"
