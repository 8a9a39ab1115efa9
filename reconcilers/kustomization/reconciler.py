"""Keeps a Kustomization's objects in the cluster as Git declares them.

The order of a run: deletion, finalizer, suspension, served fields, source, dependencies, build,
apply, prune, health. The conditions, reasons and messages are Flux's. What differs on purpose:
nothing is written when nothing changed, dependencies and sources wake instead of being polled,
waits hold no worker, and a drift that a watch reports is put right at once, by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from api import meta
from kube import errors
from kube.apply import ApplyError, ApplyOptions
from kube.fights import Fights
from kube.objects import GVK
from reconcilers import artifacts, dependencies, steps, targets
from reconcilers.kustomization import (
    applying,
    checks,
    drifts,
    failures,
    finalise,
    inputs,
    manifest,
    outcome,
    planning,
    requesting,
    store,
    timing,
    workplace,
)
from reconcilers.kustomization.attempt import Attempt
from reconcilers.kustomization.health import Seen
from runtime.controller import Result
from runtime.errors import GitOpsError, TransientError

if TYPE_CHECKING:
    from api.kustomize import Kustomization
    from api.meta import ObjectRef
    from kube.changes import ChangeSet
    from kube.health_rules import HealthRules
    from reconcilers.context import ClusterContext
    from reconcilers.kustomization.store import Build
    from runtime.controller import Run

_DRIFT: Final = "drift"
"""How the cause of a wake-up begins that a watch of one of our objects gave."""
_INTERVAL: Final = "interval"
_TIMERS: Final = (_DRIFT, _INTERVAL, "retry")
"""How the causes begin that bring no news but drift."""
_NO_DIRECTORY: Final = "DirectoryCreationFailed"
_EARLY: Final = 0.9
"""Share of the interval after which an interval's run counts as due, jitter included."""
_SYNC_TIMEOUT_S: Final = 30.0
"""Seconds to wait for the first lists of an owner's watches after a start."""


@dataclass(slots=True)
class _Known:
    """What the last successful run of a Kustomization was about; lost at a restart."""

    inputs: tuple[object, ...]
    references: tuple[object, ...]
    """The versions of the ConfigMaps and Secrets that were read for it."""
    build: Build
    due_s: float
    """Monotonic seconds of the next interval's run."""
    seen: Seen = field(default_factory=Seen)


class KustomizationReconciler:
    """Reconciles the Kustomizations of one cluster.

    Args:
        context: the cluster.
        rng: spreads the pauses of watches.
    """

    kind = "Kustomization"

    def __init__(self, context: ClusterContext, rng: random.Random | None = None) -> None:
        self._context = context
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._kind = steps.Kind(
            GVK(meta.KUSTOMIZE_GROUP, "v1", self.kind),
            context.kustomizations,
            meta.KUSTOMIZE_STATUS_MANAGER,
            meta.KUSTOMIZE_MANAGER,
        )
        directory = context.data_dir / "builds"
        self._store = store.Store(directory)
        self._workplace = workplace.Workplace(
            directory, context.tools.sops, context.processes, context.threads
        )
        self._drifts = drifts.Drifts(Fights(context.clock), context.clock)
        context.tracker.on_drift = drifts.Listener(self._drifts, context.tracker.on_drift)
        self._known: dict[ObjectRef, _Known] = {}
        self._failures = failures.Failures(context.clock)
        self._has_adopted = False

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Make the cluster agree with one Kustomization; see the module's docstring.

        Raises:
            GitOpsError: the outcome, once the Kustomization's status tells it.
        """
        self._adopt()
        item = self._context.kustomizations.get(ref.namespace, ref.name)
        if item is None:
            await self._forget(ref)
            return Result()
        attempt = Attempt(self._context, self._kind, item, run)
        try:
            return await self._reconcile(attempt)
        except errors.ApiError as err:
            raise errors.to_leaf(err, meta.RECONCILIATION_FAILED) from err

    async def _reconcile(self, attempt: Attempt) -> Result:
        item = attempt.item
        if item.metadata.deletion_timestamp:
            if meta.FINALIZER in item.metadata.finalizers:
                await finalise.finalise(attempt)
            await self._forget(attempt.ref)
            return Result()
        await attempt.hold()
        if attempt.item.spec.suspend:
            self._drifts.settle(attempt.ref)
            await attempt.finish()
            return Result()
        if await self._is_done_with_drift(attempt):
            return self._rest(attempt)
        known = self._drifts.all(attempt.ref)  # what comes later may come after its object's apply
        circumstances = self._circumstances(attempt.item)
        failure = await self._run(attempt)
        if failure is not None:
            raise await self._fail(attempt, failure, circumstances)
        await outcome.succeed(attempt)
        self._failures.forget(attempt.ref)
        self._drifts.settle(attempt.ref, known)
        return self._next(attempt)

    # Drift ----------------------------------------------------------------------------------

    async def _is_done_with_drift(self, attempt: Attempt) -> bool:
        """Put right what watches reported; return whether that was all there is to do."""
        failed, known = self._failures.get(attempt.ref), self._known.get(attempt.ref)
        if self._context.references.news(attempt.ref):
            return False
        if failed is not None:
            if failed.circumstances != self._circumstances(attempt.item):
                return False
            await self._correct_last_applied(attempt)
            due_s = failed.due_s
        elif known is not None and self._is_at_hand(attempt, known):
            try:
                await self._correct(attempt, known.build)
            except ApplyError:
                return False  # the whole run that follows reports it
            except store.StaleBuildError:
                del self._known[attempt.ref]
                return False
            due_s = known.due_s
        else:
            return False
        is_timer = attempt.run.work.cause.startswith(_TIMERS)
        return is_timer and self._context.clock.monotonic() < due_s

    def _is_at_hand(self, attempt: Attempt, known: _Known) -> bool:
        """Whether nothing is new since the last success, and its cluster at hand."""
        attempt.opened = targets.present(self._context, attempt.item)
        return attempt.opened is not None and known.inputs == self._inputs(attempt.item)

    async def _correct(self, attempt: Attempt, current: Build) -> None:
        due = self._drifts.due(attempt.ref)
        if attempt.opened is None:
            attempt.opened = targets.present(self._context, attempt.item)
        if due and attempt.opened is not None:
            await applying.correct(attempt, current, due)
            self._drifts.settle(attempt.ref, due)
            attempt.publish()

    async def _correct_last_applied(self, attempt: Attempt) -> None:
        """Keep up what was applied last, as far as its build has it, although a run fails."""
        if not self._drifts.due(attempt.ref):
            return
        last = await self._context.threads.run(self._store.load, requesting.file_name(attempt.ref))
        if last is not None:
            with contextlib.suppress(ApplyError, store.StaleBuildError):  # pending until a run
                await self._correct(attempt, last)

    async def _fail(
        self, attempt: Attempt, failure: GitOpsError, circumstances: tuple[object, ...]
    ) -> GitOpsError:
        """End a run that failed under some circumstances; return the outcome."""
        await self._correct_last_applied(attempt)
        await outcome.fail(attempt, failure)
        error = outcome.leaf(attempt, failure)
        self._failures.note(attempt.ref, circumstances, error)
        return error

    # One whole run --------------------------------------------------------------------------

    async def _run(self, attempt: Attempt) -> GitOpsError | None:
        """Run all steps, showing progress beside them; return what went wrong."""
        done = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(attempt.show_when_slow(done), name="progress")
            try:
                await self._steps(attempt)
            except GitOpsError as err:
                return err
            except errors.ApiError as err:
                return TransientError(meta.RECONCILIATION_FAILED, err.message)
            finally:
                done.set()
        return None

    async def _steps(self, attempt: Attempt) -> None:
        item, context = attempt.item, self._context
        inputs.check_served(item)
        rules = inputs.find_health_rules(context, item)
        artifact = inputs.find_artifact(context, item, timing.retry_s(item.spec))
        attempt.artifact = artifact
        await inputs.check_dependencies(context, item, artifact.revision)
        found = self._inputs(item)
        if item.spec.kube_config is not None:
            attempt.change(last_attempted_revision=artifact.revision)
        attempt.opened = await targets.find(context, item)
        self._adopt_remote(attempt)
        attempt.step("Fetching manifests")
        current = await self._build(attempt, found)
        seen = self._seen(attempt.ref, rules)
        changes = await self._apply(attempt, current, found, seen)
        await applying.remove_stale(attempt, changes)
        self._remember(attempt, found, current, seen)
        await checks.run(
            attempt,
            current,
            changes,
            seen,
            rng=self._rng,
            find_news=lambda: self._find_news(attempt, found),
            between=lambda: self._correct_while_waiting(attempt, current),
        )

    async def _build(self, attempt: Attempt, found: tuple[object, ...]) -> Build:
        """Return what to apply, built anew only if an input changed.

        Raises:
            GitOpsError: with Flux's reason for what went wrong.
        """
        known = self._known.get(attempt.ref)
        if known is not None and self._is_current(attempt.ref, known, found):
            attempt.digest = known.build.digest
            return known.build
        if attempt.artifact is None:
            raise AssertionError("the source comes before the build")
        tree = await artifacts.open_tree(self._context, attempt.artifact)
        attempted = attempt.status.last_attempted_revision
        attempt.step("Building manifests")
        attempt.change(last_attempted_revision=attempt.revision)
        request = await requesting.request(self._context, attempt.item, tree)
        try:
            builder = requesting.builder(self._context, self._store, self._workplace)
            built = await builder.build(request)
        except planning.PathNotFound as err:
            # To Flux this belongs to the fetching, and nothing was attempted yet.
            attempt.step("Fetching manifests")
            attempt.change(last_attempted_revision=attempted)
            raise TransientError(meta.ARTIFACT_FAILED, str(err)) from err
        except manifest.BuildError as err:
            raise TransientError(meta.BUILD_FAILED, str(err)) from err
        except workplace.DirectoryError as err:
            raise TransientError(_NO_DIRECTORY, f"tmp dir error: {err}") from err
        except OSError as err:
            text = f"failed to read artifact: {err.strerror or err}"
            raise TransientError(meta.ARTIFACT_FAILED, text) from err
        self._context.metrics.builds.labels(built.way, attempt.ref.cluster).inc()
        attempt.digest = built.build.digest
        return built.build

    async def _apply(
        self, attempt: Attempt, current: Build, found: tuple[object, ...], seen: Seen
    ) -> ChangeSet:
        """Apply a build; once more from a fresh one if its file was lost."""
        attempt.change(last_attempted_revision=attempt.revision)
        attempt.step("Detecting drift")
        cause = attempt.run.work.cause
        is_checked = attempt.item.spec.wait or attempt.item.spec.health_checks
        options = ApplyOptions(
            after_write=partial(seen.note, clock=self._context.clock) if is_checked else None,
            force=attempt.item.spec.force,
            ignore=applying.ignored(attempt.item),
            custom_stages=attempt.context.settings.custom_stages,
            verify=attempt.is_verification,
            at_interval=cause == _INTERVAL or attempt.is_requested,
        )
        await self._watched(attempt)
        try:
            return await applying.apply(attempt, current, options)
        except store.StaleBuildError:
            self._known.pop(attempt.ref, None)
            await self._context.threads.run(self._store.drop, requesting.file_name(attempt.ref))
            return await applying.apply(attempt, await self._build(attempt, found), options)

    async def _watched(self, attempt: Attempt) -> None:
        """Wait until the watches of what is owned have listed, so that nothing is asked in vain."""
        try:
            async with asyncio.timeout(_SYNC_TIMEOUT_S):
                await attempt.target.tracker.synced(attempt.ref)
        except TimeoutError:
            text = f"the watches of its objects have not listed within {_SYNC_TIMEOUT_S:g}s"
            raise TransientError(meta.RECONCILIATION_FAILED, text) from None

    async def _correct_while_waiting(self, attempt: Attempt, current: Build) -> None:
        try:
            await self._correct(attempt, current)
        except (ApplyError, store.StaleBuildError):
            return  # still pending; the run that follows the wait reports it

    # What is known --------------------------------------------------------------------------

    def _inputs(self, item: Kustomization) -> tuple[object, ...]:
        """Return what a run depends on, the request token last."""
        own, settings = item.metadata, self._context.settings
        return (own.uid, own.generation, self._artifact(item), settings, item.requested_at)

    def _artifact(self, item: Kustomization) -> tuple[str, ...]:
        """Return revision and digest of what the source offers; nothing where there is nothing."""
        key = dependencies.source_of(item)
        source = self._context.source(key)
        artifact = source.status.artifact if source else None
        return (artifact.revision, artifact.digest) if artifact else ()

    def _circumstances(self, item: Kustomization) -> tuple[object, ...]:
        """Return what a failure may depend on: the inputs, and whether dependencies are met."""
        revision = "".join(self._artifact(item)[:1])
        lookup = self._context.kustomizations.get
        unmet = dependencies.unmet(item, revision, lookup)
        return (self._inputs(item), unmet, dependencies.judged(item, lookup))

    def _is_current(self, ref: ObjectRef, known: _Known, found: tuple[object, ...]) -> bool:
        """Whether the last build still holds; the request token alone asks for no other."""
        references = self._context.references
        return (
            known.inputs[:-1] == found[:-1]
            and known.references == references.seen(ref)
            and references.is_complete(ref)
            and references.news(ref) is None
        )

    def _find_news(self, attempt: Attempt, found: tuple[object, ...]) -> str | None:
        """Return what is newer than this run: the Kustomization, its source, or None."""
        item = self._context.kustomizations.get(attempt.ref.namespace, attempt.ref.name)
        if item is None or item.metadata.deletion_timestamp or item.spec.suspend:
            return str(attempt.ref)
        now = self._inputs(item)
        if now == found:
            changed = self._context.references.news(attempt.ref)
            return str(changed) if changed else None
        is_source = now[2] != found[2]
        return str(dependencies.source_of(item) if is_source else attempt.ref)

    def _seen(self, ref: ObjectRef, rules: HealthRules) -> Seen:
        """Return what is known of the health of what a Kustomization owns, as rules judge it."""
        known = self._known.get(ref)
        seen = known.seen if known else Seen()
        seen.judge_by(rules)
        return seen

    def _remember(
        self, attempt: Attempt, found: tuple[object, ...], current: Build, seen: Seen
    ) -> None:
        due_s = self._context.clock.monotonic() + _EARLY * timing.interval_s(attempt.item.spec)
        read = self._context.references.seen(attempt.ref)
        self._known[attempt.ref] = _Known(found, read, current, due_s, seen)

    def _rest(self, attempt: Attempt) -> Result:
        """Return when to run again after nothing but drift.

        Raises:
            GitOpsError: the failure of the last run, which stands.
        """
        failed = self._failures.get(attempt.ref)
        if failed is not None:
            raise self._failures.rest(failed, self._drifts.next_s(attempt.ref))
        return self._next(attempt)

    def _next(self, attempt: Attempt) -> Result:
        """Return when to run again: the interval, or sooner when a fight's pause ends."""
        interval_s = timing.interval_s(attempt.item.spec)
        known = self._known.get(attempt.ref)
        pause_s = self._drifts.next_s(attempt.ref)
        if pause_s is not None:
            return Result(requeue_after_s=max(pause_s, 0.001), jitter=False)
        if known is None:
            return Result(requeue_after_s=interval_s)
        left_s = known.due_s - self._context.clock.monotonic() + (1 - _EARLY) * interval_s
        return Result(requeue_after_s=max(left_s, 0.001))

    def _adopt(self) -> None:
        """Tell the tracker at the first run what every Kustomization owns, whoever runs first."""
        if self._has_adopted:
            return
        self._has_adopted = True
        for item in self._context.kustomizations.items():
            entries = applying.entries_of(item)
            if entries and item.spec.kube_config is None:
                self._context.tracker.set_inventory(item.ref(self._context.name), entries)

    def _adopt_remote(self, attempt: Attempt) -> None:
        """Tell the books of a remote cluster what is owned there by way of the same Secret."""
        context, own = self._context, attempt.item
        remote = context.remotes.held(attempt.ref)
        if remote is None:
            return
        remote.tracker.set_inventory(attempt.ref, applying.recorded(attempt))
        for item in context.kustomizations.items():
            ref = item.ref(context.name)
            way = (ref.namespace, item.spec.kube_config)
            is_there = way == (attempt.ref.namespace, own.spec.kube_config)
            if is_there and context.remotes.join(ref, remote):
                remote.tracker.set_inventory(ref, applying.entries_of(item))

    async def _forget(self, ref: ObjectRef) -> None:
        self._known.pop(ref, None)
        self._failures.forget(ref)
        self._drifts.settle(ref)
        targets.forget(self._context, ref)
        await self._workplace.drop(requesting.file_name(ref))
        await self._context.threads.run(self._store.drop, requesting.file_name(ref))
