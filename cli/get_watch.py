"""``gitopsd get --watch``: prints an object again each time it changes."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

from cli import access, get_text
from inspection.flux import FluxObject
from kube import errors, watch
from kube.objects import PartialObject
from runtime import clock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from daemon.kinds import Kind
    from daemon.settings import Cluster
    from kube.client import Client


def follow(
    args: argparse.Namespace,
    wanted: Sequence[Kind],
    namespace: str,
    is_wanted: Callable[[FluxObject], bool],
) -> None:
    """Print what changes until interrupted."""
    layout = get_text.Layout(
        with_cluster=len(access.chosen(args)) > 1,
        with_namespace=args.all_namespaces,
        is_wide=args.output == "wide",
    )

    def show(obj: FluxObject) -> None:
        if is_wanted(obj):
            prefix = f"{obj.kind}  " if len(wanted) > 1 else ""
            print(prefix + "  ".join(get_text.cells(obj, layout)), flush=True)

    async def all_clusters() -> None:
        async with asyncio.TaskGroup() as tasks:
            for cluster in access.chosen(args):
                one = _cluster(cluster, wanted, namespace, args.selector, show)
                tasks.create_task(one, name=f"watch {cluster.name}")

    try:
        asyncio.run(all_clusters())
    except ExceptionGroup as group:
        raise _first(group) from None


async def _cluster(
    cluster: Cluster,
    wanted: Sequence[Kind],
    namespace: str,
    selector: str,
    show: Callable[[FluxObject], None],
) -> None:
    with access.explained(cluster):
        async with access.client(cluster) as client, asyncio.TaskGroup() as tasks:
            for kind in wanted:
                selection = watch.Selection(
                    namespace=namespace, label_selector=selector, metadata_only=True
                )
                tasks.create_task(_kind(client, kind, selection, show), name=kind.name)


async def _kind(
    client: Client, kind: Kind, selection: watch.Selection, show: Callable[[FluxObject], None]
) -> None:
    """Show each object of a kind that changes after the first list."""
    changes = watch.watch(
        client,
        kind.resource,
        PartialObject,
        selection,
        clock=clock.SystemClock(),
        rng=random.Random(),  # noqa: S311 - spreads time-outs, guards nothing
    )
    is_listed = False
    async with aclosing(changes) as events:
        async for event in events:
            match event:
                case watch.Synced():
                    is_listed = True
                case watch.Interrupted(error=(errors.Unauthorized() | errors.Forbidden()) as error):
                    raise error
                case watch.Added(object=each) | watch.Modified(object=each) if is_listed:
                    where = each.metadata.namespace, each.metadata.name
                    try:
                        body = await client.get(kind.resource, *where)
                    except errors.NotFound:
                        continue
                    head = {"apiVersion": kind.gvk.api_version, "kind": kind.name}
                    show(FluxObject(client.cluster, head | body))
                case _:
                    continue


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Return the first error inside any number of groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
