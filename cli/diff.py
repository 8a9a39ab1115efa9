"""``gitopsd diff``: what applying a Kustomization would create, change and prune.

Nothing is written. Exit statuses: 0 nothing would change, 1 something would, 2 there is no answer.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from api.kustomize import Kustomization
from cli import access, diff_text, failure, objects, rendering, settings, workshop
from daemon import kinds as served
from kube import preview
from kube.ownership import IDENTITIES
from kube.preview import Outcome
from kube.target import Session
from kube.wording import ObjectError
from reconcilers import targets
from reconcilers.kustomization import applying, store
from runtime.errors import GitOpsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from api.meta import ObjectRef
    from cli.rendering import Rendered
    from kube.desired import ManifestReader
    from kube.objects import ObjectId
    from kube.preview import Preview
    from reconcilers.context import ClusterContext


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    rendering.add_options(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def execute(args: argparse.Namespace) -> int:
    """Print what would happen."""
    try:
        return _execute(args)
    except failure.CommandError as err:
        raise failure.NoAnswerError(str(err)) from err


def _execute(args: argparse.Namespace) -> int:
    loaded, cluster = settings.load(args), access.the_one(args)
    rendering.name_of(args)

    async def main() -> tuple[Rendered, list[Preview]]:
        async with workshop.opened(settings.path(args), loaded, cluster) as context:
            rendered = await rendering.render(context, loaded, args)
            return rendered, await _look(context, rendered)

    with access.explained(cluster):
        rendered, found = access.run(main())
    if not args.show_secrets:
        found = [diff_text.masked(each) for each in found]
    if args.output == "json":
        print(msgspec.json.encode(diff_text.as_json(cluster.name, rendered, found)).decode())
    else:
        print(diff_text.render(rendered, found, is_coloured=_is_coloured()))
    if any(each.outcome is Outcome.REFUSED for each in found):
        return failure.NoAnswerError.status
    return int(any(each.outcome not in preview.QUIET for each in found))


async def _look(context: ClusterContext, rendered: Rendered) -> list[Preview]:
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
        identity=IDENTITIES[owner.kind],
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


def _is_coloured() -> bool:
    """Whether to use colours: on a terminal, unless its owner asks for none."""
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not is_plain
