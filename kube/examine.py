"""Decides about one object of an apply: first from what is known, then by a dry run.

What the watch and the baseline answer costs no request. A dry run answers the rest: whether the
object exists, who else manages it, and, against the live object, whether anything would change.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from kube import drift, errors, ignore, normalise, ownership, takeover, wording
from kube.desired import Flag
from kube.target import Session, Target, Verdict

if TYPE_CHECKING:
    from kube.client import Applied
    from kube.desired import Desired
    from kube.objects import JsonObject, PartialMeta

_SETTLED: Final = dt.timedelta(minutes=1)
"""Age from which the time of our entry proves that nothing was applied since; covers clock skew."""

_UNCOMPARED: Final = Flag.IGNORE | Flag.IF_NOT_PRESENT
"""Objects that are not compared at all."""
_UNDECLARED: Final = "field not declared in schema"
_NEVER: Final = "1"
"""A resourceVersion that no object has: etcd begins with 2. An apply that carries it conflicts with
an object that exists, and creates one that does not."""
TRIES: Final = 3
"""Looks at an object that others keep writing to, before it is applied without knowing."""


async def locate(session: Session, desired: Desired) -> Target:
    """Find out how an object's kind is served.

    Raises:
        ObjectError: the kind is not served, or the object lacks its namespace.
    """
    try:
        resource = await session.discovery.resource(desired.gvk)
    except errors.ApiError as error:
        raise wording.refused(desired.id, error) from error
    if resource.is_namespaced and not desired.id.namespace:
        raise wording.without_namespace(desired.id)
    if not resource.is_namespaced and desired.id.namespace:
        desired = replace(desired, id=desired.id._replace(namespace=""))
    return Target(desired, resource)


def note_ignored(session: Session, target: Target) -> None:
    """Find out which fields of an object are left to others, and tell the books."""
    desired, rules = target.desired, session.rules
    fields: tuple[ignore.FieldPath, ...] = ()
    if rules is not None and rules.may_select(desired) and not desired.flags & _UNCOMPARED:
        obj = orjson.loads(session.reader.read(desired))
        pointers = rules.pointers(desired, obj)
        fields = ignore.fields_of(obj, pointers)
        if pointers:
            session.ignored[desired.id] = pointers
    session.ledger.ignore(session.owner, desired, fields)


def recall(session: Session, target: Target, due: frozenset[object]) -> Verdict | None:
    """Decide without a request, or return None where the server has to be asked.

    Args:
        session: whose apply.
        target: the object.
        due: objects that are to be asked about although nothing happened to them.
    """
    ledger, desired = session.ledger, target.desired
    live, baseline = ledger.live(desired.id), ledger.baseline(desired.id)
    flags = live.flags if live else Flag.NONE
    if (desired.flags | flags) & Flag.IGNORE:
        return Verdict.SKIP
    if live is not None and desired.flags & Flag.IF_NOT_PRESENT:
        return Verdict.SKIP
    if session.verify or desired.id in due or ledger.is_gone(desired.id):
        return None
    is_kept = baseline is not None and not baseline.ownership
    if live is None and baseline is not None and is_kept and baseline.desired == desired.digest:
        return None if session.at_interval else Verdict.SKIP
    if is_kept or not ledger.is_current(session.owner, desired):
        return None
    if session.at_interval and _is_taken(desired.flags | flags):
        return None
    return Verdict.UNCHANGED


def is_known(session: Session, target: Target) -> bool:
    """Whether so much is known of an object that its apply may be its own dry run."""
    ledger, obj = session.ledger, target.desired.id
    live, baseline = ledger.live(obj), ledger.baseline(obj)
    if session.verify or obj in session.ignored or baseline is None or not baseline.ownership:
        return False
    if live is None:
        return ledger.is_gone(obj)
    return not _is_taken(target.desired.flags | live.flags)


def may_be_new(session: Session, target: Target) -> bool:
    """Whether nothing at all is known of an object, so that most likely there is none."""
    ledger, desired = session.ledger, target.desired
    if session.verify or desired.id in session.ignored or desired.flags & _UNCOMPARED:
        return False
    return ledger.baseline(desired.id) is None and ledger.live(desired.id) is None


async def create(session: Session, target: Target) -> Applied:
    """Apply an object that must not exist.

    Raises:
        Conflict: it exists; nothing was written.
        ApiError: the server refused.
    """
    body: JsonObject = orjson.loads(session.reader.read(target.desired))
    body["metadata"]["resourceVersion"] = _NEVER
    return await _apply(session, target, normalise.canonical(body))


async def ask(session: Session, target: Target) -> Verdict:
    """Decide by asking the server; nothing is written.

    Raises:
        ObjectError: the server refuses the object.
    """
    desired = target.desired
    try:
        if desired.flags & Flag.IF_NOT_PRESENT and await _is_present(session, target):
            return Verdict.SKIP
        answer = await send(session, target, dry_run=True)
    except errors.ApiError as error:
        if await may_recreate(session, target, error):
            return Verdict.RECREATE
        raise wording.refused(desired.id, explain(session, target, error)) from error
    if answer.created:
        return Verdict.CREATE
    return await _compare(session, target, answer)


async def send(session: Session, target: Target, *, dry_run: bool = False) -> Applied:
    """Apply an object, taking over every field it declares; an ignored field stays as it is.

    A dry run is about the whole manifest, since it is what tells which ignored fields differ.

    Raises:
        ApiError: the server refused.
    """
    try:
        return await _send(session, target, dry_run=dry_run)
    except errors.ApiError as error:
        if _UNDECLARED not in error.message or not await takeover.migrate(session, target):
            raise
    return await _send(session, target, dry_run=dry_run)


async def _send(session: Session, target: Target, *, dry_run: bool) -> Applied:
    body = None if dry_run else session.bodies.get(target.desired.id)
    body = body or session.reader.read(target.desired)
    return await _apply(session, target, body, dry_run=dry_run)


async def _apply(
    session: Session, target: Target, body: bytes, *, dry_run: bool = False
) -> Applied:
    obj = target.desired.id
    return await session.client.apply(
        target.resource,
        body,
        obj.namespace,
        obj.name,
        manager=session.identity.manager,
        dry_run=dry_run,
    )


async def may_recreate(session: Session, target: Target, error: errors.ApiError) -> bool:
    """Whether an error is about an immutable field and somebody asked for force."""
    if not wording.is_immutable(error):
        return False
    live = session.ledger.live(target.desired.id)
    flags = target.desired.flags | (live.flags if live else Flag.NONE)
    if session.force or flags & Flag.FORCE:
        return True
    if live is not None:
        return False
    metadata = await _metadata(session, target)
    return bool(ownership.look(metadata, session.identity).flags & Flag.FORCE)


def explain(session: Session, target: Target, error: errors.ApiError) -> errors.ApiError:
    """Tell a kind that is no longer served from a namespace that is missing, which has a name.

    Returns:
        The error to word; discovery looks the kind up again next time.
    """
    if not isinstance(error, errors.NotFound) or error.details.name:
        return error
    gvk = target.desired.gvk
    session.discovery.invalidate(gvk.group)
    return errors.NoMatch(gvk.kind, gvk.api_version)


async def _compare(session: Session, target: Target, answer: Applied) -> Verdict:
    """Decide about an object that exists, from the answer of its dry run."""
    ledger, desired = session.ledger, target.desired
    metadata = ownership.read(answer.raw)
    wanted = ledger.look(session.owner.kind, desired.id, metadata)
    known = ledger.live(desired.id)
    if wanted.flags & Flag.IGNORE:
        ledger.settle_present(session.owner, desired, metadata)
        return Verdict.SKIP
    if desired.id in session.ignored:
        return await _compare_whole(session, target, answer)
    if _is_taken(desired.flags | wanted.flags):
        return Verdict.TAKE_OVER
    if known and known.ownership == wanted.ownership and _is_settled(session, metadata):
        ledger.settle(session.owner, desired, metadata)
        return Verdict.UNCHANGED
    baseline = ledger.baseline(desired.id)
    if baseline and baseline.ownership and baseline.desired != desired.digest:
        return Verdict.CONFIGURE
    return await _compare_whole(session, target, answer)


async def _compare_whole(session: Session, target: Target, answer: Applied) -> Verdict:
    """Decide by reading the live object; ownership alone is no difference.

    Somebody may write between the dry run and the read, most often the kind's own controller;
    then both are made again, so that its write does not look like drift.
    """
    desired = target.desired
    obj = desired.id
    for _ in range(TRIES):
        try:
            live = await session.client.get(target.resource, obj.namespace, obj.name)
            wanted: JsonObject = orjson.loads(answer.raw)
            if _version(wanted) == _version(live):
                break
            answer = await send(session, target, dry_run=True)
        except errors.NotFound:
            return Verdict.CREATE
        except errors.ApiError as error:
            raise wording.refused(obj, error) from error
    else:
        return Verdict.CONFIGURE
    verdict = _judge(session, target, wanted, live)
    if verdict is not Verdict.UNCHANGED:
        return verdict
    session.ledger.record(session.owner, desired, orjson.dumps(live))
    return Verdict.UNCHANGED


def _judge(session: Session, target: Target, wanted: JsonObject, live: JsonObject) -> Verdict:
    """Compare what is not ignored; if some is, prepare a body that leaves it as it is."""
    desired = target.desired
    pointers = session.ignored.get(desired.id)
    if not pointers:
        return Verdict.CONFIGURE if drift.differs(wanted, live) else Verdict.UNCHANGED
    metadata = ownership.read(orjson.dumps(live))
    found = session.ledger.look(session.owner.kind, desired.id, metadata)
    is_taken = _is_taken(desired.flags | found.flags)
    others = [
        orjson.loads(bytes(entry.fields_v1))
        for entry in ownership.appliers(metadata, session.identity)
        if not (is_taken and ownership.is_absorbed(entry, session.identity))
    ]
    body = orjson.loads(session.reader.read(desired))
    session.bodies[desired.id] = normalise.canonical(
        ignore.adapted(body, wanted=wanted, live=live, pointers=pointers, others=others)
    )
    if is_taken:
        return Verdict.TAKE_OVER
    is_other = drift.differs(ignore.without(wanted, pointers), ignore.without(live, pointers))
    return Verdict.CONFIGURE if is_other else Verdict.UNCHANGED


def _version(obj: JsonObject) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


async def _is_present(session: Session, target: Target) -> bool:
    try:
        metadata = await _metadata(session, target)
    except errors.NotFound:
        return False
    session.ledger.settle_present(session.owner, target.desired, metadata)
    return True


async def _metadata(session: Session, target: Target) -> PartialMeta:
    obj = target.desired.id
    return await session.client.metadata(target.resource, obj.namespace, obj.name)


def _is_taken(flags: Flag) -> bool:
    """Whether somebody's leftovers are to be taken over."""
    return bool(flags & Flag.FOREIGN and not flags & Flag.MERGE)


def _is_settled(session: Session, metadata: PartialMeta) -> bool:
    """Whether our entry is so old that an apply in the same second cannot hide behind its time."""
    entry = ownership.apply_entry(metadata, session.identity.manager)
    if entry is None or not entry.time:
        return False
    return session.clock.now() - dt.datetime.fromisoformat(entry.time) > _SETTLED
