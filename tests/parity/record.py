"""Runs the fleets against whatever serves a cluster, and compares or records what is shown.

Any reconciler that speaks Flux's API and reaches this machine's loopback can be put under it::

    python -m tests.parity.record --kubeconfig FILE [--write] [FLEET ...]

The cluster must have the CRDs. Each fleet gets a namespace of its own, ``parity-<fleet>``, which
must not be there yet and stays.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from devcluster.api import Api, Credentials
from devcluster.errors import DevclusterError
from devcluster.gitserver import GitServer
from tests.support import estate
from tests.support.fleets import Fleet

if TYPE_CHECKING:
    from kube.objects import JsonObject

FLEETS = Path(__file__).parent / "fleets"
_QUIET_S = 5.0
"""So long nothing new may be shown before it is written down."""


def main() -> int:
    """Run the fleets; the exit status is 1 where something differs and is not written."""
    parser = argparse.ArgumentParser(
        prog="tests.parity.record", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="of an administrator")
    parser.add_argument("--write", action="store_true", help="record what is shown")
    parser.add_argument("fleets", nargs="*", metavar="FLEET", help="default: all")
    options = parser.parse_args()
    names = options.fleets or [each.name for each in folders()]
    connection = Api(Credentials(options.kubeconfig))
    differs = False
    with tempfile.TemporaryDirectory() as folder, GitServer(Path(folder)) as git:
        for name in names:
            found = run(Fleet(FLEETS / name, connection, git))
            if options.write:
                write(FLEETS / name, found)
                continue
            lines = difference(read(FLEETS / name), found)
            print(f"{name}: {'different' if lines else 'the same'}\n{lines}", flush=True)
            differs = differs or bool(lines)
    connection.close()
    return int(differs)


def folders() -> list[Path]:
    """Return the folder of each fleet."""
    return sorted(each for each in FLEETS.iterdir() if each.is_dir())


def run(fleet: Fleet) -> JsonObject:
    """Push all stages of a fleet; return what is shown after each, when it is quiet."""
    found: JsonObject = {}
    for stage in fleet.stages:
        fleet.push(stage)
        try:
            estate.until(fleet.is_settled, f"{fleet.folder.name} settles")
        except TimeoutError as error:
            raise DevclusterError(f"{error}\n{fleet.described()}") from None
        found[stage] = _quiet(fleet)
        fleet.turned()
    found["left"] = fleet.end()
    return found


def read(folder: Path) -> JsonObject:
    """Return what was recorded of a fleet."""
    recorded: JsonObject = orjson.loads((folder / "expected.json").read_bytes())
    return recorded


def write(folder: Path, found: JsonObject) -> None:
    """Record what was found of a fleet."""
    (folder / "expected.json").write_bytes(_dump(found))


def _quiet(fleet: Fleet) -> JsonObject:
    pause = threading.Event()
    shown = fleet.shown()
    while True:
        pause.wait(_QUIET_S)
        again = fleet.shown()
        if again == shown:
            return shown
        shown = again


def difference(recorded: object, found: object) -> str:
    """Return in lines what was found otherwise than it was recorded; empty where nothing was."""
    before, after = (_dump(each).decode().splitlines() for each in (recorded, found))
    return "\n".join(difflib.unified_diff(before, after, "recorded", "found", lineterm=""))


def _dump(found: object) -> bytes:
    return orjson.dumps(
        found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    )


if __name__ == "__main__":
    sys.exit(main())
