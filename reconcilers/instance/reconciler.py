"""Applies what a FluxInstance stands for and says in its status how far that is.

Conditions, reasons and messages follow the Flux Operator. Two things differ because the daemon
watches: a run that changes nothing writes nothing, and readiness of the sync pair is awaited by
being woken, not by polling (`reconcilers.instance.on_sync`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import durations, meta, served
from api.instance import FluxInstance
from kube import errors
from kube.objects import GVK
from reconcilers import steps
from reconcilers.instance import apply, outcome, scope, sync, uninstall
from runtime.controller import Result
from runtime.errors import GitOpsError, TerminalError, TransientError
from sources import semver

if TYPE_CHECKING:
    from api.instance import FluxInstanceStatus
    from api.meta import ObjectRef
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext
    from runtime.controller import Run

INTERVAL_S: Final = 3600.0
"""Seconds between runs that nothing else asks for, as in the operator."""
TIMEOUT_S: Final = 300.0
"""Seconds for which the sync pair is waited for before that counts as a failure."""

_GVK: Final = GVK(FluxInstance.GROUP, FluxInstance.VERSION, FluxInstance.KIND)


class InstanceReconciler:
    """Reconciles the FluxInstance of one cluster.

    Args:
        context: the cluster.
    """

    kind = FluxInstance.KIND

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._kind = steps.Kind(_GVK, context.instances, meta.INSTANCE_MANAGER, "flux-operator")
        self._waiting: dict[tuple[str, str], float] = {}
        """When the wait for (uid, revision) began, in monotonic seconds; one entry an instance."""

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Apply the sync pair and report on it.

        Raises:
            TransientError: the API server failed, or the pair did not become ready in time.
            TerminalError: the instance asks for what is not served yet.
        """
        started_s = self._context.clock.monotonic()
        obj = self._context.instances.get(ref.namespace, ref.name)
        if obj is None:
            return Result()
        try:
            return await self._reconcile(obj, started_s)
        except errors.ApiError as err:
            raise errors.to_leaf(err, meta.RECONCILIATION_FAILED) from err

    async def _reconcile(self, obj: FluxInstance, started_s: float) -> Result:
        if obj.metadata.deletion_timestamp:
            await self._finalise(obj)
            return Result()
        is_new = meta.INSTANCE_FINALIZER not in obj.metadata.finalizers
        obj = await steps.add_finalizer(self._context, self._kind, obj, meta.INSTANCE_FINALIZER)
        if scope.is_disabled(obj):
            await self._rest(obj, is_new=is_new)
            return Result()
        obj = await self._begin(obj)
        try:
            return await self._serve(obj, started_s)
        except errors.ApiError as err:
            failure = errors.to_leaf(err, meta.RECONCILIATION_FAILED, "reconciliation failed: ")
            await self._fail(obj, failure, started_s)
            raise failure from err
        except GitOpsError as failure:
            await self._fail(obj, failure, started_s)
            raise

    # The ways through a run ---------------------------------------------------------------------

    async def _rest(self, obj: FluxInstance, *, is_new: bool) -> None:
        """Leave a disabled instance alone."""
        now = self._context.clock.now()
        if is_new:
            await steps.patch_status(self._context, self._kind, obj, outcome.disabled(obj, now))
        told = steps.notice(outcome.DISABLED, "Reconciliation is disabled", severity="error")
        steps.publish(self._context, self._kind, obj, [told])

    async def _begin(self, obj: FluxInstance) -> FluxInstance:
        """Say that a new generation is being worked on."""
        if outcome.has_verdict(obj):
            return obj
        status = outcome.progressing(
            obj, obj.status, "Reconciliation in progress", self._context.clock.now()
        )
        return await steps.patch_status(self._context, self._kind, obj, status)

    async def _serve(self, obj: FluxInstance, started_s: float) -> Result:
        """Apply, prune, and wait.

        Raises:
            GitOpsError: see `reconcile`.
        """
        _check(obj)
        wanted = sync.manifests(obj)
        revision = sync.revision(obj, wanted)
        if revision != obj.status.last_attempted_revision:
            obj = await self._announce(obj, revision)
        entries = apply.inventory(wanted)
        is_new = revision != obj.status.last_applied_revision
        lines = await apply.apply_all(self._context, wanted, is_new=is_new)
        lines += await apply.prune(self._context, obj, entries)
        status = msgspec.structs.replace(
            obj.status,
            components=sync.component_status(obj),
            inventory=meta.Inventory(entries=entries),
        )
        if obj.spec.wait and (missing := self._missing(wanted)):
            return await self._wait(obj, status, revision, missing, started_s)
        await self._succeed(obj, status, revision, lines, started_s)
        every = obj.metadata.annotations.get(meta.INSTANCE_RECONCILE_EVERY)
        return Result(durations.parse_or(every, INTERVAL_S) or None)

    async def _announce(self, obj: FluxInstance, revision: str) -> FluxInstance:
        """Tell that a revision is tried for the first time."""
        verb = "Upgrading to" if obj.status.last_applied_revision else "Installing"
        told = _notice(meta.PROGRESSING, f"{verb} revision {revision}", revision)
        steps.publish(self._context, self._kind, obj, [told])
        status = msgspec.structs.replace(obj.status, last_attempted_revision=revision)
        return await steps.patch_status(self._context, self._kind, obj, status)

    def _missing(self, wanted: list[JsonObject]) -> str:
        """Return what is not ready yet, empty where everything is."""
        reasons = (
            sync.waits_for(apply.live(self._context, each), apply.name(each))
            for each in wanted
            if sync.is_of_pair(each)
        )
        return next(filter(None, reasons), "")

    async def _wait(
        self,
        obj: FluxInstance,
        status: FluxInstanceStatus,
        revision: str,
        missing: str,
        started_s: float,
    ) -> Result:
        """Say what is waited for, and come back when it changes or the time is up.

        Raises:
            TransientError: the time is up.
        """
        now_s, key = self._context.clock.monotonic(), (obj.metadata.uid, revision)
        since_s = self._waiting.setdefault(key, now_s)
        limit = obj.metadata.annotations.get(meta.INSTANCE_RECONCILE_TIMEOUT)
        left_s = since_s + durations.parse_or(limit, TIMEOUT_S) - now_s
        if left_s <= 0:
            raise TransientError(
                meta.RECONCILIATION_FAILED, f"reconciliation failed: timeout waiting for: {missing}"
            )
        status = outcome.progressing(obj, status, missing, self._context.clock.now())
        await self._finish(obj, status, started_s)
        return Result(left_s, jitter=False)

    async def _succeed(
        self,
        obj: FluxInstance,
        status: FluxInstanceStatus,
        revision: str,
        lines: list[str],
        started_s: float,
    ) -> None:
        """Write success where it is news; a run that found everything in place writes nothing."""
        self._waiting.clear()
        is_news = bool(lines) or not outcome.is_ready(obj) or status != obj.status
        is_first = revision != obj.status.last_applied_revision
        notices = []
        if is_news or is_first:
            elapsed_s = self._context.clock.monotonic() - started_s
            status = outcome.succeeded(obj, status, revision, elapsed_s, self._context.clock.now())
            verb = "Applied revision" if is_first else "Corrected revision"
            text = "\n".join([f"{verb} {revision}", *lines])
            notices = [_notice(meta.RECONCILIATION_SUCCEEDED, text, revision)]
        await self._finish(obj, status, started_s, notices)

    async def _fail(self, obj: FluxInstance, failure: GitOpsError, started_s: float) -> None:
        """Write why the instance is not ready; tell it once."""
        current = self._context.instances.get(obj.metadata.namespace, obj.metadata.name) or obj
        status = outcome.failed(current, failure, self._context.clock.now())
        is_news = status.conditions != current.status.conditions
        notices = [steps.notice(failure.reason, failure.message, severity="error")]
        await self._finish(current, status, started_s, notices if is_news else [])

    async def _finish(
        self,
        obj: FluxInstance,
        status: FluxInstanceStatus,
        started_s: float,
        notices: list[steps.Notice] | None = None,
    ) -> None:
        await steps.finish(
            self._context, self._kind, obj, status, started_s=started_s, notices=notices or []
        )

    async def _finalise(self, obj: FluxInstance) -> None:
        """Let go of the cluster: the pair goes, the workloads stay."""
        self._waiting.clear()
        if not scope.is_disabled(obj) and obj.status.inventory:
            await uninstall.release(self._context, obj)
        await steps.remove_finalizer(self._context, self._kind, obj, meta.INSTANCE_FINALIZER)


def _notice(reason: str, message: str, revision: str) -> steps.Notice:
    """Return an event that names its revision, under the operator's own key."""
    return steps.Notice(message, reason, metadata=((f"{meta.INSTANCE_GROUP}/revision", revision),))


def _check(obj: FluxInstance) -> None:
    """Refuse what cannot be served.

    Raises:
        TerminalError: the instance is in the wrong namespace, wants another version of Flux, or
            sets fields not served yet.
    """
    if obj.metadata.namespace != meta.NAMESPACE:
        raise TerminalError(
            meta.BUILD_FAILED,
            f"build failed: the FluxInstance must be in namespace {meta.NAMESPACE}",
        )
    check_version(obj.spec.distribution.version)
    if paths := served.unserved(obj):
        raise TerminalError(meta.NOT_SERVED, served.message(paths))


def check_version(wanted: str) -> None:
    """Refuse a range that does not admit the version of Flux whose API is served.

    Args:
        wanted: the range, for example ``2.x``.

    Raises:
        TerminalError: it admits none, in the operator's words, or is no range.
    """
    try:
        admitted = semver.Range(wanted)
    except semver.InvalidRangeError as err:
        text = f"build failed: semver '{wanted}' parse error: {err}"
        raise TerminalError(meta.BUILD_FAILED, text) from err
    served_version = semver.parse(meta.FLUX_VERSION)
    if served_version is None or not admitted.admits(served_version):
        text = f"build failed: no match found for semver: {wanted}; {meta.FLUX_VERSION} is served"
        raise TerminalError(meta.BUILD_FAILED, text)
