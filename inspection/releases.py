"""Renders a HelmRelease as the daemon would, and tells what releasing it would do.

Nothing is written: Helm renders with a dry run, and every object is tried by a dry run of the API
server's, under the daemon's field manager and as the account of the release.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from api.helm import HelmRelease
from daemon import kinds as served
from daemon import tools
from inspection import failure, objects, release_charts
from kube import errors, inventory, manifests, preview
from kube.helm import record as records
from kube.helm.storage import ReleaseStorage
from kube.ownership import IDENTITIES
from kube.preview import TAKEN_OVER, Outcome
from kube.target import Session
from kube.wording import ObjectError
from reconcilers import targets
from reconcilers.helmrelease import applying, bundle, names, render, terms, values
from reconcilers.helmrelease import objects as release_objects
from reconcilers.helmrelease.chart import ChartError
from reconcilers.helmrelease.decision import Action
from reconcilers.helmrelease.program import HelmError, HelmMissing, Place
from runtime.errors import GitOpsError
from runtime.process import ProcessError

if TYPE_CHECKING:
    from daemon.settings import Settings
    from kube.helm.record import Record
    from kube.inventory import Entries
    from kube.objects import JsonObject
    from kube.preview import Preview
    from reconcilers.context import ClusterContext
    from reconcilers.targets import Target

GONE: Final = frozenset({records.UNINSTALLED, records.UNINSTALLING})


class Wanted(NamedTuple):
    """A HelmRelease, and with which chart and values to render it: its own, unless told so."""

    namespace: str
    name: str
    chart: release_charts.Wanted = release_charts.Wanted()
    values: JsonObject | None = None
    """In place of ``spec.values``."""


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
        chart = await release_charts.find(context, settings, wanted.chart, item)
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
    except (HelmError, render.RenderError, ChartError, records.RecordError) as err:
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
            if _is_merged(rendered):
                applied = [_merged(each) for each in applied]
            owner = bundle.owner_of(item, rendered.record)
            pruned = await preview.pruned(session, stale, lambda _: None, owner.has)
    except ObjectError as err:
        raise failure.CommandError(err.text) from err
    except (GitOpsError, release_objects.ManifestError) as err:
        raise failure.CommandError(str(err)) from err
    return [*applied, *pruned]


def _is_merged(rendered: Rendered) -> bool:
    """Whether the release would be merged on the client."""
    action = Action.INSTALL if rendered.former is None else Action.UPGRADE
    method = terms.apply_method(rendered.item.spec, action, rendered.former)
    return method == records.CLIENT_SIDE


def _merged(seen: Preview) -> Preview:
    """Return what a merge would do to an object, which leaves its managers as they are."""
    if seen.outcome is not Outcome.CHANGED:
        return seen
    note = seen.note.partition("; ")[2] if seen.note.startswith(TAKEN_OVER) else seen.note
    return replace(seen, outcome=seen.outcome if seen.changes else Outcome.UNCHANGED, note=note)


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
        failure.MissingError: it is not there.
    """
    try:
        found = await objects.get(context.client, served.HELM_RELEASE, namespace, name)
    except errors.NotFound as err:
        raise failure.MissingError(
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
    spec = msgspec.structs.replace(
        item.spec, values=msgspec.Raw(msgspec.json.encode(wanted.values))
    )
    return await values.compose(context, msgspec.structs.replace(item, spec=spec))


def read_values(text: str, title: str) -> JsonObject:
    """Return the values that a YAML text says.

    Args:
        text: one map; nothing at all is an empty one.
        title: what it is, for messages: an option with its file, or an argument.

    Raises:
        failure.UsageError: it is no YAML, or no map.
    """
    try:
        found = manifests.load(text, title)
    except manifests.ManifestError as err:
        raise failure.UsageError(str(err)) from err
    if not isinstance(found, dict | None):
        raise failure.UsageError(f"{title}: the values are no map")
    return found or {}
