"""Measures a reconciler and prints a table: ``python -m bench``.

Without arguments it measures our own daemon on a cluster of its own. With ``--hook URL`` and
``--pids FILE`` it measures whatever serves the cluster of ``--kubeconfig`` and calls its Receivers
below that URL.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import bed as beds
from bench import sources
from bench.crowd import Crowd
from bench.releases import Releases
from bench.table import markdown
from bench.trial import Result, Trial
from devcluster import memory
from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_OWN_TABLES = {"sources", "releases"}
_CROWDS = {100: 4.0, 300: 12.0}


def main() -> int:
    """Run the benchmark; the exit status is 1 when it could not be run to its end."""
    options = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gitopsd-bench-"))
    try:
        with _bed(options, folder) as bed:
            _measure(bed, options)
    except KeyboardInterrupt:
        return 130
    except (DevclusterError, TimeoutError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        log = folder / "gitopsd" / "gitopsd.log"
        if log.exists():
            print("\n".join(log.read_text().splitlines()[-15:]), file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _measure(bed: beds.Bed, options: argparse.Namespace) -> None:
    bed.count()
    idle = Result("resident memory, idle", memory.resident_mib(bed.pids), limit=80.0, unit="MiB")
    crowd = [idle]
    for size in options.crowds:
        _say(f"{size} Kustomizations")
        crowd += Crowd(bed, size, _CROWDS.get(size, size * 0.04)).run()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    print(markdown("With no objects, and with many Kustomizations", {"": crowd}), flush=True)
    if "sources" in options.fixtures:
        print(markdown("Sources", {"": sources.rows(bed, _say)}), flush=True)
    if "releases" in options.fixtures:
        print(markdown("Releases", {"": Releases(bed, _say).rows()}), flush=True)
    for fixture in [each for each in options.fixtures if each not in _OWN_TABLES]:
        columns = {
            f"n={size}": Trial(
                bed,
                size,
                has_kustomization=fixture == "kustomize",
                rounds=options.rounds,
                say=_say,
            ).run()
            for size in options.sizes
        }
        title = "A kustomization.yaml of n files" if fixture == "kustomize" else "A plain directory"
        print(markdown(f"{title}, n ConfigMaps", columns), flush=True)


def _bed(options: argparse.Namespace, folder: Path) -> AbstractContextManager[beds.Bed]:
    if not options.hook:
        _say("starting a cluster and gitopsd")
        return beds.ours(folder)
    return beds.theirs(options.kubeconfig, options.hook, options.pids, folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=_numbers, default=[100, 1000], help="default: 100,1000")
    parser.add_argument("--crowds", type=_numbers, default=[100, 300], help="default: 100,300")
    parser.add_argument("--rounds", type=int, default=20, help="edits by hand, default: 20")
    parser.add_argument(
        "--fixtures",
        type=lambda text: text.split(","),
        default=["plain", "kustomize", "sources", "releases"],
        help="default: plain,kustomize,sources,releases",
    )
    parser.add_argument(
        "--hook", help="base URL of the Receivers of a reconciler that runs already"
    )
    parser.add_argument("--pids", type=Path, help="file with its process ids, one a line")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        default=Path(os.environ.get("KUBECONFIG", Path.home() / ".kube" / "config")),
        help="of the cluster that it serves; default: $KUBECONFIG",
    )
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
