"""The reconcile of a GitRepository: storage, source, artifact, as in Flux's source-controller.

A poll of an unchanged repository is one request to its server and none to the API server. A push is
one more to the Git server and one status patch; the conditions that show progress are written only
where a run lasts longer than `VISIBLE_AFTER_S`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from api import durations, meta
from api.source import GitRepository
from kube import errors
from kube.objects import GVK
from reconcilers import steps
from reconcilers.gitrepository import content
from reconcilers.gitrepository.attempt import Attempt
from runtime.controller import Result
from runtime.errors import GitOpsError, TransientError

if TYPE_CHECKING:
    import msgspec

    from api.meta import ObjectRef
    from reconcilers.context import ClusterContext
    from runtime.controller import Run

VISIBLE_AFTER_S: Final = 0.5
"""Seconds after which a run shows in the status that it is under way."""
DEFAULT_INTERVAL_S: Final = 60.0
"""Seconds between polls where the interval does not parse; the CRD lets no such interval in."""
COLLECTION_SUCCEEDED: Final = "GarbageCollectionSucceeded"
COLLECTION_FAILED: Final = "GarbageCollectionFailed"

logger = logging.getLogger(__name__)


class GitRepositoryReconciler:
    """Keeps the artifacts of GitRepositories current.

    Args:
        context: the cluster.
    """

    kind = GitRepository.KIND

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._kind = steps.Kind(
            GVK(GitRepository.GROUP, GitRepository.VERSION, GitRepository.KIND),
            context.gitrepositories,
            meta.SOURCE_MANAGER,
            "source-controller",
        )

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Make the artifact of one GitRepository what its reference means now.

        Raises:
            TransientError: the remote, the store or the API server failed.
            TerminalError: the spec cannot be served as it is.
        """
        del run  # nothing here waits long enough to be interrupted
        obj = self._context.gitrepositories.get(ref.namespace, ref.name)
        if obj is None:
            return Result()
        started_s = self._context.clock.monotonic()
        try:
            if obj.metadata.deletion_timestamp:
                return await self._finalise(obj)
            obj = await steps.add_finalizer(self._context, self._kind, obj)
            return await self._run(Attempt(obj, self._context.clock.now()), started_s)
        except errors.ApiError as err:
            raise errors.to_leaf(err, meta.FAILED) from err

    async def _finalise(self, obj: GitRepository) -> Result:
        try:
            await self._context.threads.run(self._context.storage.remove, content.owner(obj))
        except OSError as err:
            text = f"garbage collection for deleted resource failed: {err.strerror}"
            notice = steps.notice(COLLECTION_FAILED, text, severity="error")
            steps.publish(self._context, self._kind, obj, [notice])
            raise TransientError(COLLECTION_FAILED, text) from err
        await steps.remove_finalizer(self._context, self._kind, obj)
        return Result()

    async def _run(self, attempt: Attempt, started_s: float) -> Result:
        if attempt.obj.spec.suspend:
            await self._finish(attempt, attempt.suspended(), started_s)
            return Result()
        failure: GitOpsError | None = None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show_progress(attempt), name="progress")
            try:
                await content.produce(self._context, attempt)
            except GitOpsError as err:
                failure = err
            finally:
                attempt.end()
        if failure is not None:
            if attempt.is_news(failure):
                notice = steps.notice(failure.reason, failure.message, severity="error")
                attempt.notices.append(notice)
            await self._finish(attempt, attempt.failed(failure), started_s)
            raise failure
        await self._finish(attempt, attempt.succeeded(), started_s)
        await self._clean_up(attempt)
        return Result(durations.parse_or(attempt.obj.spec.interval, DEFAULT_INTERVAL_S))

    async def _show_progress(self, attempt: Attempt) -> None:
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

    async def _finish(self, attempt: Attempt, status: msgspec.Struct, started_s: float) -> None:
        attempt.obj = await steps.finish(
            self._context,
            self._kind,
            attempt.obj,
            status,
            started_s=started_s,
            notices=attempt.notices,
        )

    async def _clean_up(self, attempt: Attempt) -> None:
        """Remove old artifacts and give memory back, after the result is out."""
        obj, artifact = attempt.obj, attempt.artifact
        if artifact is None:
            return
        try:
            removed = await self._context.threads.run(
                self._context.storage.collect, content.owner(obj), artifact
            )
        except OSError as err:
            logger.warning("cannot remove old artifacts", extra={"error": str(err)})
            removed = 0
        if removed:
            text = f"garbage collected {removed} artifacts"
            notice = steps.Notice(text, COLLECTION_SUCCEEDED, is_trace=True)
            steps.publish(self._context, self._kind, obj, [notice])
        if attempt.repository is not None and attempt.has_new_content:
            await self._context.git.tidy(attempt.repository)
