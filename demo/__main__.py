"""Runs the demo: ``python -m demo [--pods] [--keep] | --down``."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demo import steps
from demo.stand import Stand
from devcluster import access, accounting, memory
from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_FOLDER = Path(".run/demo")
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table at the end."""

    title: str
    seconds: float
    requests: int
    managed: int
    error: str = ""


def main() -> int:
    """Run the demo; the exit status is 1 when a step did not happen."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--pods", action="store_true", help="with pods that become Ready")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument("--down", action="store_true", help="end what --keep left running")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="where it all lives")
    options = parser.parse_args()
    stand = Stand(options.folder, pods=options.pods)
    if options.down:
        stand.stop()
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    keeps = False
    try:
        is_good = _perform(stand)
        keeps = options.keep
    except KeyboardInterrupt:
        print("\ninterrupted; stopping what was started")
        return 130
    except (DevclusterError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        if not keeps:
            stand.stop()
    if keeps:
        _print_commands(stand)
    return 0 if is_good else 1


def _perform(stand: Stand) -> bool:
    """Start everything, take the steps, print the table; say whether all of it happened."""
    start = time.monotonic()
    stand.start(lambda text: print(f"[{time.monotonic() - start:5.1f} s] {text}", flush=True))
    accounting.settled(stand.requests)
    idle = _resident_mib(stand)
    rows: list[Row] = []
    for title, step in steps.STEPS:
        rows.append(_take(stand, title, step))
        row = rows[-1]
        print(f"[{time.monotonic() - start:5.1f} s] {row.error or title}", flush=True)
        if row.error:
            print(f"--- the end of {stand.daemon.log}:\n{stand.daemon.tail()}", file=sys.stderr)
            if step is steps.apply_instance:
                break
    _print_table(rows)
    print(f"resident memory: {idle:.0f} MiB before, {_resident_mib(stand):.0f} MiB after all of it")
    return not any(row.error for row in rows)


def _take(stand: Stand, title: str, step: Callable[[Stand], float]) -> Row:
    try:
        seconds, error = step(stand), ""
    except (DevclusterError, TimeoutError) as failure:
        seconds, error = 0.0, f"FAILED: {title}: {failure}"
    counts = accounting.settled(stand.requests)
    return Row(title, seconds, counts.total(), accounting.managed(counts), error)


def _print_table(rows: list[Row]) -> None:
    width = max(len(row.title) for row in rows)
    print(f"\n{'what happened':{width}}  {'took':>8}  {'API requests':>12}  of managed objects")
    for row in rows:
        took = "FAILED" if row.error else _duration(row.seconds)
        print(f"{row.title:{width}}  {took:>8}  {row.requests:12}  {row.managed:18}")
    print()


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * _MILLISECONDS:.0f} ms"


def _print_commands(stand: Stand) -> None:
    kubectl = "kubectl" if shutil.which("kubectl") else str(access.program("kubectl"))
    print(f"""
Everything goes on running. To look around:

    export KUBECONFIG={stand.cluster.kubeconfig}
    {kubectl} get kustomizations,gitrepositories,fluxinstances -A
    {kubectl} -n shop get deployments,services,configmaps
    {stand.daemon.command} status --config {stand.daemon.config}
    curl http://127.0.0.1:{stand.daemon.metrics_port}/metrics
    tail -f {stand.daemon.log}

Change something in {stand.repo.work}, commit, `git push`, and wait a minute at most:
no Git provider posts the webhook for you here. `make demo-down` ends it.""")


def _resident_mib(stand: Stand) -> float:
    return memory.resident_mib([stand.daemon.pid] if stand.daemon.pid else [])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
