"""``gitopsd logs``: the daemon's log, chosen by object and level, or the log of a workload's pods.

The daemon's log is where the service manager puts it: a file on macOS, the journal on Linux; a file
or standard input can be named instead.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import access, colours, logs_of_pods, options
from inspection import failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

_LEVELS = ("debug", "info", "warning", "error")
_SHOWN = frozenset({"ts", "level", "msg", "cluster", "kind", "namespace", "name", "logger"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "what", nargs="*", default=[], metavar="KIND NAME", help="a workload or pod"
    )
    parser.add_argument("-c", "--container", default="", help="of a workload: this container only")
    parser.add_argument("--previous", action="store_true", help="of a workload: of the run before")
    parser.add_argument("--tail", type=int, default=100, help="lines; default 100, 0 for all")
    parser.add_argument("-f", "--follow", action="store_true", help="of the daemon: go on")
    parser.add_argument("--kind", default="", help="of the daemon: about objects of this kind")
    parser.add_argument("--name", default="", help="of the daemon: about objects of this name")
    parser.add_argument("--level", choices=_LEVELS, default="debug", help="this level and above")
    parser.add_argument(
        "--file", default="", help="read this file in place of the service's; - is stdin"
    )
    options.add_namespace(parser, default="")
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print the lines."""
    if args.what:
        cluster = access.the_one(args)
        with access.explained(cluster):
            for text in access.run(logs_of_pods.read(cluster, args)):
                print(text, end="" if text.endswith("\n") else "\n")
        return 0
    is_empty = True
    for line in _lines(args):
        is_empty = False
        shown = render(line, args)
        if shown is not None:
            print(shown, flush=True)
    if is_empty:
        raise failure.CommandError(
            "the log is empty: a daemon that is no service (`gitopsd service install`) writes to "
            "its own terminal; where that went to a file, name it with --file"
        )
    return 0


def _lines(args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the daemon's log.

    Raises:
        failure.CommandError: it is nowhere to be found.
    """
    if args.file == "-":
        yield from sys.stdin
        return
    command = _command(args)
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if process.stdout is None:
                raise AssertionError("its output was asked for")
            yield from process.stdout
    except FileNotFoundError as err:
        raise failure.CommandError(
            f"{command[0]} is not here; name the log with --file, or pipe it to --file -"
        ) from err


def _command(args: argparse.Namespace) -> list[str]:
    """Return what prints the log."""
    file = args.file or str(Path.home() / "Library/Logs/gitopsd.log")
    if args.file or sys.platform == "darwin":
        if not Path(file).is_file():
            raise failure.CommandError(f"{file}: there is no such log")
        lines = ["-n", str(args.tail)] if args.tail else ["-n", "+1"]
        return ["tail", *lines, *(["-F"] if args.follow else []), file]
    command = ["journalctl", "--unit", "gitopsd", "--output", "cat", "--no-pager"]
    command += ["--lines", str(args.tail)] if args.tail else []
    return [*command, *(["--follow"] if args.follow else [])]


def render(line: str, args: argparse.Namespace) -> str | None:
    """Return a record of the log for people; None where it is not asked for."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return line.rstrip("\n") if not (args.kind or args.name or args.namespace) else None
    if not _is_wanted(record, args):
        return None
    level = str(record.get("level", ""))
    colour = {"error": colours.RED, "warning": colours.YELLOW}.get(level, "")
    target = "/".join(str(record[key]) for key in ("kind", "namespace", "name") if record.get(key))
    rest = " ".join(f"{key}={record[key]}" for key in record if key not in _SHOWN)
    parts = (str(record.get("ts", "")), level, str(record.get("cluster", "")), target)
    text = " ".join(filter(None, (*parts, str(record.get("msg", "")), rest)))
    return colours.paint(colour, text) if colour else text


def _is_wanted(record: dict[str, Any], args: argparse.Namespace) -> bool:
    level = str(record.get("level", "info")).lower()
    if level in _LEVELS and _LEVELS.index(level) < _LEVELS.index(args.level):
        return False
    return _all_match(
        (str(record.get(key, "")), str(getattr(args, key)))
        for key in ("kind", "name", "namespace", "cluster")
    )


def _all_match(pairs: Iterable[tuple[str, str]]) -> bool:
    return all(not wanted or found.lower() == wanted.lower() for found, wanted in pairs)
