"""Keeps a release of a chart as its HelmRelease declares it.

The order of a run: deletion, finalizer, suspension, what `preparation` gathers, then one action
after the other until there is nothing left to do (see `loop`). The conditions, reasons and messages
are Flux's. What differs on purpose: where nothing changed nothing is asked, as watches tell of
everything that a release depends on, its records and its objects included; waits hold no worker;
and drift is put right at once, by itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api import meta
from api.helm import HelmRelease
from kube import errors, references
from kube.fights import Fights
from kube.helm.record import RecordError, secret_name
from kube.objects import GVK, ObjectId
from kube.tracker import Mode
from reconcilers import dependencies, steps, targets
from reconcilers.helmrelease import (
    applying,
    chartobject,
    drift,
    ending,
    finalise,
    loop,
    objects,
    preparation,
    words,
)
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease.attempt import Attempt
from reconcilers.helmrelease.release import NothingRecorded
from reconcilers.kustomization.drifts import Drifts, Listener
from reconcilers.kustomization.failures import Failures
from runtime import conditions
from runtime.controller import Result
from runtime.errors import GitOpsError, TransientError

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from reconcilers.context import ClusterContext
    from reconcilers.helmrelease.bundle import Bundle
    from reconcilers.helmrelease.loop import Ending
    from reconcilers.helmrelease.render import Renderer
    from reconcilers.helmrelease.work import Work
    from runtime.controller import Run

_DRIFT: Final = "drift"
"""How the cause of a wake-up begins that a watch of one of our objects gave."""
_TIMERS: Final = (_DRIFT, "interval", "retry")
"""How the causes of a wake-up begin that bring no news but drift."""
_EARLY: Final = 0.9
"""Share of the interval after which an interval's run counts as due, jitter included."""
_SYNC_TIMEOUT_S: Final = 30.0
"""Seconds to wait for the first lists of an owner's watches after a start."""

_RECORD: Final = "sh.helm.release."
"""How the names of the Secrets begin that hold records."""


@dataclass(slots=True)
class _Known:
    """What the last successful run of a HelmRelease was about; lost at a restart."""

    circumstances: tuple[object, ...]
    references: tuple[object, ...]
    """The versions of the ConfigMaps and Secrets that were read for it, records included."""
    applied: Bundle | None
    """The objects of its release, where drift is looked for."""
    due_s: float
    """Monotonic seconds of the next interval's run."""


class HelmReleaseReconciler:
    """Reconciles the HelmReleases of one cluster.

    Args:
        context: the cluster.
        renderer: renders charts.
    """

    kind = HelmRelease.KIND

    def __init__(self, context: ClusterContext, renderer: Renderer) -> None:
        self._context, self._renderer = context, renderer
        self._releases = context.informer(HelmRelease)
        self._kind = steps.Kind(
            GVK(HelmRelease.GROUP, HelmRelease.VERSION, self.kind),
            self._releases,
            meta.HELM_MANAGER,
            meta.HELM_MANAGER,
        )
        self._drifts = Drifts(Fights(context.clock), context.clock)
        context.tracker.on_drift = Listener(
            self._drifts, context.tracker.on_drift, self.kind, self._cares
        )
        self._known: dict[ObjectRef, _Known] = {}
        self._failures = Failures(context.clock)
        self._has_adopted = False

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Make the cluster agree with one HelmRelease; see the module's docstring.

        Raises:
            GitOpsError: the outcome, once the HelmRelease's status tells it.
        """
        self._adopt()
        await self._renderer.helm.clean()
        item = self._releases.get(ref.namespace, ref.name)
        if item is None:
            self._forget(ref)
            return Result()
        try:
            return await self._reconcile(Attempt(self._context, self._kind, item, run))
        except errors.ApiError as err:
            raise errors.to_leaf(err, meta.RECONCILIATION_FAILED) from err

    async def _reconcile(self, attempt: Attempt) -> Result:
        item = attempt.item
        if item.metadata.deletion_timestamp:
            if meta.FINALIZER in item.metadata.finalizers:
                await finalise.finalise(attempt)
            self._forget(attempt.ref)
            return Result()
        await attempt.hold()
        if item.spec.suspend:
            self._drifts.settle(attempt.ref)
            self._known.pop(attempt.ref, None)
            return Result()
        if await self._is_done(attempt):
            return self._rest(attempt)
        return await self._run(attempt)

    # Nothing but drift ----------------------------------------------------------------------

    async def _is_done(self, attempt: Attempt) -> bool:
        """Put drift right that watches reported; return whether that was all there is to do."""
        context, ref = self._context, attempt.ref
        failed, known = self._failures.get(ref), self._known.get(ref)
        is_timer = attempt.run.work.cause.startswith(_TIMERS)
        now = context.clock.monotonic()
        if context.references.news(ref):
            return False
        if failed is not None:
            is_same = failed.circumstances == self._circumstances(attempt.item)
            return is_same and attempt.run.work.cause.startswith(_DRIFT)
        if known is None or not self._is_current(attempt, known):
            return False
        if known.applied is not None and self._drifts.due(ref):
            await self._correct(attempt, known.applied)
        if is_timer and now < known.due_s:
            return True
        if self._wants_a_look(attempt):
            return False
        if attempt.is_requested:
            await attempt.finish()
        known.due_s = now + _EARLY * ending.interval_s(attempt.item.spec)
        return True

    def _is_current(self, attempt: Attempt, known: _Known) -> bool:
        """Whether nothing is new since the last success, and everything new would be known."""
        own = self._context.references
        return (
            not (attempt.is_force_pending or attempt.is_reset)
            and known.circumstances[:-1] == self._circumstances(attempt.item)[:-1]
            and known.references == own.seen(attempt.ref)
            and own.is_complete(attempt.ref)
            and attempt.item.spec.kube_config is None
            and self._open(attempt)
        )

    def _open(self, attempt: Attempt) -> bool:
        """Find the cluster as far as it is known without asking."""
        attempt.opened = targets.present(self._context, attempt.item)
        return attempt.opened is not None

    def _wants_a_look(self, attempt: Attempt) -> bool:
        """Whether an interval's run has objects to ask about although nothing happened."""
        if not drift.is_looked_for(attempt.item):
            return False
        if conditions.is_true(attempt.status.conditions, meta.DRIFTED):
            return True
        tracker, now = attempt.target.tracker, self._context.clock.monotonic()
        is_polled = any(tracker.mode(obj) is Mode.POLL for obj, _ in tracker.owned(attempt.ref))
        return is_polled or bool(tracker.due_for_verification(attempt.ref, now))

    async def _correct(self, attempt: Attempt, applied: Bundle) -> None:
        """Tell of the drift that watches reported, and put it right where that is asked for."""
        due, newest = self._drifts.due(attempt.ref), histories.latest(attempt.status.history)
        if newest is None:
            return
        found = await drift.find(attempt, applied, due)
        drift.tell(attempt, newest, found)
        if found and drift.mode(attempt.item) == drift.ENABLED:
            await drift.correct(attempt, newest, applied, found)
            drift.tell(attempt, newest, [])
        self._drifts.settle(attempt.ref, due)
        await attempt.finish()

    # A whole run ----------------------------------------------------------------------------

    async def _run(self, attempt: Attempt) -> Result:
        circumstances = self._circumstances(attempt.item)
        pending = self._drifts.all(attempt.ref)
        try:
            result = await self._attempt(attempt)
        except GitOpsError as failure:
            self._known.pop(attempt.ref, None)
            self._failures.note(attempt.ref, circumstances, failure)
            raise
        self._failures.forget(attempt.ref)
        self._drifts.settle(attempt.ref, pending)
        return result

    async def _attempt(self, attempt: Attempt) -> Result:
        """Run all steps and write how that went.

        Raises:
            GitOpsError: the outcome.
        """
        found = self._inputs(attempt.item)
        try:
            work, done = await self._steps(attempt, found)
        except NothingRecorded as err:
            raise await ending.fail_unrecorded(attempt, str(err)) from err
        except GitOpsError as err:
            await ending.fail(attempt, err)
            raise
        except errors.ApiError as err:
            failure = TransientError(meta.RECONCILIATION_FAILED, err.message)
            await ending.fail(attempt, failure)
            raise failure from err
        await ending.settle(attempt, done)
        if work is not None and isinstance(done, loop.Done):
            await self._remember(work, found)
        return ending.result(done, attempt.item.spec)

    async def _steps(
        self, attempt: Attempt, found: tuple[object, ...]
    ) -> tuple[Work | None, Ending]:
        """Prepare the run and do what there is to do.

        Args:
            attempt: the run.
            found: what it depends on; a wait ends when that changes.

        Raises:
            NothingRecorded: an action failed and left no record.
            GitOpsError: the run could not go on.
            ApiError: the API server refused, or did not answer.
        """
        work = await preparation.prepare(
            self._context, attempt, self._renderer, lambda: self._find_news(attempt, found)
        )
        if work is None:
            return None, loop.Again(0)
        self._adopt_remote(attempt)
        await self._watched(attempt)
        try:
            return work, await loop.run(work)
        except (RecordError, objects.ManifestError) as err:
            raise TransientError(words.STATE_ERROR, str(err)) from err

    async def _watched(self, attempt: Attempt) -> None:
        """Wait until the watches of what is owned have listed, so that nothing is asked in vain."""
        try:
            async with asyncio.timeout(_SYNC_TIMEOUT_S):
                await attempt.target.tracker.synced(attempt.ref)
        except TimeoutError:
            text = f"the watches of its objects have not listed within {_SYNC_TIMEOUT_S:g}s"
            raise TransientError(meta.RECONCILIATION_FAILED, text) from None

    # What is known --------------------------------------------------------------------------

    def _inputs(self, item: HelmRelease) -> tuple[object, ...]:
        """Return what a run depends on."""
        key = chartobject.source_of(item)
        source = self._context.source(key)
        artifact = source.status.artifact if source else None
        told = (artifact.revision, artifact.digest) if artifact else ()
        seen = (source.metadata.uid, source.metadata.generation) if source else ()
        own, tools = item.metadata, self._context.tools
        return (
            *(own.uid, own.generation, key, seen, told),
            *(tools.helm_version, self._context.settings),
        )

    def _circumstances(self, item: HelmRelease) -> tuple[object, ...]:
        """Return what an outcome may depend on: inputs, dependencies, the request token last."""
        find = self._releases.get
        unmet, judged = dependencies.waits_for(item, find), dependencies.judged(item, find)
        return (self._inputs(item), unmet, judged, item.requested_at)

    def _find_news(self, attempt: Attempt, found: tuple[object, ...]) -> str | None:
        """Return what is newer than this run: the HelmRelease, its chart, values, or None."""
        item = self._releases.get(attempt.ref.namespace, attempt.ref.name)
        if item is None or item.metadata.deletion_timestamp or item.spec.suspend:
            return str(attempt.ref)
        now = self._inputs(item)
        if now != found:
            return str(attempt.ref if now[1] != found[1] else chartobject.source_of(item))
        changed = self._context.references.news(attempt.ref, _is_no_record)
        return str(changed) if changed else None

    async def _remember(self, work: Work, found: tuple[object, ...]) -> None:
        """Keep what a run was about, so that the next one need not ask.

        A run that something newer has overtaken knows nothing of that: then nothing is kept.
        """
        attempt, context = work.attempt, self._context
        await self._note_records(work)
        applied = None
        if drift.is_looked_for(attempt.item) and work.last is not None:
            applied = work.applied or await applying.bundle_of(attempt, work.last)
        item = self._releases.get(attempt.ref.namespace, attempt.ref.name) or attempt.item
        if self._inputs(item) != found:
            self._known.pop(attempt.ref, None)
            return
        self._known[attempt.ref] = _Known(
            self._circumstances(item),
            context.references.seen(attempt.ref),
            applied,
            context.clock.monotonic() + _EARLY * ending.interval_s(item.spec),
        )

    async def _note_records(self, work: Work) -> None:
        """Tell which records were seen, so that one that somebody else writes is news."""
        heads = {head.version: head for head in await work.storage.heads(work.name)}
        newest = max(heads, default=0)
        for version in (newest, newest + 1):
            head = heads.get(version)
            seen = (head.uid, head.resource_version) if head else references.ABSENT
            name = secret_name(work.name, version)
            target = ObjectId(work.storage.namespace, name, "", references.SECRET)
            self._context.references.note(work.attempt.ref, target, seen)

    def _rest(self, attempt: Attempt) -> Result:
        """Return when to run again after nothing but drift.

        Raises:
            GitOpsError: the failure of the last run, which stands.
        """
        pause_s = self._drifts.next_s(attempt.ref)
        failed, known = self._failures.get(attempt.ref), self._known.get(attempt.ref)
        if failed is not None:
            raise self._failures.rest(failed, pause_s)
        interval_s = ending.interval_s(attempt.item.spec)
        if pause_s is not None:
            return Result(requeue_after_s=max(pause_s, 0.001), jitter=False)
        if known is None:
            return Result(requeue_after_s=interval_s)
        left_s = known.due_s - self._context.clock.monotonic() + (1 - _EARLY) * interval_s
        return Result(requeue_after_s=max(left_s, 0.001))

    def _cares(self, owner: ObjectRef) -> bool:
        """Whether a HelmRelease wants to hear of drift."""
        item = self._releases.get(owner.namespace, owner.name)
        return item is not None and not item.spec.suspend and drift.is_looked_for(item)

    def _adopt(self) -> None:
        """Tell the tracker at the first run what every HelmRelease owns, whoever runs first."""
        if self._has_adopted:
            return
        self._has_adopted = True
        for item in self._releases.items():
            entries = applying.entries_of(item)
            if entries and item.spec.kube_config is None:
                self._context.tracker.set_inventory(item.ref(self._context.name), entries)

    def _adopt_remote(self, attempt: Attempt) -> None:
        """Tell the books of a remote cluster what is owned there."""
        remote = self._context.remotes.held(attempt.ref)
        if remote is not None:
            entries = applying.entries_of(attempt.item)
            remote.tracker.set_inventory(attempt.ref, entries)

    def _forget(self, ref: ObjectRef) -> None:
        self._known.pop(ref, None)
        self._failures.forget(ref)
        self._drifts.settle(ref)
        targets.forget(self._context, ref)


def _is_no_record(target: ObjectId) -> bool:
    return not target.name.startswith(_RECORD)
