"""The chart to render a HelmRelease with: its own, a local one, or one of another revision."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from api.charts import HelmRepository
from api.source import GitRepository
from daemon import kinds as served
from inspection import content, failure, objects
from kube import errors
from reconcilers.helmchart import chart as charts
from reconcilers.helmchart import origins
from reconcilers.helmchart import values as chart_values
from reconcilers.helmrelease import chart as release_charts
from reconcilers.helmrelease import chartobject
from sources import localtree
from sources.auth.errors import CredentialsError
from sources.helm import package
from sources.helm.errors import ChartError as UnreadableError
from sources.helm.index import NoSuchChartError
from sources.oci.errors import RegistryError

if TYPE_CHECKING:
    from pathlib import Path

    from api.helm import ChartSpec, ChartTemplate, HelmRelease
    from api.served import AnyKind
    from daemon.settings import Settings
    from reconcilers.context import ClusterContext
    from reconcilers.helmrelease.chart import Chart
    from sources.tree import Tree


class Wanted(NamedTuple):
    """Which chart, where it is not the HelmRelease's own."""

    path: Path | None = None
    """A local chart, packed or as a directory."""
    revision: str | None = None
    """A branch, tag or commit of the chart's GitRepository, or a version in its HelmRepository."""


async def find(
    context: ClusterContext, settings: Settings, wanted: Wanted, item: HelmRelease
) -> Chart:
    """Return the chart that is asked for.

    Raises:
        failure.CommandError: it cannot be had; the message says why and what to do.
        ChartError: it is no chart that can be released (reconcilers.helmrelease.chart).
        GitOpsError: the source's spec or its Secrets cannot be used.
        OSError: it cannot be read.
    """
    if wanted.path is not None:
        return await context.threads.run(_local, wanted.path, item, context.data_dir)
    if wanted.revision is not None:
        return await _at_revision(context, wanted.revision, item)
    return await _own(context, settings, item)


async def _own(context: ClusterContext, settings: Settings, item: HelmRelease) -> Chart:
    """Return the chart whose artifact the HelmRelease names."""
    run = context.threads.run
    key = chartobject.source_of(item)
    kind = served.BY_NAME.get(key.kind)
    try:
        found = await objects.get(context.client, kind, key.namespace, key.name) if kind else None
    except errors.NotFound:
        found = None
    artifact = getattr(found.status, "artifact", None) if found else None
    if artifact is None:
        raise failure.CommandError(
            f"{key}, the chart of HelmRelease/{item.metadata.namespace}/{item.metadata.name}, "
            "has no artifact; render a local chart with --chart"
        )
    file = await content.stored(context, settings, artifact)
    if file is None:
        tree = await content.elsewhere(context, artifact, str(key))
        folder = tree.entries()[0].path.partition("/")[0]
        return await run(_packed, tree, folder, None, context.data_dir)
    is_tagged = key.kind != chartobject.KIND and ":" in artifact.revision
    revision = artifact.revision if is_tagged else ""
    return await run(release_charts.load, file, artifact.digest, revision)


# Another revision ---------------------------------------------------------------------------------


async def _at_revision(context: ClusterContext, revision: str, item: HelmRelease) -> Chart:
    """Return the chart of a Git revision, or a version of it in a repository of charts."""
    template = item.spec.chart
    source = await _source(context, revision, item)
    if template is None or source is None:
        raise failure.UsageError(
            f"--revision {revision}: the chart comes neither from a GitRepository nor from a "
            "HelmRepository; give a chart by --chart"
        )
    if isinstance(source, HelmRepository):
        archive = await _pull(context, source, template.spec, revision)
        return await context.threads.run(_repacked, archive, template.spec, context.data_dir)
    tree, _ = await content.fetch(context, source, revision)
    place = chart_values.normalise(template.spec.chart)
    return await context.threads.run(_packed, tree, place, template, context.data_dir)


async def _source(
    context: ClusterContext, revision: str, item: HelmRelease
) -> GitRepository | HelmRepository | None:
    """Return the repository that the chart of a HelmRelease is in; None for another source."""
    reference = item.spec.chart.spec.source_ref if item.spec.chart else None
    if reference is None or reference.kind not in {GitRepository.KIND, HelmRepository.KIND}:
        return None
    namespace = reference.namespace or item.metadata.namespace
    kind = served.BY_NAME[reference.kind]
    try:
        found: AnyKind = await objects.get(context.client, kind, namespace, reference.name)
    except errors.NotFound as err:
        text = f"--revision {revision}: {reference.kind}/{namespace}/{reference.name} is not there"
        raise failure.MissingError(text) from err
    return found if isinstance(found, GitRepository | HelmRepository) else None


async def _pull(
    context: ClusterContext, source: HelmRepository, spec: ChartSpec, version: str
) -> bytes:
    """Return the archive of a version, by the index that the repository has now."""
    status = msgspec.structs.replace(source.status, artifact=None)
    fresh = msgspec.structs.replace(source, status=status)
    try:
        found = await origins.find(context, fresh, spec.chart, version)
        return await found.pull()
    except (NoSuchChartError, RegistryError, CredentialsError) as err:
        where = f"{source.KIND}/{source.metadata.namespace}/{source.metadata.name}"
        raise failure.CommandError(f"--revision {version}: {where}: {err}") from err


def _repacked(archive: bytes, spec: ChartSpec, folder: Path) -> Chart:
    """Return a pulled chart with the values files that are asked for. Blocking."""
    file = folder / "chart.tgz"
    if not spec.values_files:
        file.write_bytes(archive)
        return _loaded(file)
    try:
        chart = charts.load_archive(archive)
        merged, _ = chart_values.merge_files(
            spec.values_files,
            chart.read_file,
            ignores_missing=spec.ignore_missing_values_files,
        )
        chart.replace_values(merged)
        file.write_bytes(package.pack(chart.entries()))
    except UnreadableError as err:
        raise failure.CommandError(str(err)) from err
    return _loaded(file)


# A local chart ------------------------------------------------------------------------------------


def _local(path: Path, item: HelmRelease, folder: Path) -> Chart:
    """Read a chart on this machine. Blocking."""
    place = path.expanduser().resolve()
    if place.is_dir():
        return _packed(localtree.LocalTree(place), "", item.spec.chart, folder)
    if not place.is_file():
        raise failure.UsageError(f"--chart {path}: is not there")
    return _loaded(place)


def _packed(tree: Tree, directory: str, template: ChartTemplate | None, folder: Path) -> Chart:
    """Pack a chart's directory as the daemon does, with the values files that are asked for."""
    try:
        chart = charts.load_directory(tree, directory)
        spec = template.spec if template else None
        if spec and spec.values_files:
            merged, _ = chart_values.merge_files(
                spec.values_files,
                lambda path: _read(tree, directory, path),
                ignores_missing=spec.ignore_missing_values_files,
            )
            chart.files[charts.VALUES] = merged
        file = folder / "chart.tgz"
        file.write_bytes(package.pack(chart.entries()))
    except UnreadableError as err:
        raise failure.CommandError(str(err)) from err
    return _loaded(file)


def _read(tree: Tree, directory: str, path: str) -> bytes | None:
    """Return a values file, named as Flux does: from the root of the source."""
    for place in (path, f"{directory}/{path}" if directory else path):
        try:
            return tree.read(place)
        except FileNotFoundError:
            continue
    return None


def _loaded(file: Path) -> Chart:
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    return release_charts.load(file, digest)
