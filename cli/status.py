"""``gitopsd status``: what the daemon does; works without a daemon too, and says so."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from typing import TYPE_CHECKING

import msgspec

from api import __version__
from cli import options, settings, status_text
from daemon import report
from daemon import settings as daemon_settings
from inspection import daemon_client, failure

if TYPE_CHECKING:
    import argparse

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_LOOK_S = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("-w", "--watch", action="store_true", help="show it again and again")
    parser.add_argument("-a", "--all", action="store_true", help="every object, however many")
    parser.add_argument(
        "--wide", action="store_true", help="every object with its message; how drift is seen"
    )
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the state; fails when the daemon is down, a cluster is away or an object not ready."""
    while True:
        found, is_running = look(args)
        text = (
            msgspec.json.encode(found).decode()
            if args.output == "json"
            else status_text.render(
                found,
                dt.datetime.now(dt.UTC),
                is_running=is_running,
                width=shutil.get_terminal_size().columns,
                shows_all=args.all,
                is_wide=args.wide,
            )
        )
        print(f"{_CLEAR}{text}" if args.watch else text, flush=True)
        if not args.watch:
            return 0 if is_running and status_text.is_well(found) else 1
        time.sleep(_LOOK_S)  # noqa: TID251 - a command-line program without a loop to block


def look(args: argparse.Namespace) -> tuple[report.Report, bool]:
    """Ask the daemon, or the clusters themselves where none runs.

    Returns:
        The report, and whether a daemon runs.

    Raises:
        failure.UsageError: no cluster has the name that was given; or no daemon runs and the
            settings are wrong.
    """
    found = daemon_client.status(daemon_settings.control_socket(settings.path(args)))
    is_running = found is not None
    if found is None:
        states: tuple[report.ClusterState, ...] = ()
        if settings.load(args).clusters:
            from cli import direct  # the whole client; with a daemon nothing of it is needed

            states = direct.states(args)
        found = report.Report(
            version=__version__,
            pid=0,
            started="",
            memory_bytes=0,
            config=str(settings.path(args)),
            clusters=states,
        )
    if not args.cluster:
        return found, is_running
    chosen = tuple(each for each in found.clusters if each.name == args.cluster)
    if not chosen:
        raise failure.UsageError(f"no cluster is named {args.cluster!r}")
    return msgspec.structs.replace(found, clusters=chosen), is_running
