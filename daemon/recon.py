"""Which reconciler serves which kind, and how many objects of it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import kinds
from reconcilers import (
    bucket,
    gitrepository,
    helmchart,
    helmrepository,
    instance,
    ocirepository,
    receiver,
)
from reconcilers.helmrelease import reconciler as helmrelease
from reconcilers.helmrelease import render
from reconcilers.kustomization import reconciler as kustomization

if TYPE_CHECKING:
    from api.instance import FluxInstance
    from daemon.kinds import Kind
    from daemon.settings import Limits
    from reconcilers.context import ClusterContext
    from runtime.controller import Reconciler

_SIZES = {"small": 5, "medium": 10, "large": 20}
"""Kustomizations or HelmReleases at once by ``spec.cluster.size``, as the Flux Operator has it."""


def build(kind: Kind, context: ClusterContext) -> Reconciler:
    """Return the reconciler of a kind for one cluster."""
    match kind:
        case kinds.GIT_REPOSITORY:
            return gitrepository.reconciler(context)
        case kinds.OCI_REPOSITORY:
            return ocirepository.reconciler(context)
        case kinds.BUCKET:
            return bucket.reconciler(context)
        case kinds.HELM_REPOSITORY:
            return helmrepository.HelmRepositoryReconciler(context)
        case kinds.HELM_CHART:
            return helmchart.reconciler(context)
        case kinds.KUSTOMIZATION:
            return kustomization.KustomizationReconciler(context)
        case kinds.HELM_RELEASE:
            return helmrelease.HelmReleaseReconciler(context, render.renderer(context))
        case kinds.RECEIVER:
            return receiver.ReceiverReconciler(context)
        case _:
            return instance.InstanceReconciler(context)


def concurrency(kind: Kind, flux: FluxInstance | None, limits: Limits) -> int:
    """Return how many objects of a kind are reconciled at once.

    Args:
        kind: which kind.
        flux: the cluster's FluxInstance, whose size counts for Kustomizations and HelmReleases.
        limits: what the settings say; the size may raise it, never lower it.
    """
    if kind.controller is kinds.SOURCES:
        return limits.sources
    size = flux.spec.cluster.size if flux and flux.spec.cluster else ""
    if kind is kinds.KUSTOMIZATION:
        return max(limits.kustomizations, _SIZES.get(size, 0))
    if kind is kinds.HELM_RELEASE:
        return max(limits.helmreleases, _SIZES.get(size, 0))
    return 2
