"""HelmRepository: a repository's index becomes an artifact in which HelmCharts look."""

from __future__ import annotations

from reconcilers.helmrepository.reconciler import HelmRepositoryReconciler

__all__ = ["HelmRepositoryReconciler"]
