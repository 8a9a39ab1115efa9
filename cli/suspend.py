"""``gitopsd suspend``: stop reconciling objects; ``gitopsd resume`` is its reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import access, options
from inspection import failure, kinds, requests

if TYPE_CHECKING:
    import argparse

    from daemon.kinds import Kind


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
                await requests.suspend(
                    client, kind.resource, args.namespace, name, is_suspended=True
                )
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
    if not kind.is_reconciled:
        raise failure.UsageError(f"{kind.name} objects are not reconciled by gitopsd")
    return kind, names
