"""``gitopsd history``: the revisions of a release, and what became of each.

What a Kustomization was is in its status; what a release was, in the records that Helm reads too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, options, settings, table
from daemon import kinds as served
from daemon import report
from inspection import failure, kinds, objects, releases, workshop
from reconcilers import targets
from reconcilers.helmrelease import names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from api.meta import Snapshot
    from api.served import AnyKind
    from kube.helm.record import Record

_HEADER = ("REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION", "DESCRIPTION")
_STATES = ("FIRST", "LAST", "TIMES", "STATUS", "REVISION")


class Revision(msgspec.Struct, frozen=True, rename="camel"):
    """One revision of a release, as JSON has it."""

    revision: int
    updated: str
    status: str
    chart: str
    app_version: str
    description: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME", help="helmrelease or kustomization")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print what an object was, the oldest first."""
    kind, given = kinds.parse(args.what)
    if kind not in (served.HELM_RELEASE, served.KUSTOMIZATION) or len(given) != 1:
        raise failure.UsageError("name one HelmRelease or Kustomization, as in: helmrelease apps")
    loaded, cluster = settings.load(args), access.the_one(args)

    async def main() -> str:
        async with workshop.opened(settings.path(args), loaded, cluster) as context:
            if kind is served.KUSTOMIZATION:
                found = await objects.get(context.client, kind, args.namespace, given[0])
                return of_kustomization(found, as_json=args.output == "json")
            item = await releases.find(context, args.namespace, given[0])
            store = releases.storage(context, item, await targets.find(context, item))
            history = await store.history(names.release_name(item))
            return of_release(history, as_json=args.output == "json")

    with access.explained(cluster):
        print(access.run(main()))
    return 0


def of_release(history: Sequence[Record], *, as_json: bool) -> str:
    """Return the revisions of a release as text."""
    rows = [_revision(record) for record in history]
    if as_json:
        return msgspec.json.encode(rows).decode()
    lines = [[str(cell) for cell in msgspec.structs.astuple(row)] for row in rows]
    return table.render(_HEADER, lines) if rows else "no revisions"


def of_kustomization(item: AnyKind, *, as_json: bool) -> str:
    """Return the states of a Kustomization as text, the oldest first."""
    found: tuple[Snapshot, ...] = getattr(item.status, "history", ())[::-1]
    if as_json:
        return msgspec.json.encode(found).decode()
    lines = [
        [
            each.first_reconciled,
            each.last_reconciled,
            str(each.total_reconciliations),
            each.last_reconciled_status,
            report.short_revision(each.metadata.get("revision", each.digest)),
        ]
        for each in found
    ]
    return table.render(_STATES, lines) if lines else "no states"


def _revision(record: Record) -> Revision:
    chart, info = record.chart, record.info
    return Revision(
        revision=record.version,
        updated=info.last_deployed or "",
        status=info.status,
        chart=f"{chart.name}-{chart.version}",
        app_version=chart.app_version,
        description=table.one_line(info.description, 0),
    )
