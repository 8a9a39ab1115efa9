"""GitRepository: a repository's content becomes an artifact that Kustomizations apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.source import GitRepository
from reconcilers.gitrepository import content
from reconcilers.source.objects import Source
from reconcilers.source.reconciler import SourceReconciler

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext


def reconciler(context: ClusterContext) -> SourceReconciler[GitRepository]:
    """Return what keeps the artifacts of GitRepositories current."""
    return SourceReconciler(context, Source(GitRepository, content.produce))
