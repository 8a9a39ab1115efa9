"""``gitopsd suspend``: stop reconciling objects; ``gitopsd resume`` is its reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from cli import access, options
from daemon import kinds as served
from inspection import failure, kinds, objects
from kube import errors

if TYPE_CHECKING:
    import argparse

    from api.served import AnyKind
    from daemon.kinds import Kind
    from kube.client import Client
    from kube.objects import JsonObject


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME...", help=kinds.USAGE)
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Suspend the named objects."""
    kind, names = named(args)
    cluster = access.the_one(args)

    async def main() -> None:
        async with access.client(cluster) as client:
            for name in names:
                await switch(client, kind, args.namespace, name, is_suspended=True)
                print(f"✔ {kind.name} {name} in {args.namespace} namespace suspended")

    with access.explained(cluster):
        access.run(main())
    return 0


def named(args: argparse.Namespace) -> tuple[Kind, list[str]]:
    """Return the kind and the names of a command line.

    Raises:
        failure.UsageError: it names no object.
    """
    kind, names = kinds.parse(args.what)
    if not names:
        raise failure.UsageError("name at least one object")
    return kind, names


async def switch(
    client: Client, kind: Kind, namespace: str, name: str, *, is_suspended: bool
) -> AnyKind:
    """Suspend or resume one object: by its spec, a FluxInstance by its annotation.

    Raises:
        failure.CommandError: there is no such object.
    """
    body: JsonObject = {"spec": {"suspend": is_suspended or None}}
    if kind is served.INSTANCE:
        value = "disabled" if is_suspended else "enabled"
        body = {"metadata": {"annotations": {meta.INSTANCE_RECONCILE: value}}}
    try:
        return await objects.patch(client, kind, namespace, name, body)
    except errors.NotFound as err:
        raise failure.CommandError(f"{kind.name}/{namespace}/{name} is not there") from err
