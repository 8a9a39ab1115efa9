"""``gitopsd graph``: who needs whom, as Mermaid, DOT or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from api import meta
from cli import access, options
from inspection import failure, graph, kinds, survey

if TYPE_CHECKING:
    import argparse

    from inspection.survey import Survey


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "what",
        nargs="*",
        default=[],
        metavar="KIND NAME",
        help="an object to start from; the whole without",
    )
    parser.add_argument("-o", "--output", choices=("mermaid", "dot", "json"), default="mermaid")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the graph of one cluster."""
    cluster = access.the_one(args)
    kind, names = kinds.parse(args.what) if args.what else (None, [])
    if kind is not None and len(names) != 1:
        raise failure.UsageError("name one object to start from")

    async def main() -> Survey:
        async with access.client(cluster) as client:
            return await survey.take(client)

    with access.explained(cluster):
        found = access.run(main())
    around = meta.ObjectRef(cluster.name, kind.name, args.namespace, names[0]) if kind else None
    if around is not None:
        found.require(around)
    result = graph.build(found, around)
    if args.output == "json":
        print(msgspec.json.encode(result).decode())
    else:
        print(graph.dot(result) if args.output == "dot" else graph.mermaid(result))
    return 0
