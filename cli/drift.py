"""``gitopsd drift``: what somebody changed in a cluster by hand, who, which fields, and when."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import msgspec

from cli import access, options, settings, table
from inspection import daemon_client, drift

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from daemon import report


_OF_EVENTS: Final = (
    "no daemon answers here, so this is from the Events of the last hour, without fields"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("owner", nargs="?", default="", help="part of the owner's name")
    parser.add_argument("--limit", type=int, default=50, help="the newest ones; default 50")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print what is known, the newest first; of the daemon, or of the clusters' events."""
    loaded = settings.load(args)
    known = daemon_client.drifts(loaded.control_socket)
    is_whole = True
    if known is None:
        if args.output == "table":
            print(_OF_EVENTS, file=sys.stderr)
        answers, is_whole = access.ask(args, drift.from_events)
        known = tuple(each for _, found in answers for each in found)
    found = drift.chosen(known, cluster=args.cluster, owner=args.owner, limit=args.limit)
    if args.output == "json":
        print(msgspec.json.encode(found).decode())
    else:
        print(render(found) if found else "no drift is known")
    return 0 if is_whole else 1


def render(found: Sequence[report.Correction]) -> str:
    """Return drifts as a table."""
    rows = [
        (
            table.age(each.time, table.now()),
            each.cluster,
            each.object,
            each.change,
            each.who,
            ", ".join(each.fields),
            each.owner,
        )
        for each in found
    ]
    return table.render(("AGE", "CLUSTER", "OBJECT", "WAS", "BY", "FIELDS", "OWNER"), rows)
