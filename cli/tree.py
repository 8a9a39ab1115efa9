"""``gitopsd tree``: what a Flux object owns, and what the Flux objects among that own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from api import meta
from cli import access, options
from inspection import failure, kinds, survey, tree

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME", help=f"whose: {kinds.USAGE}")
    parser.add_argument("-o", "--output", choices=("tree", "json"), default="tree")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the tree of one object."""
    kind, names = kinds.parse(args.what)
    if len(names) != 1:
        raise failure.UsageError(f"name one {kind.name}, as in: {kind.name.lower()} apps")
    cluster = access.the_one(args)

    async def main() -> survey.Survey:
        async with access.client(cluster) as client:
            return await survey.take(client)

    with access.explained(cluster):
        found = access.run(main())
    ref = meta.ObjectRef(cluster.name, kind.name, args.namespace, names[0])
    found.require(ref)
    root = tree.build(found, ref)
    if args.output == "json":
        print(msgspec.json.encode(root).decode())
        return 0
    print(root.title)
    for line in tree.lines(root):
        print(line)
    return 0
