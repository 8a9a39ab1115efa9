"""What pods on paper have printed: one file for all of them, in the format of a kubelet's logs.

Containers named ``sidecar`` have a file of their own. kwok reads a file whenever it is asked for a
log, so what `write` writes is what every pod has printed from then on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIDECAR: Final = "sidecar"
_MAIN: Final = "container"
_DEFAULTS: Final = {_MAIN: "nothing was run: this pod exists on paper alone", SIDECAR: "ready"}


def configure(folder: Path) -> Path:
    """Write kwok's configuration of logs, and logs where there are none; return its path."""
    for name, text in _DEFAULTS.items():
        if not _log(folder, name).exists():
            write(folder, [text], container=name)
    logs = [
        {"logsFile": str(_log(folder, _MAIN))},
        {"logsFile": str(_log(folder, SIDECAR)), "containers": [SIDECAR]},
    ]
    config = {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "pods"},
        "spec": {"logs": logs},
    }
    path = folder / "pod-logs.json"
    path.write_text(json.dumps(config))
    return path


def write(folder: Path, lines: Iterable[str], *, container: str = _MAIN) -> None:
    """Let every pod have printed some lines.

    Args:
        folder: of the cluster.
        lines: what they print.
        container: `SIDECAR` for those of that name; all others by default.
    """
    text = "".join(f"2026-01-01T00:00:00.000000000Z stdout F {line}\n" for line in lines)
    _log(folder, container).write_text(text)


def _log(folder: Path, container: str) -> Path:
    return folder / f"{container}.log"
