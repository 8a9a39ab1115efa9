"""OCIRepository: an artifact in a registry becomes one that Kustomizations and charts come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.oci import OCIRepository
from reconcilers.ocirepository import content
from reconcilers.source.objects import Source
from reconcilers.source.reconciler import SourceReconciler

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext


def reconciler(context: ClusterContext) -> SourceReconciler[OCIRepository]:
    """Return what keeps the artifacts of OCIRepositories current."""
    return SourceReconciler(context, Source(OCIRepository, content.produce))
