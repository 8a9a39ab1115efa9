"""What has to be true before a release is touched: spec, dependencies, chart, values.

Each check raises the leaf, the reason and the words that Flux has for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta, served
from api.external import ExternalArtifact
from kube.health_rules import HealthRules
from reconcilers import artifacts, dependencies, readiness
from reconcilers.helmrelease import chart as charts
from reconcilers.helmrelease import chartobject, waiting, words
from reconcilers.helmrelease.chart import ChartError
from runtime import cel, conditions
from runtime.errors import TerminalError, TransientError, WaitingError

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.helm import HelmRelease
    from reconcilers.context import ArtifactSource, ClusterContext
    from reconcilers.dependencies import SourceKey
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.chart import Chart

NOT_READY_S: Final = 30.0
"""Seconds until a chart that is missing is looked for again, should nothing wake us before."""
_TAGGED: Final = frozenset({"OCIRepository", "ExternalArtifact"})
"""Kinds whose revision may name a digest that becomes part of the chart's version."""


def check_spec(item: HelmRelease) -> None:
    """Refuse what the CRD lets nobody write, and what this version does not serve.

    Raises:
        TerminalError: the message says what.
    """
    spec = item.spec
    if (spec.chart is None) == (spec.chart_ref is None):
        text = "either chart or chartRef must be set"
        if spec.chart is not None:
            text = "invalid HelmRelease configuration: only one of chart or chartRef must be set"
        raise TerminalError(meta.RECONCILIATION_FAILED, text)
    fields = served.unserved(item)
    if fields:
        raise TerminalError(meta.NOT_SERVED, served.message(fields))


def find_health_rules(item: HelmRelease) -> HealthRules:
    """Return by what the health of the objects is judged.

    Raises:
        TerminalError: a rule can never work.
    """
    strategy = item.spec.wait_strategy
    try:
        if strategy is not None and strategy.name == "legacy":
            return waiting.LegacyRules()
        return HealthRules(item.spec.health_check_exprs, is_impersonating=True)
    except cel.CompileError as err:
        text = f"{meta.FAILED_TERMINALLY}: {err}"
        raise TerminalError(meta.INVALID_CEL_EXPRESSION, text) from err


async def check_dependencies(context: ClusterContext, item: HelmRelease) -> None:
    """Wait for what the HelmRelease depends on.

    Raises:
        TerminalError: a ``readyExpr`` can never work.
        WaitingError: one of them is not ready; its progress wakes this one.
        TransientError: it depends on itself through others; no waiting ends that, somebody must.
    """
    if not item.spec.depends_on:
        return
    find = context.informer(type(item)).get
    unmet = dependencies.waits_for(item, find, await readiness.judge_of(context, item))
    if not unmet:
        return
    delay_s = context.settings.requeue_dependency_s
    if dependencies.cycle(item, find):
        raise TransientError(meta.DEPENDENCY_NOT_READY, unmet, retry_after_s=delay_s)
    raise WaitingError(meta.DEPENDENCY_NOT_READY, unmet, requeue_after_s=delay_s)


def check_access(context: ClusterContext, item: HelmRelease) -> None:
    """Refuse a chart that the settings put out of reach.

    Raises:
        TerminalError: it is in another namespace, or somebody else's artifact.
    """
    key = chartobject.source_of(item)
    if key.kind == ExternalArtifact.KIND and not context.settings.allow_external_artifacts:
        text = f"can't access '{key}', ExternalArtifact feature gate is disabled"
        raise TerminalError(meta.ACCESS_DENIED, text)
    is_foreign = key.namespace != item.metadata.namespace
    if is_foreign and context.settings.no_cross_namespace_refs:
        text = f"can't access '{key}', cross-namespace references have been blocked"
        raise TerminalError(meta.ACCESS_DENIED, text)


def find_artifact(context: ClusterContext, item: HelmRelease) -> Artifact:
    """Return the chart's artifact. One of a source that fails now is still used.

    Raises:
        WaitingError: there is no such source, or it is not ready.
    """
    key = chartobject.source_of(item)
    source = context.source(key)
    if source is None:
        text = f'could not get Source object: {_plural(key)} "{key.name}" not found'
        raise WaitingError(meta.ARTIFACT_FAILED, text, requeue_after_s=NOT_READY_S)
    artifact, why = source.status.artifact, _why_not(source)
    if artifact is None or why:
        text = f"{key.kind} '{key.namespace}/{key.name}' is not ready: {why}"
        raise WaitingError(words.SOURCE_NOT_READY, text, requeue_after_s=NOT_READY_S)
    return artifact


def _plural(key: SourceKey) -> str:
    kind = key.kind.lower()
    return (
        f"{kind.removesuffix('y')}{'ies' if kind.endswith('y') else 's'}.source.toolkit.fluxcd.io"
    )


def _why_not(source: ArtifactSource) -> str:
    """Return why a source cannot be used; empty where it can."""
    said = source.status.conditions
    observed = getattr(source.status, "observed_generation", source.metadata.generation)
    if source.metadata.generation != observed:
        ready = conditions.get(said, meta.READY)
        is_false = ready is not None and ready.status == "False"
        unseen = "latest generation of object has not been reconciled"
        return ready.message if ready and is_false else unseen
    stalled = conditions.get(said, meta.STALLED)
    if stalled is not None and stalled.status == "True":
        return stalled.message
    return "" if source.status.artifact else "does not have an artifact"


async def load_chart(attempt: Attempt, artifact: Artifact) -> Chart:
    """Read the chart out of the artifact store.

    Raises:
        WaitingError: the file is gone; its source makes another.
        TransientError: the file is damaged, or no chart.
    """
    context, kind = attempt.context, chartobject.source_of(attempt.item).kind
    is_tagged = kind in _TAGGED and ":" in artifact.revision
    try:
        file = await artifacts.open_file(context, artifact)
        return await context.threads.run(
            charts.load, file, artifact.digest, artifact.revision if is_tagged else ""
        )
    except WaitingError as err:
        raise WaitingError(
            meta.ARTIFACT_FAILED,
            "Source not ready: artifact not found. Retrying in 30s",
            requeue_after_s=NOT_READY_S,
        ) from err
    except ChartError as err:
        reason = words.CHART_MUTATE_ERROR if "does not match" in str(err) else meta.ARTIFACT_FAILED
        raise TransientError(reason, f"Could not load chart: {err}") from err
    except OSError as err:
        text = f"Could not load chart: {err.strerror or err}"
        raise TransientError(meta.ARTIFACT_FAILED, text) from err
