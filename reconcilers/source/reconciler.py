"""The reconcile of a source: storage, source, artifact, as in Flux's source-controller.

A run that finds nothing new sends nothing to the API server, one that does a single status patch;
the conditions that show progress are written only where a run lasts longer than `VISIBLE_AFTER_S`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Generic

from api import durations, meta
from kube import errors
from kube.objects import GVK
from reconcilers import steps
from reconcilers.source import artifacts
from reconcilers.source.attempt import Attempt
from reconcilers.source.objects import S
from runtime.controller import Result
from runtime.errors import GitOpsError, TransientError, WaitingError

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from reconcilers.context import ClusterContext
    from reconcilers.source.objects import Source, Status
    from runtime.controller import Run

VISIBLE_AFTER_S: Final = 0.5
"""Seconds after which a run shows in the status that it is under way."""
DEFAULT_INTERVAL_S: Final = 60.0
"""Seconds between polls where the interval does not parse; the CRD lets no such interval in."""
COLLECTION_SUCCEEDED: Final = "GarbageCollectionSucceeded"
COLLECTION_FAILED: Final = "GarbageCollectionFailed"

logger = logging.getLogger(__name__)


class SourceReconciler(Generic[S]):
    """Keeps the artifacts of one kind of source current.

    Args:
        context: the cluster.
        source: the kind.
    """

    def __init__(self, context: ClusterContext, source: Source[S]) -> None:
        self.kind = source.type.KIND
        self._context, self._source = context, source
        self._informer = context.informer(source.type)
        self._kind = steps.Kind(
            GVK(source.type.GROUP, source.type.VERSION, source.type.KIND),
            self._informer,
            meta.SOURCE_MANAGER,
            "source-controller",
        )

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Make the artifact of one object what its spec means now.

        Raises:
            TransientError: the remote, the store or the API server failed.
            TerminalError: the spec cannot be served as it is.
        """
        del run  # nothing here waits long enough to be interrupted
        obj = self._informer.get(ref.namespace, ref.name)
        if obj is None:
            return Result()
        started_s = self._context.clock.monotonic()
        try:
            if obj.metadata.deletion_timestamp:
                return await self._finalise(obj)
            obj = await steps.add_finalizer(self._context, self._kind, obj)
            attempt = Attempt(self._source, obj, self._context.clock.now())
            return await self._run(attempt, started_s)
        except errors.ApiError as err:
            raise errors.to_leaf(err, meta.FAILED) from err

    async def _finalise(self, obj: S) -> Result:
        try:
            await self._context.threads.run(self._context.storage.remove, artifacts.owner(obj))
            if self._source.forget:
                await self._context.threads.run(self._source.forget, self._context, obj)
        except OSError as err:
            text = f"garbage collection for deleted resource failed: {err.strerror}"
            notice = steps.notice(COLLECTION_FAILED, text, severity="error")
            steps.publish(self._context, self._kind, obj, [notice])
            raise TransientError(COLLECTION_FAILED, text) from err
        await steps.remove_finalizer(self._context, self._kind, obj)
        return Result()

    async def _run(self, attempt: Attempt[S], started_s: float) -> Result:
        if getattr(attempt.obj.spec, "suspend", False):
            await self._finish(attempt, attempt.suspended(), started_s)
            return Result()
        failure: GitOpsError | None = None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show_progress(attempt), name="progress")
            try:
                await self._source.produce(self._context, attempt)
            except GitOpsError as err:
                failure = err
            finally:
                attempt.end()
        if failure is not None:
            if attempt.is_news(failure):
                attempt.notices.append(_notice(failure))
            await self._finish(attempt, attempt.failed(failure), started_s)
            raise failure
        await self._finish(attempt, attempt.succeeded(), started_s)
        await self._clean_up(attempt)
        return Result(durations.parse_or(attempt.obj.spec.interval, DEFAULT_INTERVAL_S))

    async def _show_progress(self, attempt: Attempt[S]) -> None:
        """Write once that the run is under way, if it lasts and changes something."""
        try:
            async with asyncio.timeout(VISIBLE_AFTER_S):
                await attempt.ended.wait()
        except TimeoutError:
            await attempt.worth_showing.wait()
        if attempt.ended.is_set():
            return
        try:
            attempt.obj = await steps.patch_status(
                self._context, self._kind, attempt.obj, attempt.under_way()
            )
        except errors.ApiError as err:
            logger.debug("cannot show progress", extra={"error": err.message})

    async def _finish(self, attempt: Attempt[S], status: Status, started_s: float) -> None:
        attempt.obj = await steps.finish(
            self._context,
            self._kind,
            attempt.obj,
            status,
            started_s=started_s,
            notices=attempt.notices,
        )

    async def _clean_up(self, attempt: Attempt[S]) -> None:
        """Remove old artifacts and give memory back, after the result is out."""
        obj, artifact = attempt.obj, attempt.artifact
        if artifact is None:
            return
        try:
            removed = await self._context.threads.run(
                self._context.storage.collect, artifacts.owner(obj), artifact
            )
        except OSError as err:
            logger.warning("cannot remove old artifacts", extra={"error": str(err)})
            removed = 0
        if removed:
            text = f"garbage collected {removed} artifacts"
            notice = steps.Notice(text, COLLECTION_SUCCEEDED, is_trace=True)
            steps.publish(self._context, self._kind, obj, [notice])
        for each in attempt.afterwards:
            await each()


def _notice(failure: GitOpsError) -> steps.Notice:
    """Return the event of a run that ended early: to wait for somebody is no failure to tell."""
    if isinstance(failure, WaitingError):
        return steps.Notice(failure.message, failure.reason, is_trace=True)
    return steps.notice(failure.reason, failure.message, severity="error")
