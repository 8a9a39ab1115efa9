"""Renders a HelmRelease as the daemon would, and tells what releasing it would do.

Nothing is written: Helm renders with a dry run, and every object is tried by a dry run of the API
server's, under the daemon's field manager and as the account of the release.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from api.helm import HelmRelease
from api.source import GitRepository
from daemon import kinds as served
from daemon import tools
from inspection import content, failure, objects
from kube import errors, inventory, manifests, preview
from kube.helm import record as records
from kube.helm.storage import ReleaseStorage
from kube.ownership import IDENTITIES
from kube.target import Session
from kube.wording import ObjectError
from reconcilers import targets
from reconcilers.helmchart import chart as charts
from reconcilers.helmchart import values as chart_values
from reconcilers.helmrelease import applying, bundle, chartobject, names, render, values
from reconcilers.helmrelease import chart as release_charts
from reconcilers.helmrelease import objects as release_objects
from reconcilers.helmrelease.program import HelmError, HelmMissing, Place
from runtime.errors import GitOpsError
from runtime.process import ProcessError
from sources import localtree
from sources.helm import package
from sources.helm.errors import ChartError as UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

    from api.helm import ChartTemplate
    from daemon.settings import Settings
    from kube.helm.record import Record
    from kube.inventory import Entries
    from kube.preview import Preview
    from reconcilers.context import ClusterContext
    from reconcilers.helmrelease.chart import Chart
    from reconcilers.targets import Target
    from sources.tree import Tree

GONE: Final = frozenset({records.UNINSTALLED, records.UNINSTALLING})


class Wanted(NamedTuple):
    """A HelmRelease, and with which chart and values to render it: its own, unless told so."""

    namespace: str
    name: str
    chart: Path | None = None
    """A local chart, packed or as a directory."""
    revision: str | None = None
    """A branch, tag or commit of the GitRepository that the chart comes from."""
    values: Path | None = None
    """A file in place of ``spec.values``."""


class Rendered(NamedTuple):
    """A HelmRelease and what it would release."""

    item: HelmRelease
    record: Record
    title: str
    """Which chart was rendered, for people."""
    former: Record | None = None
    """The newest record that there is."""


async def render_release(context: ClusterContext, settings: Settings, wanted: Wanted) -> Rendered:
    """Render what is asked for, upon the release that there is.

    Raises:
        failure.CommandError: it cannot be rendered; the message says why.
    """
    item = await find(context, wanted.namespace, wanted.name)
    try:
        chart = await _chart(context, settings, wanted, item)
        given = await _values(context, wanted, item)
        target = await targets.find(context, item)
        former = await storage(context, item, target).last(names.release_name(item))
        rendered = await render.renderer(context).render(
            render.Request(
                item=item,
                chart=chart,
                values=given,
                name=names.release_name(item),
                place=Place(
                    target.client, names.release_namespace(item), names.storage_namespace(item)
                ),
                is_upgrade=former is not None and former.status not in GONE,
            )
        )
    except HelmMissing as err:
        _, complaint = await tools.look(settings)
        raise failure.CommandError(str(err) or complaint) from err
    except (HelmError, render.RenderError, release_charts.ChartError, records.RecordError) as err:
        raise failure.CommandError(str(err)) from err
    except (GitOpsError, ProcessError, OSError) as err:
        raise failure.CommandError(str(err)) from err
    return Rendered(item, rendered.record, chart.full_name, former)


async def look(context: ClusterContext, rendered: Rendered) -> list[Preview]:
    """Try every object of a release, and look at those that it would no longer have.

    Raises:
        failure.CommandError: the API server does not answer, or the release's user is none.
    """
    item = rendered.item
    try:
        target = await targets.find(context, item)
        wanted = await bundle.of_record(rendered.record, item, target.discovery, context.threads)
        with await context.threads.run(wanted.open) as reader:
            session = Session(
                client=target.client,
                discovery=target.discovery,
                ledger=target.tracker,
                clock=context.clock,
                owner=item.ref(context.name),
                identity=IDENTITIES[item.KIND],
                reader=reader,
                force=False,
                verify=True,
                at_interval=False,
            )
            applied = await preview.apply(session, wanted.desired, context.settings.custom_stages)
            stale = applying.stale(await _owned(context, rendered, target), wanted.entries)
            owner = bundle.owner_of(item, rendered.record)
            pruned = await preview.pruned(session, stale, lambda _: None, owner.has)
    except ObjectError as err:
        raise failure.CommandError(err.text) from err
    except (GitOpsError, release_objects.ManifestError) as err:
        raise failure.CommandError(str(err)) from err
    return [*applied, *pruned]


async def _owned(context: ClusterContext, rendered: Rendered, target: Target) -> Entries:
    """Return what the release has now: by its inventory, and by the record of who released it."""
    found, former = applying.entries_of(rendered.item), rendered.former
    if former is None or former.status in GONE:
        return found
    known = await bundle.of_record(former, rendered.item, target.discovery, context.threads)
    return inventory.union(found, known.entries)


async def find(context: ClusterContext, namespace: str, name: str) -> HelmRelease:
    """Return a HelmRelease.

    Raises:
        failure.CommandError: it is not there.
    """
    try:
        found = await objects.get(context.client, served.HELM_RELEASE, namespace, name)
    except errors.NotFound as err:
        raise failure.CommandError(
            f"HelmRelease/{namespace}/{name} is not there; "
            "`gitopsd get helmreleases -A` lists those that are"
        ) from err
    if not isinstance(found, HelmRelease):
        raise TypeError(found)
    return found


def storage(context: ClusterContext, item: HelmRelease, target: Target) -> ReleaseStorage:
    """Return where the records of a release are."""
    namespace = item.status.storage_namespace or names.storage_namespace(item)
    return ReleaseStorage(target.client, namespace, context.clock, context.threads)


async def _values(context: ClusterContext, wanted: Wanted, item: HelmRelease) -> values.Values:
    if wanted.values is None:
        return await values.compose(context, item)
    try:
        text = await context.threads.run(wanted.values.read_bytes)
        found = await context.threads.run(manifests.load, text, str(wanted.values))
    except OSError as err:
        raise failure.UsageError(f"--values {wanted.values}: {err.strerror}") from err
    except manifests.ManifestError as err:
        raise failure.CommandError(f"--values: {err}") from err
    if not isinstance(found, dict | None):
        raise failure.CommandError(f"--values {wanted.values}: the values are no map")
    spec = msgspec.structs.replace(item.spec, values=msgspec.Raw(msgspec.json.encode(found or {})))
    return await values.compose(context, msgspec.structs.replace(item, spec=spec))


# The chart --------------------------------------------------------------------------------------


async def _chart(
    context: ClusterContext, settings: Settings, wanted: Wanted, item: HelmRelease
) -> Chart:
    run = context.threads.run
    if wanted.chart is not None:
        return await run(_local, wanted.chart, item, context.data_dir)
    if wanted.revision is not None:
        source = await _repository(context, wanted.revision, item)
        tree, _ = await content.fetch(context, source, wanted.revision)
        path = item.spec.chart.spec.chart if item.spec.chart else ""
        place = chart_values.normalise(path)
        return await run(_packed, tree, place, item.spec.chart, context.data_dir)
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


async def _repository(context: ClusterContext, revision: str, item: HelmRelease) -> GitRepository:
    """Return the repository that the chart of a HelmRelease comes from."""
    reference = item.spec.chart.spec.source_ref if item.spec.chart else None
    if reference is None or reference.kind != GitRepository.KIND:
        raise failure.UsageError(
            f"--revision {revision}: the chart does not come from a GitRepository; give a chart "
            "by --chart"
        )
    namespace = reference.namespace or item.metadata.namespace
    try:
        found = await objects.get(context.client, served.GIT_REPOSITORY, namespace, reference.name)
    except errors.NotFound as err:
        text = f"GitRepository/{namespace}/{reference.name} is not there"
        raise failure.CommandError(text) from err
    if not isinstance(found, GitRepository):
        raise TypeError(found)
    return found


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
