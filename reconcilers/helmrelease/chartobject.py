"""The HelmChart that is made out of ``spec.chart``: written, moved and deleted with its maker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from api import durations, meta
from api import source as source_api
from kube import errors
from kube.objects import GVK
from reconcilers import steps
from reconcilers.dependencies import SourceKey
from reconcilers.helmrelease import names, words

if TYPE_CHECKING:
    from api.helm import ChartTemplate, HelmRelease
    from kube.objects import JsonObject, Resource
    from reconcilers.context import ClusterContext
    from reconcilers.helmrelease.attempt import Attempt

KIND: Final = "HelmChart"
_GVK: Final = GVK(source_api.GROUP, source_api.VERSION, KIND)


def source_of(item: HelmRelease) -> SourceKey:
    """Return the object whose artifact is the chart."""
    reference = item.spec.chart_ref
    if reference is None:
        return SourceKey(KIND, names.chart_namespace(item), names.chart_name(item))
    return SourceKey(reference.kind, reference.namespace or item.metadata.namespace, reference.name)


def manifest(item: HelmRelease, template: ChartTemplate) -> JsonObject:
    """Return the HelmChart of a HelmRelease."""
    chart, extra = template.spec, template.metadata
    labels = {
        meta.HELM_OWNER_NAME: item.metadata.name,
        meta.HELM_OWNER_NAMESPACE: item.metadata.namespace,
    }
    spec: JsonObject = {
        "chart": chart.chart,
        "version": chart.version,
        "sourceRef": {"kind": chart.source_ref.kind, "name": chart.source_ref.name},
        # As a Go client writes it, so that a move from Flux or back finds what it left.
        "interval": durations.format_go(durations.parse(chart.interval or item.spec.interval)),
        "reconcileStrategy": chart.reconcile_strategy,
    }
    if chart.values_files:
        spec["valuesFiles"] = list(chart.values_files)
    if chart.ignore_missing_values_files:
        spec["ignoreMissingValuesFiles"] = True
    if chart.verify:
        verify = msgspec.to_builtins(chart.verify)
        spec["verify"] = {"provider": chart.verify.provider, **verify}
    metadata: JsonObject = {
        "name": names.chart_name(item),
        "namespace": names.chart_namespace(item),
        "labels": {**(extra.labels if extra else {}), **labels},
    }
    if extra and extra.annotations:
        metadata["annotations"] = extra.annotations
    return {"apiVersion": _GVK.api_version, "kind": KIND, "metadata": metadata, "spec": spec}


async def sync(attempt: Attempt) -> None:
    """Let the HelmChart be what the spec says, and delete one that it says no more.

    Raises:
        TransientError: the API server refused, or did not answer.
        TerminalError: it can never take this HelmChart, for example for its name's length.
    """
    item = attempt.item
    wanted = item.spec.chart
    at = f"{names.chart_namespace(item)}/{names.chart_name(item)}" if wanted else ""
    try:
        if attempt.status.helm_chart and attempt.status.helm_chart != at:
            await delete(attempt)
        if wanted is not None:
            await _apply(attempt, wanted)
            attempt.change(helm_chart=at)
    except errors.ApiError as err:
        text = f"failed to run server-side apply: HelmChart/{at} "
        failure = errors.to_leaf(err, words.HELM_CHART_SYNC_ERROR, text)
        notice = steps.notice(failure.reason, failure.message, severity="error")
        attempt.notices.append(notice)
        raise failure from err


async def _apply(attempt: Attempt, template: ChartTemplate) -> None:
    context, obj = attempt.context, manifest(attempt.item, template)
    namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
    resource = await context.discovery.resource(_GVK)
    before = _generation(context, namespace, name)
    answer = await context.client.apply(
        resource, orjson.dumps(obj), namespace, name, manager=meta.HELM_MANAGER
    )
    found = orjson.loads(answer.raw)["metadata"]
    _observe(context, answer.raw)
    place = f"with SourceRef '{KIND}/{namespace}/{name}'"
    if answer.created:
        attempt.notice(words.HELM_CHART_CREATED, f"Created HelmChart/{namespace}/{name} {place}")
    elif before is not None and before != found.get("generation"):
        text = f"Configured HelmChart/{namespace}/{name} {place}"
        attempt.notice(words.HELM_CHART_CONFIGURED, text)


async def delete(attempt: Attempt) -> None:
    """Delete the HelmChart that the status names, if it is there.

    Raises:
        errors.ApiError: the API server refused, or did not answer.
    """
    namespace, _, name = attempt.status.helm_chart.partition("/")
    if not name:
        return
    try:
        resource = await _resource(attempt.context)
        await attempt.context.client.delete(resource, namespace, name)
    except errors.NotFound:
        pass
    else:
        attempt.notice(words.HELM_CHART_DELETED, f"deleted HelmChart '{namespace}/{name}'")
    attempt.change(helm_chart="")


async def _resource(context: ClusterContext) -> Resource:
    return await context.discovery.resource(_GVK)


def _generation(context: ClusterContext, namespace: str, name: str) -> int | None:
    """Return the generation of a HelmChart as far as it is known."""
    informer = context.informers.named(KIND)
    found = informer.get(namespace, name) if informer else None
    return found.metadata.generation if found else None


def _observe(context: ClusterContext, raw: bytes) -> None:
    informer = context.informers.named(KIND)
    if informer is not None:
        informer.observe(raw)
