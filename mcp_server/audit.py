"""The audit log: one JSON line for every write, with what was asked and what came of it.

Secrets are masked before a line is made; a manifest is told by its length alone. The file has mode
0600 and is only ever added to.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from inspection import masking
from runtime.clock import rfc3339

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.clock import Clock


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line."""

    time: str
    who: str
    tool: str
    cluster: str
    arguments: dict[str, Any]
    outcome: str
    """``done``, ``refused`` (nothing was sent), ``failed`` or ``interrupted``."""
    result: str


class Audit:
    """Adds lines to a file.

    Args:
        path: the file; its folder is made when it is missing.
        clock: the time.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()

    def note(self, who: str, tool: str, given: dict[str, Any], outcome: str, result: str) -> None:
        """Write one line. Blocking.

        Args:
            who: the client.
            tool: what it called.
            given: the arguments as they came.
            outcome: see `Entry`.
            result: the first lines of the answer.
        """
        entry = Entry(
            time=rfc3339(self._clock.now()),
            who=who,
            tool=tool,
            cluster=str(given.get("cluster") or ""),
            arguments=masking.arguments(given),
            outcome=outcome,
            result=masking.text(result)[:500],
        )
        line = msgspec.json.encode(entry) + b"\n"
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            file = os.open(self.path, flags, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
