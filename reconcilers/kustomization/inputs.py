"""What has to be true before a Kustomization is built: its spec, a source, its dependencies.

Each check raises the leaf, the reason and the words that Flux has for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta, served
from api.external import ExternalArtifact
from api.source import GROUP
from kube.health_rules import KSTATUS, HealthRules
from reconcilers import artifacts, dependencies, readiness
from runtime import cel
from runtime.errors import TerminalError, TransientError, WaitingError

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.kustomize import Kustomization
    from kube import errors
    from reconcilers.context import ClusterContext


def check_served(item: Kustomization) -> None:
    """Refuse a field that this version does not serve.

    Raises:
        TerminalError: the message names the fields.
    """
    fields = served.unserved(item)
    if fields:
        raise TerminalError(meta.NOT_SERVED, served.message(fields))


def find_health_rules(context: ClusterContext, item: Kustomization) -> HealthRules:
    """Return by what the health of the objects is judged.

    Raises:
        TerminalError: a rule can never work.
    """
    spec = item.spec
    if not spec.health_check_exprs:
        return KSTATUS
    is_impersonating = bool(
        spec.kube_config or spec.service_account_name or context.settings.default_service_account
    )
    try:
        return HealthRules(spec.health_check_exprs, is_impersonating=is_impersonating)
    except cel.CompileError as err:
        text = f"{meta.FAILED_TERMINALLY}: {err}"
        raise TerminalError(meta.INVALID_CEL_EXPRESSION, text) from err


def find_artifact(context: ClusterContext, item: Kustomization, retry_s: float) -> Artifact:
    """Return the artifact to apply. An artifact of a source that fails now is still applied.

    Raises:
        TerminalError: the source is in another namespace, or is made by somebody else, and the
            settings forbid that.
        WaitingError: there is no such source, or it has no artifact yet.
    """
    key = dependencies.source_of(item)
    is_foreign = key.namespace != item.metadata.namespace
    if is_foreign and context.settings.no_cross_namespace_refs:
        raise TerminalError(
            meta.ACCESS_DENIED,
            f"can't access '{key}', cross-namespace references have been blocked",
        )
    is_external = key.kind == ExternalArtifact.KIND
    if is_external and not context.settings.allow_external_artifacts:
        raise TerminalError(
            meta.ACCESS_DENIED,
            f"can't access '{key}', ExternalArtifact feature gate is disabled",
        )
    source = context.source(key)
    if source is None:
        raise WaitingError(
            meta.ARTIFACT_FAILED,
            f'{_plural(context, key.kind)}.{GROUP} "{key.name}" not found',
            requeue_after_s=retry_s,
        )
    if source.status.artifact is None:
        raise WaitingError(
            meta.ARTIFACT_FAILED,
            "Source artifact not found, retrying in 30s",
            requeue_after_s=artifacts.NOT_READY_S,
        )
    return source.status.artifact


def _plural(context: ClusterContext, kind: str) -> str:
    informer = context.informers.named(kind)
    return informer.resource.plural if informer is not None else kind.lower()


async def check_dependencies(context: ClusterContext, item: Kustomization, revision: str) -> None:
    """Wait for what the Kustomization depends on.

    Raises:
        TerminalError: a ``readyExpr`` can never work.
        WaitingError: one of them is not ready; its progress wakes this one.
        TransientError: it depends on itself through others; no waiting ends that, somebody must.
    """
    lookup = context.kustomizations.get
    unmet = dependencies.unmet(item, revision, lookup, await readiness.judge_of(context, item))
    if not unmet:
        return
    delay_s = context.settings.requeue_dependency_s
    if dependencies.cycle(item, lookup):
        raise TransientError(meta.DEPENDENCY_NOT_READY, unmet, retry_after_s=delay_s)
    raise WaitingError(meta.DEPENDENCY_NOT_READY, unmet, requeue_after_s=delay_s)


def api_failure(err: errors.ApiError) -> TransientError:
    """Return the leaf for an API server's refusal where no step words it."""
    return TransientError(meta.RECONCILIATION_FAILED, err.message)
