"""Charts from HelmRepositories: found, verified, pulled, and packed anew with other values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from api import meta
from reconcilers.helmchart import builds, chart, failures, metadata, origins, values
from reconcilers.helmchart.builds import Build, Plan
from reconcilers.helmchart.failures import BuildError
from reconcilers.source import signatures
from runtime.errors import TransientError
from sources.auth.errors import AUTHENTICATION_FAILED
from sources.helm import archive, index, package
from sources.helm.errors import ChartError
from sources.oci.errors import DeniedError, RegistryError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from api.charts import HelmChart, HelmRepository
    from api.oci import OCIVerification
    from reconcilers.context import ClusterContext
    from reconcilers.helmchart.origins import Found, Tagged
    from reconcilers.source.attempt import Attempt
    from reconcilers.source.signatures import Judge

T = TypeVar("T")

_NAME: Final = re.compile(r"[-a-z0-9]+(?:(?:/\.?|\.)[-a-z0-9]+)*(?:/\.?|\.)?")
_PARTS: Final = frozenset({metadata.FILE, metadata.REQUIREMENTS})
_FINDING: Final = "failed to get chart version for remote reference"
_PULLING: Final = "failed to download chart for remote reference"


async def build(
    context: ClusterContext, attempt: Attempt[HelmChart], source: HelmRepository
) -> Build:
    """Return the chart that the object means, pulled unless its artifact is it.

    Raises:
        BuildError: it cannot be had.
        GitOpsError: the repository's spec or its Secrets cannot be used.
        CredentialsError: its certificates cannot be used.
    """
    obj = attempt.obj
    if not _NAME.fullmatch(obj.spec.chart):
        text = (
            f"invalid chart name '{obj.spec.chart}': a valid name must be lower case letters and "
            "numbers and MAY be separated with dashes (-), slashes (/) or periods (.)"
        )
        raise BuildError(failures.REFERENCE, text)
    found = await _find(context, attempt, source)
    files = obj.merged_values_files
    generation = str(obj.metadata.generation) if files else ""
    plan = Plan(found.name, builds.version_with(found.version, generation), bool(files))
    if plan.is_kept(attempt):
        return builds.kept(plan, obj)
    plan.announce(attempt)
    content = await _asking(found.pull(), _PULLING)
    return await context.threads.run(_make, obj, plan, content)


async def _find(
    context: ClusterContext, attempt: Attempt[HelmChart], source: HelmRepository
) -> Found:
    spec = attempt.obj.spec
    if spec.verify is None:
        attempt.clear(meta.SOURCE_VERIFIED)
        return await _asking(origins.find(context, source, spec.chart, spec.version), _FINDING)
    if not source.is_static:
        raise BuildError(
            failures.VERIFICATION,
            "not implemented: charts are signed in registries, in a HelmRepository of type 'oci'",
        )
    judge = await _prepare(context, attempt, spec.verify)
    finding = origins.find_tag(context, source, spec.chart, spec.version)
    tagged = await _asking(finding, _FINDING)
    digest = await _verify(context, attempt, tagged, judge)
    return origins.Found(spec.chart, tagged.version, lambda: origins.pull(context, tagged, digest))


async def _prepare(
    context: ClusterContext, attempt: Attempt[HelmChart], wanted: OCIVerification
) -> Judge:
    """Return what judges the chart's signature.

    Raises:
        TransientError: what ``spec.verify`` names cannot be used.
    """
    metadata = attempt.obj.metadata
    try:
        return await signatures.prepare(context, metadata.namespace, wanted, metadata.name)
    except signatures.FAILURES as err:
        attempt.clear(meta.FETCH_FAILED, meta.BUILD_FAILED)
        attempt.condition = meta.SOURCE_VERIFIED
        text = signatures.explain(wanted, err)
        raise TransientError(signatures.VERIFICATION_ERROR, text) from err


async def _verify(
    context: ClusterContext, attempt: Attempt[HelmChart], tagged: Tagged, judge: Judge
) -> str:
    """Return the digest of a chart whose signature was judged.

    Raises:
        BuildError: it has none that counts.
    """
    try:
        digest = (await context.oci.resolve(tagged.registry, tagged.tag)).digest
        is_known = await judge(tagged.registry, digest)
    except signatures.FAILURES as err:
        text = f"failed to verify oci://{tagged.registry.name}:{tagged.tag}: {err}"
        error = BuildError(failures.VERIFICATION, text)
        attempt.set(meta.SOURCE_VERIFIED, "False", signatures.VERIFICATION_ERROR, str(error))
        raise error from err
    attempt.clear(meta.SOURCE_VERIFIED)
    if is_known:
        text = f"verified signature of version {tagged.version}"
        attempt.set(meta.SOURCE_VERIFIED, "True", meta.SUCCEEDED, text)
    return digest


async def _asking(answer: Awaitable[T], doing: str) -> T:
    """Await a repository's answer, and say what it means if there is none.

    Raises:
        BuildError: see `build`.
        TransientError: the repository refuses us.
    """
    try:
        return await answer
    except index.NoSuchChartError as err:
        raise BuildError(failures.REFERENCE, f"{doing}: {err}") from err
    except RegistryError as err:
        wait_s = err.retry_after_s if isinstance(err, ThrottledError) else None
        error = BuildError(failures.PULL, f"{doing}: {err}", retry_after_s=wait_s)
        if isinstance(err, DeniedError) or "TLS" in str(err):
            text = f"failed to authenticate with the Helm repository: {error}"
            raise TransientError(AUTHENTICATION_FAILED, text) from err
        raise error from err
    except OSError as err:
        raise BuildError(failures.PULL, f"{doing}: {err}") from err


def _make(obj: HelmChart, plan: Plan, content: bytes) -> Build:
    """Return a pulled chart: as it is, or packed with other values. Blocks.

    Raises:
        BuildError: it is no chart, or the values cannot be merged.
    """
    if not plan.is_packaged:
        try:
            metadata.read(archive.read(content, _PARTS.__contains__))
        except ChartError as err:
            raise BuildError(failures.PULL, err) from err
        return Build(plan, content=content)
    try:
        loaded = chart.load_archive(content)
    except ChartError as err:
        text = f"failed to load downloaded chart: {err}"
        raise BuildError(failures.PACKAGE, text) from err
    loaded.metadata.version = plan.version
    try:
        merged, files = values.merge_files(
            obj.merged_values_files,
            loaded.read_file,
            ignores_missing=obj.spec.ignore_missing_values_files,
        )
        loaded.replace_values(merged)
    except ChartError as err:
        text = f"failed to merge chart values: {err}"
        raise BuildError(failures.VALUES, text) from err
    try:
        return Build(plan, files, package.pack(loaded.entries()))
    except ChartError as err:
        raise BuildError(failures.PACKAGE, err) from err
