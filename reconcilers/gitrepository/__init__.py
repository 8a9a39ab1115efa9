"""GitRepository: a repository's content becomes an artifact that Kustomizations apply."""

from __future__ import annotations

from reconcilers.gitrepository.reconciler import GitRepositoryReconciler

__all__ = ["GitRepositoryReconciler"]
