"""What applying a Kustomization would do: every object tried, nothing written.

The requests are dry runs as the daemon's own, under its field manager and as the Kustomization's
account; see `kube.preview`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from api.kustomize import Kustomization
from daemon import kinds as served
from inspection import failure, objects
from kube import fielddiff, preview
from kube.preview import Outcome
from kube.target import Session
from kube.wording import ObjectError
from reconcilers import targets
from reconcilers.kustomization import applying, store
from runtime.errors import GitOpsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.meta import ObjectRef
    from inspection.rendering import Rendered
    from kube.desired import ManifestReader
    from kube.objects import ObjectId
    from kube.preview import Preview
    from reconcilers.context import ClusterContext


def masked(each: Preview) -> Preview:
    """Return a preview without the values of a Secret."""
    if each.id.kind != "Secret" or each.id.group:
        return each
    return replace(each, changes=tuple(fielddiff.masked(change) for change in each.changes))


async def look(context: ClusterContext, rendered: Rendered) -> list[Preview]:
    """Try every object, and look at those that are no longer declared.

    Raises:
        failure.CommandError: the API server does not answer, or the Kustomization's user is none.
    """
    item, build = rendered.item, rendered.build
    reader = await context.threads.run(store.Reader, build)
    with reader:
        try:
            session = await _session(context, item, reader)
            applied = await preview.apply(session, build.desired, context.settings.custom_stages)
            kept = [(each.id, each.version) for each in applied]
            stale = applying.stale_of(applying.entries_of(item), kept)
            pruned = await preview.pruned(session, stale, await _others(context, item))
        except ObjectError as err:
            raise failure.CommandError(err.text) from err
        except GitOpsError as err:
            raise failure.CommandError(err.message) from err
    if not item.spec.prune:
        pruned = [_kept(each) for each in pruned]
    return [*applied, *pruned]


async def _session(context: ClusterContext, item: Kustomization, reader: ManifestReader) -> Session:
    """Return the session of the user and the cluster that the Kustomization applies with."""
    owner, target = item.ref(context.name), await targets.find(context, item)
    return Session(
        client=target.client,
        discovery=target.discovery,
        ledger=target.tracker,
        clock=context.clock,
        owner=owner,
        identity=target.tracker.identities[owner.kind],
        reader=reader,
        force=item.spec.force,
        verify=True,
        at_interval=False,
        rules=applying.ignored(item),
    )


async def _others(
    context: ClusterContext, item: Kustomization
) -> Callable[[ObjectId], ObjectRef | None]:
    """Return what finds another Kustomization that declares an object of the same cluster."""
    owners: dict[ObjectId, ObjectRef] = {}
    async for each in objects.listed(context.client, served.KUSTOMIZATION, ""):
        if not isinstance(each, Kustomization) or each.metadata.uid == item.metadata.uid:
            continue
        if each.spec.kube_config == item.spec.kube_config:
            owner = each.ref(context.name)
            owners |= {obj: owner for obj, _ in applying.entries_of(each)}
    return owners.get


def _kept(each: Preview) -> Preview:
    """Tell of an object that stays because ``spec.prune`` is off."""
    if each.outcome is not Outcome.PRUNED:
        return each
    return preview.Preview(each.id, each.version, Outcome.KEPT, note="spec.prune is off")
