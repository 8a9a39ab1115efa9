"""The reconcile of a HelmRepository: that of any source, but for registries.

A registry has no index, so nothing is done with an object of type ``oci`` but to take away what an
earlier type has left: artifacts, status and finalizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from api.charts import HelmRepository, HelmRepositoryStatus
from kube import errors
from reconcilers import steps
from reconcilers.helmrepository import content
from reconcilers.source import artifacts
from reconcilers.source.objects import Source
from reconcilers.source.reconciler import SourceReconciler
from runtime.controller import Result
from runtime.errors import TransientError

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from reconcilers.context import ClusterContext
    from runtime.controller import Run


class HelmRepositoryReconciler(SourceReconciler[HelmRepository]):
    """Keeps the artifacts of HelmRepositories current.

    Args:
        context: the cluster.
    """

    def __init__(self, context: ClusterContext) -> None:
        super().__init__(context, Source(HelmRepository, content.produce))

    async def reconcile(self, ref: ObjectRef, run: Run) -> Result:
        """Make the artifact of one HelmRepository what its server's index is now.

        Raises:
            TransientError: the server, the store or the API server failed.
            TerminalError: the spec cannot be served as it is.
        """
        obj = self._informer.get(ref.namespace, ref.name)
        if obj is None or not obj.is_static:
            return await super().reconcile(ref, run)
        is_deleted = obj.metadata.deletion_timestamp is not None
        if _is_bare(obj) or (obj.spec.suspend and not is_deleted):
            return Result()
        try:
            await self._context.threads.run(self._context.storage.remove, artifacts.owner(obj))
            obj = await steps.patch_status(self._context, self._kind, obj, {})
            await steps.remove_finalizer(self._context, self._kind, obj)
        except OSError as err:
            raise TransientError(meta.FAILED, f"cannot remove artifacts: {err}") from err
        except errors.ApiError as err:
            raise errors.to_leaf(err, meta.FAILED) from err
        return Result()


def _is_bare(obj: HelmRepository) -> bool:
    return meta.FINALIZER not in obj.metadata.finalizers and obj.status == HelmRepositoryStatus()
