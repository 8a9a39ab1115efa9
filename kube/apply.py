"""Applies what an owner wants: in Flux's stages, side by side, and only what differs.

A stage is examined as a whole before anything of it is written, so that a bad manifest leaves its
stage untouched. What is known to be as desired is not even looked at. All refusals of a stage are
told at once. One object of a stage needs no dry run where nothing of it is known: it is created
after all others were examined and before any of them is written, so that a refusal of it leaves
the stage untouched, too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from kube import (
    errors,
    examine,
    force,
    health,
    pool,
    readiness,
    recognise,
    stages,
    takeover,
    wording,
)
from kube.changes import Action, Change, ChangeSet
from kube.target import Session, Target, Verdict
from kube.tracker import Mode
from kube.wording import ApplyError, ObjectError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from api.meta import ObjectRef
    from kube.client import Applied, Client
    from kube.desired import Desired, ManifestReader
    from kube.discovery import Discovery
    from kube.ignore import Rules
    from kube.objects import ObjectId
    from kube.ownership import Live
    from kube.stages import Stage
    from kube.tracker import Tracker
    from runtime.clock import Clock

__all__ = ["Applier", "ApplyError", "ApplyOptions"]

YIELD_EVERY: Final = 50
"""Objects looked at before other work of the loop has a turn."""

_ACTIONS: Final = {
    Verdict.UNCHANGED: Action.UNCHANGED,
    Verdict.SKIP: Action.SKIPPED,
    Verdict.CREATE: Action.CREATED,
    Verdict.CONFIGURE: Action.CONFIGURED,
    Verdict.TAKE_OVER: Action.CONFIGURED,
    Verdict.RECREATE: Action.CREATED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """How to apply."""

    force: bool = False
    """Recreate any object whose immutable field changes."""
    verify: bool = False
    """Ask the server about every object, whatever is known."""
    at_interval: bool = False
    """Absorb what other tools only added, ask about what no watch covers and about the objects
    whose daily turn has come; otherwise only what changed, here or there, is touched."""
    custom_stages: frozenset[str] = frozenset()
    """Kinds of the custom stage, see `kube.stages.stage_of`."""
    stage_timeout_s: float = 60.0
    """How long a stage waits for its objects, in seconds."""
    ignore: Rules | None = None
    """Which fields are left to others."""
    before_write: Callable[[], Awaitable[None]] | None = None
    """Called once, before the first write; not called when there is nothing to write."""
    after_write: Callable[[ObjectId, bytes], None] | None = None
    """Called with the answer to each write: the object as JSON."""


@dataclass(slots=True)
class _Stage:
    """One stage on its way; results are kept by position, since work ends in any order."""

    members: list[Target] = field(default_factory=list)
    verdicts: dict[ObjectId, Verdict] = field(default_factory=dict)
    actions: dict[ObjectId, Action] = field(default_factory=dict)
    failures: dict[ObjectId, str] = field(default_factory=dict)
    waiting: list[Target] = field(default_factory=list)
    first: Target | None = None
    """What is created before the others are written, in place of a dry run of it."""
    is_untouched: bool = True
    """Whether no request was sent that the server may have followed."""

    def changes(self) -> list[Change]:
        return [
            Change(each.desired.id, each.desired.version, self.actions[each.desired.id])
            for each in self.members
            if each.desired.id in self.actions
        ]


class Applier:
    """Applies to one cluster as one user.

    Args:
        client: whose identity writes.
        discovery: finds the paths of kinds.
        tracker: what is known of the objects.
        clock: time.
    """

    def __init__(
        self, client: Client, discovery: Discovery, tracker: Tracker, clock: Clock
    ) -> None:
        self._client = client.managing()
        self._discovery = discovery
        self._tracker = tracker
        self._clock = clock

    def using(self, client: Client) -> Applier:
        """Return an applier that writes as another user."""
        return Applier(client, self._discovery, self._tracker, self._clock)

    async def apply(
        self,
        owner: ObjectRef,
        desired: Sequence[Desired],
        reader: ManifestReader,
        options: ApplyOptions = ApplyOptions(),
    ) -> ChangeSet:
        """Make objects what they should be; what is so already costs nothing.

        Args:
            owner: in whose name.
            desired: all of the owner's objects, in any order.
            reader: finds their bytes.
            options: how.

        Returns:
            What happened to each object, in the order of applying, with the server's namespace.

        Raises:
            ApplyError: an object was refused, or a stage did not become ready.
        """
        session = Session(
            client=self._client,
            discovery=self._discovery,
            ledger=self._tracker,
            clock=self._clock,
            owner=owner,
            identity=self._tracker.identities[owner.kind],
            reader=reader,
            force=options.force,
            verify=options.verify,
            at_interval=options.at_interval,
            rules=options.ignore,
            after_write=options.after_write,
        )
        changes = ChangeSet()
        with self._tracker.processing(owner):
            for stage, members in _by_stage(desired, options.custom_stages):
                options = await self._apply_stage(session, stage, members, options, changes)
        return changes

    async def _apply_stage(
        self,
        session: Session,
        stage: Stage,
        desired: list[Desired],
        options: ApplyOptions,
        changes: ChangeSet,
    ) -> ApplyOptions:
        """Examine a stage, write it, wait for it; return the options for the next."""
        state = _Stage()
        await self._examine(session, state, desired)
        _give_up_if_failed(state, changes)
        writes = [each for each in state.members if each.desired.id not in state.actions]
        if writes and options.before_write is not None:
            await options.before_write()
            options = replace(options, before_write=None)
        if state.first is not None:
            await self._create(session, stage, state, state.first)
            _give_up_if_failed(state, changes)
            writes = [each for each in writes if each.desired.id not in state.actions]
        state.is_untouched = False
        await self._each(state, writes, lambda target: self._write(session, stage, state, target))
        changes.extend(state.changes())
        _give_up_if_failed(state, changes)
        late = await readiness.wait(session, state.waiting, options.stage_timeout_s)
        if late:
            raise ApplyError([health.describe_timeout(late)], changes)
        return options

    # Examination ----------------------------------------------------------------------------

    async def _examine(self, session: Session, state: _Stage, desired: list[Desired]) -> None:
        due = self._due(session, desired)
        unknown: list[Target] = []
        for number, each in enumerate(desired):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            try:
                target = await examine.locate(session, each)
            except ObjectError as error:
                state.failures[each.id] = error.text
                continue
            state.members.append(target)
            examine.note_ignored(session, target)
            verdict = examine.recall(session, target, due)
            if verdict is None:
                unknown.append(target)
            else:
                self._decide(state, target, verdict)
        if len(unknown) == 1 and not state.failures and examine.is_known(session, unknown[0]):
            self._decide(state, unknown[0], Verdict.CONFIGURE)
            return
        settled = await recognise.settle(session, unknown)
        for obj in settled:
            state.actions[obj] = Action.UNCHANGED
        rest = [each for each in unknown if each.desired.id not in settled]
        first = next((each for each in rest if examine.may_be_new(session, each)), None)
        asked = [each for each in rest if each is not first]
        has_ended = await self._each(state, asked, lambda each: self._ask(session, state, each))
        if first is None or not has_ended:
            return
        news = [state.verdicts.get(each.desired.id) is Verdict.CREATE for each in asked]
        if state.failures or (news and not any(news)):
            await self._each(state, [first], lambda each: self._ask(session, state, each))
        else:
            state.first = first

    async def _ask(self, session: Session, state: _Stage, target: Target) -> None:
        self._decide(state, target, await examine.ask(session, target))

    async def _each(
        self,
        state: _Stage,
        targets: Sequence[Target],
        work: Callable[[Target], Awaitable[None]],
    ) -> bool:
        """Work on targets side by side; a server that is away fails one and ends the others.

        Returns:
            Whether all of them were worked on.
        """

        async def guarded(target: Target) -> None:
            try:
                await work(target)
            except ObjectError as error:
                state.failures[error.obj] = error.text
                if error.ends_all:
                    raise

        try:
            await pool.each(targets, guarded)
        except ObjectError:
            return False
        return True

    def _decide(self, state: _Stage, target: Target, verdict: Verdict) -> None:
        obj = target.desired.id
        if verdict in {Verdict.UNCHANGED, Verdict.SKIP}:
            state.actions[obj] = _ACTIONS[verdict]
        else:
            state.verdicts[obj] = verdict

    def _due(self, session: Session, desired: Iterable[Desired]) -> frozenset[ObjectId]:
        """Return the objects that an interval's run asks about although nothing happened."""
        if not session.at_interval:
            return frozenset()
        turns = self._tracker.due_for_verification(session.owner, self._clock.monotonic())
        polled = (each.id for each in desired if self._tracker.mode(each.id) is Mode.POLL)
        return turns.union(polled)

    # Writing --------------------------------------------------------------------------------

    async def _create(self, session: Session, stage: Stage, state: _Stage, target: Target) -> None:
        """Create the first object; if that is refused, a dry run says what is to be done."""
        state.is_untouched = False
        try:
            answer = await examine.create(session, target)
        except errors.ApiError as error:
            state.is_untouched = not isinstance(error, errors.ServerError | errors.Unreachable)
            await self._each(state, [target], lambda each: self._ask(session, state, each))
            return
        self._settle(session, stage, state, target, answer)
        state.actions[target.desired.id] = Action.CREATED

    async def _write(self, session: Session, stage: Stage, state: _Stage, target: Target) -> None:
        obj = target.desired.id
        before = session.ledger.live(obj)
        answer, verdict = await self._send(session, target, state.verdicts[obj])
        live = self._settle(session, stage, state, target, answer)
        action = Action.CREATED if answer.created else _ACTIONS[verdict]
        if verdict is Verdict.CONFIGURE and before == live:
            action = Action.UNCHANGED
        state.actions[obj] = action

    def _settle(
        self, session: Session, stage: Stage, state: _Stage, target: Target, answer: Applied
    ) -> Live:
        """Note the answer to a write, and whether its object has to be waited for."""
        live = session.ledger.record(session.owner, target.desired, answer.raw)
        if session.after_write is not None:
            session.after_write(target.desired.id, answer.raw)
        if stage.is_awaited and not readiness.is_ready(session, target, answer.raw):
            state.waiting.append(target)
        return live

    async def _send(
        self, session: Session, target: Target, verdict: Verdict
    ) -> tuple[Applied, Verdict]:
        """Write one object.

        Raises:
            ObjectError: the server refused.
        """
        if verdict is Verdict.RECREATE:
            return await force.recreate(session, target), verdict
        if verdict is Verdict.TAKE_OVER:
            await takeover.take_over(session, target)
        try:
            return await examine.send(session, target), verdict
        except errors.ApiError as error:
            if verdict is not Verdict.CONFIGURE or not examine.is_known(session, target):
                raise wording.failed(target.desired.id, "apply failed", error) from error
            if await examine.may_recreate(session, target, error):
                return await force.recreate(session, target), Verdict.RECREATE
            raise wording.refused(
                target.desired.id, examine.explain(session, target, error)
            ) from error


def _by_stage(
    desired: Iterable[Desired], custom: frozenset[str]
) -> Iterable[tuple[Stage, list[Desired]]]:
    """Return the stages that have members, in order, each sorted."""
    found: dict[Stage, list[Desired]] = {}
    for each in sorted(desired, key=lambda each: stages.sort_key(each.id)):
        found.setdefault(stages.stage_of(each.id, custom), []).append(each)
    return sorted(found.items())


def _give_up_if_failed(state: _Stage, changes: ChangeSet) -> None:
    """Raise what failed in a stage, in the order of applying."""
    if state.failures:
        ordered = sorted(state.failures, key=stages.sort_key)
        texts = [state.failures[obj] for obj in ordered]
        raise ApplyError(texts, changes, is_untouched=state.is_untouched and not changes.loud)
