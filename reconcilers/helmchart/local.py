"""Charts out of the artifacts of other sources: a directory, or a packed chart among the files.

Only ``Chart.yaml`` is read to see that nothing changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.charts import REVISION
from reconcilers.helmchart import builds, chart, dependencies, failures, metadata, values
from reconcilers.helmchart.builds import Build, Plan
from reconcilers.helmchart.failures import BuildError
from runtime.errors import TransientError
from sources.helm import archive, package
from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.charts import HelmChart
    from reconcilers.context import ClusterContext
    from reconcilers.helmchart.chart import Chart
    from reconcilers.helmchart.metadata import Metadata
    from reconcilers.source.attempt import Attempt
    from sources.tree import Tree

READ_FAILED: Final = "ReadOperationFailed"
_SHORT: Final = 12
"""Hex digits of a revision that become part of a version, as in Flux."""
_PARTS: Final = (metadata.FILE, metadata.REQUIREMENTS)


async def build(context: ClusterContext, attempt: Attempt[HelmChart], source: Artifact) -> Build:
    """Return the chart that the object means, packed unless its artifact is it.

    Args:
        context: the cluster.
        attempt: the run.
        source: the artifact that the chart is in.

    Raises:
        BuildError: there is none, or it cannot be packed.
        GitOpsError: the artifact cannot be read, or a dependency cannot be fetched.
    """
    obj = attempt.obj
    tree, path = context.storage.open(source), values.normalise(obj.spec.chart)
    try:
        found, is_directory = await context.threads.run(_look, tree, path)
        plan = _plan(obj, found, source.revision, is_directory=is_directory)
        if plan.is_kept(attempt):
            return builds.kept(plan, obj)
        plan.announce(attempt)
        if not plan.is_packaged:
            return Build(plan, content=await context.threads.run(tree.read, path))
        loaded, files = await context.threads.run(_load, obj, tree, path, is_directory)
        loaded.metadata.version = plan.version
        resolved = 0
        if is_directory:
            resolved = await dependencies.complete(context, obj, loaded, tree, path)
        content = await context.threads.run(_pack, loaded)
    except OSError as err:
        raise TransientError(READ_FAILED, f"failed to open source artifact: {err}") from err
    return Build(plan, files, content, resolved)


def _look(tree: Tree, path: str) -> tuple[Metadata, bool]:
    """Return what a chart says of itself, and whether it is a directory. Blocks.

    Raises:
        BuildError: there is no chart at that path.
        OSError: the source cannot be read.
    """
    files = {
        name: content
        for name in _PARTS
        if (content := read_file(tree, f"{path}/{name}".lstrip("/"))) is not None
    }
    packed = None if metadata.FILE in files else read_file(tree, path)
    if metadata.FILE not in files and packed is None:
        raise BuildError(failures.REFERENCE, _missing(tree, path))
    try:
        if packed is None:
            return metadata.read(files), True
        return metadata.read(archive.read(packed, _PARTS.__contains__)), False
    except ChartError as err:
        raise BuildError(failures.REFERENCE, err) from err


def read_file(tree: Tree, path: str) -> bytes | None:
    """Return a file of a source, None where there is none."""
    try:
        return tree.read(path)
    except FileNotFoundError:
        return None


def _missing(tree: Tree, path: str) -> str:
    prefix = f"{path}/" if path else ""
    is_directory = any(entry.path.startswith(prefix) for entry in tree.entries())
    if is_directory:
        return f"open {prefix}{metadata.FILE}: no such file or directory"
    return f"stat {path}: no such file or directory"


def _plan(obj: HelmChart, found: Metadata, revision: str, *, is_directory: bool) -> Plan:
    files = obj.merged_values_files
    of_revision = _short(revision) if obj.spec.reconcile_strategy == REVISION else ""
    of_values = str(obj.metadata.generation) if files else ""
    version = builds.version_with(found.version, of_revision, of_values)
    return Plan(found.name, version, is_directory or bool(files) or bool(of_revision))


def _short(revision: str) -> str:
    """Return what distinguishes a revision: of ``main@sha1:<hex>`` the first digits."""
    return revision.rpartition(":")[2][:_SHORT]


def _load(
    obj: HelmChart, tree: Tree, path: str, is_directory: bool
) -> tuple[Chart, tuple[str, ...]]:
    """Return a chart with the values that it is to have, and the files these are of. Blocks.

    Raises:
        BuildError: it is none, or its values cannot be merged.
        OSError: the source cannot be read.
    """
    merged, files = b"", tuple[str, ...]()
    wanted = obj.merged_values_files
    if wanted:
        try:
            merged, files = values.merge_files(
                wanted,
                lambda name: read_file(tree, name),
                ignores_missing=obj.spec.ignore_missing_values_files,
            )
        except ChartError as err:
            raise BuildError(failures.VALUES, err) from err
    try:
        loaded = (
            chart.load_directory(tree, path)
            if is_directory
            else chart.load_archive(tree.read(path))
        )
    except ChartError as err:
        raise BuildError(failures.PACKAGE, err) from err
    if wanted:
        try:
            loaded.replace_values(merged)
        except ChartError as err:
            raise BuildError(failures.VALUES, err) from err
    return loaded, files


def _pack(loaded: Chart) -> bytes:
    try:
        return package.pack(loaded.entries())
    except ChartError as err:
        raise BuildError(failures.PACKAGE, err) from err
