"""Bucket: the objects of a store become an artifact that Kustomizations apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.bucket import Bucket
from reconcilers.bucket import content
from reconcilers.source.objects import Source
from reconcilers.source.reconciler import SourceReconciler

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext


def reconciler(context: ClusterContext) -> SourceReconciler[Bucket]:
    """Return what keeps the artifacts of Buckets current."""
    return SourceReconciler(context, Source(Bucket, content.produce, forget=content.forget))
