"""``gitopsd get``: Flux objects as the flux CLI lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, options, table
from daemon import kinds as served
from daemon import report
from inspection import failure, kinds, objects

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from daemon.kinds import Kind
    from daemon.settings import Cluster

    _Found = tuple[str, report.Row]

_ALL = "all"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND [NAME]", help=f"all | {kinds.USAGE}")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the objects of the chosen clusters."""
    if args.what == [_ALL]:
        return _execute_all(args)
    kind, names = kinds.parse(args.what)
    found = _found(args, kind, names)
    if args.output == "json":
        _print_json(found)
        return 0
    if found:
        _print_table(args, found)
    missing = sorted(set(names) - {row.name for _, row in found})
    if missing or not found:
        where = "any namespace" if args.all_namespaces else f"namespace {args.namespace}"
        named = f" {', '.join(missing)}" if missing else ""
        raise failure.CommandError(f"no {kind.name}{named} in {where}{_elsewhere(args)}")
    return 0


def _execute_all(args: argparse.Namespace) -> int:
    """Print the objects of every kind, kind by kind; kinds without objects are left out."""
    found = {kind.name: _found(args, kind, []) for kind in served.ALL}
    if args.output == "json":
        _print_json([each for rows in found.values() for each in rows])
        return 0
    if not any(found.values()):
        where = "any namespace" if args.all_namespaces else f"namespace {args.namespace}"
        raise failure.CommandError(f"no Flux objects in {where}{_elsewhere(args)}")
    blocks = [(name, rows) for name, rows in found.items() if rows]
    for number, (name, rows) in enumerate(blocks):
        print(f"{chr(10) if number else ''}{name}")
        _print_table(args, rows)
    return 0


def _found(args: argparse.Namespace, kind: Kind, names: Sequence[str]) -> list[_Found]:
    """Return the objects of a kind, with their clusters' names."""
    namespace = "" if args.all_namespaces else args.namespace
    found: list[_Found] = []
    for cluster in access.chosen(args):
        with access.explained(cluster):
            rows = access.run(_rows(cluster, kind, namespace))
        found += [(cluster.name, row) for row in rows if not names or row.name in names]
    return found


def _elsewhere(args: argparse.Namespace) -> str:
    return "" if args.all_namespaces else "; -A looks in all of them"


def _print_json(found: Iterable[_Found]) -> None:
    rows = [{"cluster": name, "object": row} for name, row in found]
    print(msgspec.json.encode(rows).decode())


def _print_table(args: argparse.Namespace, found: Sequence[_Found]) -> None:
    is_shared = len(access.chosen(args)) > 1
    print(render(found, with_cluster=is_shared, with_namespace=args.all_namespaces))


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
