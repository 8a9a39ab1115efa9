"""Whether the objects of a release are as it left them: told field by field, and put right.

What they are compared with is the manifest in storage, never a fresh render. An object that the
watches show untouched since it was compared last is not asked about. Others are tried by a forced
dry run; only what differs is written, and fields that rules leave to others stay as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import orjson

from api import meta
from kube import errors, examine, fielddiff, plain, pool, preview
from kube.apply import ApplyError, ApplyOptions
from kube.changes import Action
from kube.fielddiff import MISSING
from kube.ignore import Rules
from kube.ownership import IDENTITIES
from kube.preview import Outcome
from kube.target import Session, Verdict
from kube.tracker import Mode
from kube.wording import ObjectError
from reconcilers.helmrelease import bundle, words
from reconcilers.helmrelease import history as histories
from runtime import conditions
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.helm import HelmRelease, Snapshot
    from kube.changes import ChangeSet
    from kube.desired import Desired
    from kube.objects import ObjectId, PartialMeta
    from kube.target import Target
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.bundle import Bundle, Reader

SHOWN: Final = 10
"""Fields of one object that a message names."""
_VALUE: Final = 80
"""Characters of a field's value in a message."""
ENABLED: Final = "enabled"
_LOOKED_FOR: Final = frozenset({ENABLED, "warn"})


@dataclass(frozen=True, slots=True)
class Drifted:
    """One object that is not as the release left it."""

    id: ObjectId
    """With the server's view of the namespace."""
    desired: Desired
    changes: tuple[fielddiff.Change, ...] = ()
    """From what is to what should be; empty where the object is gone."""
    is_gone: bool = False

    def line(self) -> str:
        """Return what a message says of the object, as in Flux."""
        if self.is_gone:
            return f"{self.id} removed"
        kinds = Counter(_kind(each) for each in self.changes)
        counts = ", ".join(f"{kinds[name]} {name}" for name in ("additions", "changes", "removals"))
        return f"{self.id} changed ({counts})"

    def lines(self) -> list[str]:
        """Return the same with the fields, values of Secrets masked."""
        fields = [_field(self, each) for each in self.changes[:SHOWN]]
        left = len(self.changes) - SHOWN
        return [self.line(), *fields, *([f"  and {left} more"] if left > 0 else [])]


def mode(item: HelmRelease) -> str:
    """Return what is done about drift: ``enabled``, ``warn`` or ``disabled``."""
    found = item.spec.drift_detection
    return (found.mode if found else "") or "disabled"


def is_looked_for(item: HelmRelease) -> bool:
    """Whether drift is looked for at all."""
    return mode(item) in _LOOKED_FOR


def rules_of(item: HelmRelease) -> Rules | None:
    """Return which fields are left to others.

    Raises:
        TransientError: a rule cannot be read.
    """
    found = item.spec.drift_detection
    try:
        return Rules(found.ignore) if found and found.ignore else None
    except ValueError as err:
        text = f"spec.driftDetection.ignore: {err}"
        raise TransientError(words.STATE_ERROR, text) from err


async def find(
    attempt: Attempt, applied: Bundle, only: Iterable[ObjectId] | None = None
) -> list[Drifted]:
    """Return the objects that are not as a manifest has them.

    Args:
        attempt: the run.
        applied: the objects of the manifest.
        only: look at no others; None for all.

    Raises:
        TransientError: a rule cannot be read, or an object not be compared.
        ApiError: the API server refused, or did not answer.
    """
    with await attempt.context.threads.open(applied.open) as reader:
        looking = session(attempt, reader, rules_of(attempt.item), applied)
        suspects = await _suspects(attempt, looking, applied, only)
        if not suspects:
            return []
        try:
            seen = await preview.apply(looking, [each.target.desired for each in suspects])
        except ObjectError as err:
            raise TransientError(words.STATE_ERROR, err.text) from err
    by_id = {each.target.desired.id: each for each in suspects}
    found = []
    for each in seen:
        if each.outcome is Outcome.REFUSED:
            raise TransientError(words.STATE_ERROR, each.note)
        if each.outcome is Outcome.CREATED:
            found.append(Drifted(each.id, by_id[each.id].target.desired, is_gone=True))
        elif each.changes:
            found.append(Drifted(each.id, by_id[each.id].target.desired, each.changes))
        else:
            _settle(attempt, by_id[each.id])
    return found


@dataclass(frozen=True, slots=True)
class _Suspect:
    """An object that may not be as it should be."""

    target: Target
    metadata: PartialMeta | None
    """From before it was compared: what comes after that is news."""


def _settle(attempt: Attempt, suspect: _Suspect) -> None:
    """Note in the books that an object is as it should be, whoever made it so."""
    if suspect.metadata is not None:
        desired = suspect.target.desired
        attempt.target.tracker.settle(attempt.ref, desired, suspect.metadata)


async def _suspects(
    attempt: Attempt, session: Session, applied: Bundle, only: Iterable[ObjectId] | None
) -> list[_Suspect]:
    """Return the objects that a dry run shows otherwise; the others are settled in the books."""
    wanted = None if only is None else frozenset(only)
    unknown: list[Target] = []
    for each in applied.desired:
        if each.id in applied.unchecked or _is_ignored(session, each):
            continue
        target = await _located(attempt, session, each)
        if target is None or (wanted is not None and target.desired.id not in wanted):
            continue
        examine.note_ignored(session, target)
        if not _is_current(attempt, target):
            unknown.append(target)
    found: list[_Suspect] = []

    async def ask(target: Target) -> None:
        metadata = await _metadata(session, target)
        if metadata is not None and _is_excluded(attempt, metadata):
            return
        if await _differs(session, target):
            found.append(_Suspect(target, metadata))

    await pool.each(unknown, ask)
    return found


def _is_ignored(session: Session, desired: Desired) -> bool:
    """Whether a rule leaves the whole object to others."""
    rules = session.rules
    if rules is None or not rules.may_select(desired):
        return False
    return rules.excludes(desired, orjson.loads(session.reader.read(desired)))


async def _located(attempt: Attempt, session: Session, desired: Desired) -> Target | None:
    """Find out how a kind is served; one that is not is told and left out."""
    try:
        return await examine.locate(session, desired)
    except ObjectError as err:
        attempt.notice(words.DRIFT_DETECTED, f"{desired.id} is not compared: {err.text}")
        return None


def _is_current(attempt: Attempt, target: Target) -> bool:
    tracker, desired = attempt.target.tracker, target.desired
    if tracker.mode(desired.id) is Mode.POLL:
        return False
    due = tracker.due_for_verification(attempt.ref, attempt.context.clock.monotonic())
    return desired.id not in due and tracker.is_current(attempt.ref, desired)


async def _metadata(session: Session, target: Target) -> PartialMeta | None:
    obj = target.desired.id
    try:
        return await session.client.metadata(target.resource, obj.namespace, obj.name)
    except errors.NotFound:
        return None


def _is_excluded(attempt: Attempt, metadata: PartialMeta) -> bool:
    """Whether the live object asks to be left alone, or was taken over by another release."""
    return _is_anothers(attempt, metadata) or bundle.is_unchecked(
        metadata.labels, metadata.annotations
    )


def _is_anothers(attempt: Attempt, metadata: PartialMeta) -> bool:
    newest, marks = histories.latest(attempt.status.history), metadata.annotations
    told = (marks.get(meta.HELM_RELEASE_NAME), marks.get(meta.HELM_RELEASE_NAMESPACE))
    return newest is not None and None not in told and told != (newest.name, newest.namespace)


async def _differs(session: Session, target: Target) -> bool:
    try:
        return await examine.ask(session, target) is not Verdict.UNCHANGED
    except ObjectError as err:
        raise TransientError(words.STATE_ERROR, err.text) from err


def session(
    attempt: Attempt, reader: Reader, rules: Rules | None, applied: Bundle | None = None
) -> Session:
    """Return what looks at objects of a release.

    Args:
        attempt: the run.
        reader: has the objects.
        rules: which fields are left to others.
        applied: the manifest they are compared with, if any. What its writers own as an update is
            theirs to keep where it was merged on the client, and nothing to be taken over.
    """
    at, identity = attempt.target, IDENTITIES[attempt.ref.kind]
    if applied is not None and applied.is_client_side:
        identity = replace(identity, absorbed=())
    return Session(
        client=at.client.managing(),
        discovery=at.discovery,
        ledger=at.tracker,
        clock=attempt.context.clock,
        owner=attempt.ref,
        identity=identity,
        reader=reader,
        force=False,
        verify=False,
        at_interval=False,
        rules=rules,
    )


def tell(attempt: Attempt, newest: Snapshot, found: list[Drifted]) -> None:
    """Say what has drifted, or that nothing has; an event only where that is news."""
    if not found:
        attempt.condition(meta.DRIFTED, "False", words.NO_DRIFT_DETECTED, words.NO_DRIFT)
        return
    if mode(attempt.item) != ENABLED:
        for each in found:
            attempt.target.tracker.tolerate(each.id)
    text = words.drifted(newest, "\n".join(each.line() for each in found))
    old = conditions.get(attempt.status.conditions, meta.DRIFTED)
    attempt.condition(meta.DRIFTED, "True", words.DRIFT_DETECTED, text)
    if old is None or old.status != "True" or old.message != text:
        lines = "\n".join(line for each in found for line in each.lines())
        event = words.drifted(newest, lines)
        attempt.notice(words.DRIFT_DETECTED, event, severity="error")


async def correct(
    attempt: Attempt, newest: Snapshot, applied: Bundle, found: list[Drifted]
) -> None:
    """Put objects right, and say which.

    Raises:
        TransientError: an object was refused; the others are right.
    """
    wanted = [each.desired for each in found]
    with await attempt.context.threads.open(applied.open) as reader:
        try:
            changes = await _put_right(attempt, applied, reader, wanted)
        except ApplyError as err:
            text = "\n".join(err.texts)
            attempt.notice(words.DRIFT_CORRECTION_FAILED, text, severity="error")
            raise TransientError(words.DRIFT_CORRECTION_FAILED, text) from err
    lines = changes.lines()
    if lines:
        attempt.notice(words.DRIFT_CORRECTED, words.corrected(newest, lines))
    corrected = [each for each in changes if each.action in {Action.CREATED, Action.CONFIGURED}]
    counter = attempt.context.metrics.drift_corrections
    gone = {each.id for each in found if each.is_gone}
    for each in corrected:
        counter.labels("deleted" if each.id in gone else "edited", attempt.ref.cluster).inc()


async def _put_right(
    attempt: Attempt, applied: Bundle, reader: Reader, wanted: list[Desired]
) -> ChangeSet:
    """Write objects as the release does: by plain updates where it merges on the client.

    Raises:
        ApplyError: an object was refused.
    """
    at, rules = attempt.target, rules_of(attempt.item)
    if not applied.is_client_side:
        return await at.applier.apply(attempt.ref, wanted, reader, ApplyOptions(ignore=rules))
    with at.tracker.processing(attempt.ref):
        return await plain.restore(session(attempt, reader, rules, applied), wanted)


def _kind(change: fielddiff.Change) -> str:
    if change.before is MISSING:
        return "additions"
    return "removals" if change.after is MISSING else "changes"


def _field(drifted: Drifted, change: fielddiff.Change) -> str:
    if (drifted.id.group, drifted.id.kind) == ("", "Secret"):
        change = fielddiff.masked(change)
    return f"  {change.field}: {_value(change.before)}, wanted {_value(change.after)}"


def _value(value: object) -> str:
    if value is MISSING:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."
