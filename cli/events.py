"""``gitopsd events``: what happened to Flux objects lately, the newest last."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from cli import access, options, table
from daemon import kinds as served
from daemon import report
from inspection import events, kinds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "what", nargs="*", metavar="KIND NAME", help=f"of these only: {kinds.USAGE}"
    )
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the events of one cluster."""
    kind, names = kinds.parse(args.what) if args.what else (None, [])
    cluster = access.the_one(args)
    namespace = "" if args.all_namespaces else args.namespace

    async def main() -> list[events.Event]:
        async with access.client(cluster) as client:
            return await events.listed(client, namespace)

    with access.explained(cluster):
        found = access.run(main())
    wanted = {kind.name} if kind else set(served.BY_NAME)
    shown = [
        each
        for each in found
        if each.involved_object.kind in wanted and (not names or each.involved_object.name in names)
    ]
    if not shown:
        where = f"namespace {namespace}" if namespace else "any namespace"
        print(f"no events in {where}; Kubernetes keeps them for an hour")
        return 0
    print(render(shown, dt.datetime.now(dt.UTC), with_namespace=args.all_namespaces))
    return 0


def render(found: Sequence[events.Event], now: dt.datetime, *, with_namespace: bool) -> str:
    """Return the events as a table, the newest last, next to the prompt."""
    header = ["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    rows = []
    for each in sorted(found, key=lambda event: event.when):
        target = each.involved_object
        where = f"{target.namespace}/" if with_namespace else ""
        times = f" (x{each.count})" if each.count and each.count > 1 else ""
        message = table.one_line(report.short_revision(each.message), 0)
        rows.append(
            [
                table.age(each.when, now),
                each.type,
                each.reason,
                f"{target.kind}/{where}{target.name}",
                f"{message}{times}",
            ]
        )
    return table.render(header, rows)
