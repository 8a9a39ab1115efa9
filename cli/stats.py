"""``gitopsd stats``: how many objects of each kind run, fail and are suspended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, options, table
from inspection import survey

if TYPE_CHECKING:
    import argparse

    from inspection.survey import Survey


class Count(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One kind of one cluster."""

    cluster: str
    kind: str
    running: int = 0
    failing: int = 0
    suspended: int = 0
    storage_bytes: int = 0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the counts; fails when a cluster did not answer."""
    answers, is_whole = access.ask(args, survey.take)
    found = [count for name, seen in answers for count in counts(name, seen)]
    if args.output == "json":
        print(msgspec.json.encode(found).decode())
    else:
        print(render(found, with_cluster=len(access.chosen(args)) > 1))
    return 0 if is_whole else 1


def counts(cluster: str, seen: Survey) -> list[Count]:
    """Return the counts of one cluster, in the order of the kinds."""
    found: dict[str, Count] = {}
    for obj in seen.objects.values():
        count = found.setdefault(obj.kind, Count(cluster=cluster, kind=obj.kind))
        size = int((obj.status.get("artifact") or {}).get("size") or 0)
        found[obj.kind] = msgspec.structs.replace(
            count,
            running=count.running + (not obj.is_suspended),
            failing=count.failing + (not obj.is_suspended and obj.ready == "False"),
            suspended=count.suspended + obj.is_suspended,
            storage_bytes=count.storage_bytes + size,
        )
    return list(found.values())


def render(found: list[Count], *, with_cluster: bool) -> str:
    """Return the counts as the flux CLI's table."""
    header = ["RECONCILERS", "RUNNING", "FAILING", "SUSPENDED", "STORAGE"]
    rows = [
        [
            each.kind,
            str(each.running),
            str(each.failing),
            str(each.suspended),
            table.size(each.storage_bytes) if each.storage_bytes else "-",
        ]
        for each in found
    ]
    if not with_cluster:
        return table.render(header, rows)
    named = [[each.cluster, *row] for each, row in zip(found, rows, strict=True)]
    return table.render(["CLUSTER", *header], named)
