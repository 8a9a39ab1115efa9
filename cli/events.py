"""``gitopsd events``: what happened to Flux objects lately, the newest last."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from api import meta
from cli import access, options, table
from daemon import kinds as served
from daemon import report
from inspection import kinds
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from daemon.settings import Cluster

_EVENTS = Resource(GVK("", "v1", "Event"), "events", is_namespaced=True)


class _Involved(meta.Struct, frozen=True, kw_only=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""


class Event(meta.Struct, frozen=True, kw_only=True):
    """A Kubernetes Event, as far as it is shown."""

    involved_object: _Involved = _Involved()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None

    @property
    def when(self) -> str:
        """When it happened last, RFC 3339."""
        return self.last_timestamp or self.event_time or self.first_timestamp or ""


class _Page(meta.Struct, frozen=True, kw_only=True):
    items: tuple[Event, ...] = ()


_PAGE = msgspec.json.Decoder(_Page)


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
    with access.explained(cluster):
        found = access.run(_listed(cluster, namespace))
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


def render(found: Sequence[Event], now: dt.datetime, *, with_namespace: bool) -> str:
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


async def _listed(cluster: Cluster, namespace: str) -> list[Event]:
    async with access.client(cluster) as client:
        return [
            event
            async for page in client.list_pages(_EVENTS, namespace=namespace)
            for event in _PAGE.decode(page).items
        ]
