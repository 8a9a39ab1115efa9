"""``gitopsd tree``: what a Kustomization owns, and what the Kustomizations among that own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from api.kustomize import Kustomization
from cli import access, options
from daemon import kinds as served
from inspection import failure, kinds, objects
from reconcilers.kustomization import applying

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from daemon.settings import Cluster
    from kube.objects import ObjectId

    Items = Mapping[tuple[str, str], Kustomization]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="kustomization NAME", help="whose objects")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the tree of one Kustomization."""
    kind, names = kinds.parse(args.what)
    if kind is not served.KUSTOMIZATION or len(names) != 1:
        raise failure.UsageError("name one Kustomization, as in: kustomization apps")
    cluster = access.the_one(args)
    with access.explained(cluster):
        items = access.run(_items(cluster))
    key = (args.namespace, names[0])
    if key not in items:
        raise failure.CommandError(f"Kustomization/{'/'.join(key)} is not there")
    print(f"Kustomization/{'/'.join(key)}")
    for line in lines(items, key):
        print(line)
    return 0


def lines(
    items: Items, key: tuple[str, str], above: frozenset[tuple[str, str]] = frozenset()
) -> Iterator[str]:
    """Yield a line for each object below a Kustomization.

    Args:
        items: every Kustomization of the cluster by namespace and name.
        key: whose objects.
        above: the Kustomizations that lead here, which are not entered again.
    """
    entries = applying.in_order(applying.entries_of(items[key]))
    for number, (obj, _) in enumerate(entries, start=1):
        is_last = number == len(entries)
        yield f"{'└──' if is_last else '├──'} {obj}"
        child = _child(items, obj)
        if child is not None and child not in above | {key}:
            for line in lines(items, child, above | {key}):
                yield f"{'   ' if is_last else '│  '} {line}"


def _child(items: Items, obj: ObjectId) -> tuple[str, str] | None:
    """Return the key of an object that is itself a Kustomization of this cluster."""
    key = (obj.namespace, obj.name)
    is_ours = obj.kind == Kustomization.KIND and obj.group == meta.KUSTOMIZE_GROUP
    return key if is_ours and key in items else None


async def _items(cluster: Cluster) -> Items:
    async with access.client(cluster) as client:
        return {
            (each.metadata.namespace, each.metadata.name): each
            async for each in objects.listed(client, served.KUSTOMIZATION, "")
            if isinstance(each, Kustomization)
        }
