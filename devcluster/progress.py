"""Says what is going on while something takes long: one line that updates, or lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_LOG_EVERY_S = 15.0


class Progress:
    """Reports one long piece of work.

    A terminal gets one line that is rewritten; anything else gets a line every 15 seconds, so that
    a log stays short and nobody takes a long build for a hang.

    Args:
        title: what is being done, as a phrase without a full stop.
        out: where to say it.
    """

    def __init__(self, title: str, out: TextIO = sys.stderr) -> None:
        self._title = title
        self._out = out
        self._rewrites = out.isatty()
        self._start = time.monotonic()
        self._due = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._start

    def say(self, detail: str = "") -> None:
        """Show how far the work is; cheap enough to be called for every step."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (0.1 if self._rewrites else _LOG_EVERY_S)
        self._write(detail)

    def done(self, detail: str = "done") -> None:
        """Show the end of the work, always."""
        self._write(detail)
        if self._rewrites:
            print(file=self._out, flush=True)

    def _write(self, detail: str) -> None:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        line = f"{self._title} [{minutes}:{seconds:02}] {detail}".rstrip()
        if self._rewrites:
            print(f"\r\033[K{line[:118]}", end="", file=self._out, flush=True)
        else:
            print(line, file=self._out, flush=True)
