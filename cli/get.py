"""``gitopsd get``: Flux objects as the flux CLI lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, failure, kinds, objects, table
from daemon import report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from daemon.kinds import Kind
    from daemon.settings import Cluster


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND [NAME]", help=kinds.USAGE)
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    access.add_namespace(parser)
    access.add_options(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the objects of the chosen clusters."""
    kind, names = kinds.parse(args.what)
    clusters = access.chosen(args)
    namespace = "" if args.all_namespaces else args.namespace
    found: list[tuple[str, report.Row]] = []
    for cluster in clusters:
        with access.explained(cluster):
            rows = access.run(_rows(cluster, kind, namespace))
        found += [(cluster.name, row) for row in rows if not names or row.name in names]
    if args.output == "json":
        print(
            msgspec.json.encode([{"cluster": name, "object": row} for name, row in found]).decode()
        )
        return 0
    if not found:
        where = f"namespace {namespace}" if namespace else "any namespace"
        raise failure.CommandError(
            f"no {kind.name} {' '.join(names)} in {where}".replace("  ", " ")
        )
    print(render(found, with_cluster=len(clusters) > 1, with_namespace=args.all_namespaces))
    return 0


def render(
    found: Iterable[tuple[str, report.Row]], *, with_cluster: bool, with_namespace: bool
) -> str:
    """Return the flux CLI's table: a column for the cluster or namespace only where they differ."""
    columns = [(with_cluster, "CLUSTER"), (with_namespace, "NAMESPACE")]
    header = [title for is_shown, title in columns if is_shown]
    header += ["NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE"]
    lines = [
        [
            cell
            for is_shown, cell in ((with_cluster, name), (with_namespace, row.namespace))
            if is_shown
        ]
        + [
            row.name,
            report.short_revision(row.revision),
            str(row.is_suspended),
            row.ready,
            table.one_line(report.short_revision(row.message), 0),
        ]
        for name, row in found
    ]
    return table.render(header, lines)


async def _rows(cluster: Cluster, kind: Kind, namespace: str) -> list[report.Row]:
    async with access.client(cluster) as client:
        return await objects.rows(client, kind, namespace)
