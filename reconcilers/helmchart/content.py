"""The steps that turn a chart of a source into an artifact.

A chart that is unchanged costs a look at its version: into the index that is here already, or into
one file of the source. No helm is started.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from api import meta
from api.charts import CHART_SOURCES, HelmRepository
from api.source import GROUP
from reconcilers import steps
from reconcilers.dependencies import SourceKey
from reconcilers.helmchart import local, remote
from reconcilers.helmchart.failures import BuildError
from reconcilers.source import artifacts, links, secrets
from runtime.errors import TerminalError, TransientError, WaitingError
from sources import storage
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.charts import HelmChart
    from reconcilers.context import ArtifactSource, ClusterContext
    from reconcilers.helmchart.builds import Build
    from reconcilers.source.attempt import Attempt

NO_ARTIFACT: Final = "NoSourceArtifact"
UNAVAILABLE: Final = "SourceUnavailable"
UNSUPPORTED: Final = "UnsupportedSourceKind"
RESOLVED: Final = "ResolvedDependencies"


async def produce(context: ClusterContext, attempt: Attempt[HelmChart]) -> None:
    """Run the steps: storage, source, chart, artifact. The first that fails ends it.

    Raises:
        GitOpsError: what the status is to say.
    """
    await links.check_storage(context, attempt)
    attempt.forget_refusal()
    source = _source(context, attempt.obj)
    artifact = await _artifact(context, attempt.obj, source)
    if artifact is not None:
        attempt.observed["observed_source_artifact_revision"] = artifact.revision
    try:
        build = await _build(context, attempt, source, artifact)
    except BuildError as err:
        attempt.clear(meta.FETCH_FAILED, meta.BUILD_FAILED)
        attempt.condition = err.problem.condition
        raise err.leaf() from err
    except CredentialsError as err:
        raise secrets.unusable(err) from err
    if build.content is None:
        links.tell_unchanged(attempt, build.plan.version)
    else:
        await _store(context, attempt, build, build.content)
    _succeed(attempt, build)


def _source(context: ClusterContext, obj: HelmChart) -> ArtifactSource:
    """Return the source that the chart is in.

    Raises:
        TransientError: there is none of that name, or not yet.
        TerminalError: charts come from no such kind.
    """
    reference = obj.spec.source_ref
    if reference.kind not in CHART_SOURCES:
        raise TerminalError(
            UNSUPPORTED,
            f"failed to get source: unsupported source kind '{reference.kind}', must be one of: "
            f"[{' '.join(CHART_SOURCES)}]",
        )
    key = SourceKey(reference.kind, obj.metadata.namespace, reference.name)
    found = context.source(key)
    if found is None:
        raise TransientError(UNAVAILABLE, f"failed to get source: {key} not found")
    return found


async def _artifact(
    context: ClusterContext, obj: HelmChart, source: ArtifactSource
) -> Artifact | None:
    """Return the artifact of the source; None for a registry, which has none.

    Raises:
        WaitingError: it has none yet.
    """
    if isinstance(source, HelmRepository) and source.is_static:
        return None
    artifact = source.status.artifact
    try:
        if artifact is not None:
            await context.threads.run(context.storage.verify, artifact)
            return artifact
    except storage.ArtifactError:
        pass  # its own reconcile makes it again, and that wakes us
    reference = obj.spec.source_ref
    raise WaitingError(
        NO_ARTIFACT,
        f"no artifact available for {reference.kind} source '{reference.name}'",
        requeue_after_s=context.settings.requeue_dependency_s,
    )


async def _build(
    context: ClusterContext,
    attempt: Attempt[HelmChart],
    source: ArtifactSource,
    artifact: Artifact | None,
) -> Build:
    with context.metrics.fetch(attempt.obj.KIND):
        if isinstance(source, HelmRepository):
            return await remote.build(context, attempt, source)
        if artifact is None:
            raise TransientError(NO_ARTIFACT, "no artifact available")
        return await local.build(context, attempt, artifact)


async def _store(
    context: ClusterContext, attempt: Attempt[HelmChart], build: Build, content: bytes
) -> None:
    obj, plan = attempt.obj, build.plan
    own_name = plan.name.rpartition("/")[2]  # a registry may have it below a path
    name = f"{own_name}-{plan.version}.tgz"

    def put() -> Artifact:
        owner = artifacts.owner(obj)
        return context.storage.put_file(owner, name, plan.version, io.BytesIO(content))

    attempt.artifact = await artifacts.store(context, attempt, put)
    attempt.observed["observed_chart_name"] = plan.name
    is_chosen = obj.spec.ignore_missing_values_files
    attempt.observed["observed_values_files"] = build.values_files if is_chosen else ()
    if build.resolved:
        text = f"resolved {build.resolved} chart dependencies"
        attempt.notices.append(steps.Notice(text, RESOLVED, is_trace=True))
    await links.update(context, attempt)


def _succeed(attempt: Attempt[HelmChart], build: Build) -> None:
    """Note the success, with an event where it is news."""
    attempt.set(meta.ARTIFACT_IN_STORAGE, "True", build.reason, build.summary)
    if attempt.artifact is None or not (attempt.has_new_content or attempt.was_failing):
        return
    metadata = (
        (f"{GROUP}/revision", attempt.artifact.revision),
        (f"{GROUP}/digest", attempt.artifact.digest),
    )
    attempt.notices.append(steps.Notice(build.summary, build.reason, metadata=metadata))
