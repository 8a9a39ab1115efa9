"""Programs that outlive the command that started them, and are ended by their own record alone.

A record holds the process id and the time the process started. Ids are used again by the system;
an id with another start time is somebody else's process, and is left alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devcluster.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_POLL_S = 0.02
_PROC = Path("/proc")


class Program:
    """One program of a cluster: its log, and the record of the process that runs it.

    Args:
        folder: where ``<name>.log`` and ``<name>.pid`` live.
        name: the program's name among its siblings.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._record = folder / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process, or None."""
        try:
            pid, started = self._record.read_text().split(" ", 1)
        except (FileNotFoundError, ValueError):
            return None
        is_running = bool(started) and _start_time(int(pid)) == started
        if not is_running and self._child is not None:
            # The last of its threads may outlive what the system shows of it by a moment.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(1.0)
        return int(pid) if is_running else None

    def start(
        self, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the program in a session of its own, with its output in the log."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self._record.write_text(f"{self._child.pid} {_start_time(self._child.pid)}")

    def check(self) -> None:
        """Raise when the program has ended.

        Raises:
            StartError: with the last lines of its log.
        """
        if self.pid is None:
            raise StartError(f"{self.name} ended; the end of {self.log}:\n{self.tail()}")

    def stop(self, grace_s: float = 10.0) -> None:
        """End the process if it is still ours; kill it after the grace time."""
        for number, limit in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
            pid = self.pid
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            self._wait(limit)
        self._record.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the process without a warning, as a crash would."""
        self.stop_with(signal.SIGKILL)

    def stop_with(self, number: signal.Signals) -> None:
        """Send one signal and wait up to 10 seconds for the end."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, number)
            self._wait(10.0)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _wait(self, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        pause = threading.Event()
        while self.pid is not None and time.monotonic() < deadline:
            pause.wait(_POLL_S)


def children(parent: int) -> dict[int, str]:
    """Return the processes that a process has started and that still run: ids and command names."""
    folder = _PROC / str(parent) / "task"
    if not _PROC.joinpath("self", "stat").is_file():
        return _listed(parent)
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pids = [pid for task in folder.iterdir() for pid in (task / "children").read_text().split()]
        for pid in pids:
            stat = (_PROC / pid / "stat").read_text()
            found[int(pid)] = stat[stat.index("(") + 1 : stat.rindex(")")]
    return found


def runs(pid: int) -> bool:
    """Say whether there is a process of this id that has not ended."""
    return bool(_start_time(pid))


def _listed(parent: int) -> dict[int, str]:
    answer = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,comm="], capture_output=True, text=True, check=False
    )
    rows = [line.split(None, 2) for line in answer.stdout.splitlines()]
    return {int(pid): Path(name).name for pid, of, name in rows if int(of) == parent}


def _start_time(pid: int) -> str:
    """Return a text that no other process with this id ever has; empty without such a process."""
    if (_PROC / "self" / "stat").is_file():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if fields[0] == "Z" else fields[19]
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else " ".join(started.split())
