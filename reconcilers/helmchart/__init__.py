"""HelmChart: one chart out of a source becomes an artifact that HelmReleases install."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from api.charts import HelmChart
from reconcilers.helmchart import content
from reconcilers.source.objects import ORDER, Source
from reconcilers.source.reconciler import SourceReconciler

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext

_FAILURES: Final = (meta.BUILD_FAILED, meta.FETCH_FAILED, meta.STORAGE_OPERATION_FAILED)
_ORDER: Final = tuple(
    meta.BUILD_FAILED if each == meta.INCLUDE_UNAVAILABLE else each for each in ORDER
)


def reconciler(context: ClusterContext) -> SourceReconciler[HelmChart]:
    """Return what keeps the artifacts of HelmCharts current."""
    return SourceReconciler(context, Source(HelmChart, content.produce, _ORDER, _FAILURES))
