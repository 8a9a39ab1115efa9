"""The demo, as a newcomer runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from devcluster.cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 9


def _demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo", "--folder", folder, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def test_demo_shows_every_step_and_leaves_nothing_running(tmp_path: Path) -> None:
    demo = _demo(tmp_path / "demo")
    output, _ = demo.communicate()
    assert demo.returncode == 0, output
    table = output.partition("what happened")[2].partition("resident memory")[0]
    assert len(table.strip().splitlines()) == 1 + STEPS
    assert "FAILED" not in output
    assert Cluster(tmp_path / "demo" / "cluster").pids == {}


def test_interrupted_demo_leaves_nothing_running(tmp_path: Path) -> None:
    demo = _demo(tmp_path / "demo")
    assert demo.stdout
    while "starting gitopsd" not in (line := demo.stdout.readline()):
        assert line, "the demo ended by itself"
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate()
    assert demo.returncode == 130, output
    assert Cluster(tmp_path / "demo" / "cluster").pids == {}
    assert not (tmp_path / "demo" / "gitopsd" / "gitopsd.pid").exists()
