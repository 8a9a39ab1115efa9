"""What processes take: memory, also of the children they start for a moment, and time."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_EVERY_S = 0.02
_MIB = 1024.0


def resident_mib(pids: Iterable[int]) -> float:
    """Return the resident memory of processes in MiB, added up; one that is gone counts as 0."""
    return sum(_resident_kib(pid) for pid in pids) / _MIB


def cpu_s(pids: Iterable[int]) -> float:
    """Return the processor seconds that processes have used so far, added up."""
    return sum(_cpu_s(pid) for pid in pids)


class Peak:
    """Watches what processes start while a block runs.

    Args:
        pids: the processes whose descendants' common peak is `children_mib`.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self.children_mib = 0.0
        self._pids = set(pids)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory")

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            size = resident_mib(_descendants(self._pids))
            self.children_mib = max(self.children_mib, size)


def _descendants(roots: set[int]) -> set[int]:
    family, found = set(roots), set(roots)
    while found:
        found = {child for pid in found for child in _children(pid)} - family
        family |= found
    return family - roots


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    if Path("/proc/self/task").is_dir():
        try:
            texts = [(task / "children").read_text() for task in tasks.iterdir()]
        except OSError:
            return []
        return [int(child) for text in texts for child in text.split()]
    return [int(child) for child in _output("pgrep", "-P", str(pid)).split()]


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if Path("/proc/self/status").is_file():
        try:
            text = status.read_text()
        except OSError:
            return 0
        return int(text.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in text else 0
    return int(_output("ps", "-o", "rss=", "-p", str(pid)).strip() or 0)


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat")
    if stat.is_file():
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    seconds = 0.0
    for part in _output("ps", "-o", "time=", "-p", str(pid)).strip().replace("-", ":").split(":"):
        seconds = seconds * 60 + float(part or 0)
    return seconds


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
