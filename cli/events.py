"""``gitopsd events``: what happened to Flux objects lately, the newest last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import access, options, table
from daemon import kinds as served
from daemon import report
from inspection import events, kinds

if TYPE_CHECKING:
    import argparse
    import datetime as dt
    from collections.abc import Sequence

    from kube.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "what", nargs="*", default=[], metavar="KIND NAME", help=f"of these only: {kinds.USAGE}"
    )
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the events of the chosen clusters; fails when one did not answer."""
    kind, names = kinds.parse(args.what) if args.what else (None, [])
    namespace = "" if args.all_namespaces else args.namespace
    wanted = {kind.name} if kind else set(served.BY_NAME)

    async def read(client: Client) -> list[events.Event]:
        return [
            each
            for each in await events.listed(client, namespace)
            if each.involved_object.kind in wanted
            and (not names or each.involved_object.name in names)
        ]

    answers, is_whole = access.ask(args, read)
    shown = [(name, each) for name, found in answers for each in found]
    if not shown:
        where = f"namespace {namespace}" if namespace else "any namespace"
        print(f"no events in {where}; Kubernetes keeps them for an hour")
        return 0 if is_whole else 1
    print(
        render(
            shown,
            table.now(),
            with_namespace=args.all_namespaces,
            with_cluster=len(access.chosen(args)) > 1,
        )
    )
    return 0 if is_whole else 1


def render(
    found: Sequence[tuple[str, events.Event]],
    now: dt.datetime,
    *,
    with_namespace: bool,
    with_cluster: bool = False,
) -> str:
    """Return events with their clusters as a table, the newest last, next to the prompt."""
    header = [*(["CLUSTER"] if with_cluster else []), "AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    rows = []
    for cluster, each in sorted(found, key=lambda pair: pair[1].when):
        target = each.involved_object
        where = f"{target.namespace}/" if with_namespace else ""
        times = f" (x{each.count})" if each.count and each.count > 1 else ""
        message = table.one_line(report.short_revision(each.message), 0)
        rows.append(
            [
                *([cluster] if with_cluster else []),
                table.age(each.when, now),
                each.type,
                each.reason,
                f"{target.kind}/{where}{target.name}",
                f"{message}{times}",
            ]
        )
    return table.render(header, rows)
