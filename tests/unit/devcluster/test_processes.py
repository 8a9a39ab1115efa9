"""Programs are ended by their own record, and nobody else's process ever is."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from devcluster import processes
from devcluster.errors import StartError
from devcluster.processes import Program

if TYPE_CHECKING:
    from pathlib import Path

_SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
_IGNORING = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
_STUBBORN = [sys.executable, "-c", f"{_IGNORING}\nwhile True: signal.pause()"]


def _started(folder: Path, command: list[str]) -> Program:
    program = Program(folder, "sleeper")
    program.start(command)
    while "up" not in program.tail():
        program.check()
    return program


def test_started_program_is_found_and_ended_by_its_record(tmp_path: Path) -> None:
    first = _started(tmp_path, _SLEEPER)
    again = Program(tmp_path, "sleeper")
    assert again.pid == first.pid is not None
    first.stop()
    assert again.pid is None
    assert not (tmp_path / "sleeper.pid").exists()


def test_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    program = _started(tmp_path, _STUBBORN)
    program.stop(grace_s=0.05)
    assert program.pid is None


def test_kill_leaves_the_record_of_a_process_that_is_gone(tmp_path: Path) -> None:
    program = _started(tmp_path, _SLEEPER)
    program.kill()
    assert program.pid is None


def test_process_with_another_start_time_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(_SLEEPER, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout
        stranger.stdout.readline()
        (tmp_path / "sleeper.pid").write_text(f"{stranger.pid} long ago")
        Program(tmp_path, "sleeper").stop()
        assert stranger.poll() is None
        stranger.kill()


def test_unreadable_record_is_no_process(tmp_path: Path) -> None:
    (tmp_path / "sleeper.pid").write_text("nonsense")
    assert Program(tmp_path, "sleeper").pid is None


def test_check_shows_the_end_of_the_log(tmp_path: Path) -> None:
    program = Program(tmp_path, "failing")
    program.start([sys.executable, "-c", "raise SystemExit('no such port')"])
    with pytest.raises(StartError, match="no such port"):
        _check_until_it_fails(program)


def test_stopping_what_never_ran_does_nothing(tmp_path: Path) -> None:
    Program(tmp_path, "nothing").stop()


def _check_until_it_fails(program: Program) -> None:
    while True:
        program.check()


def test_children_of_a_process_are_found_until_they_end(tmp_path: Path) -> None:
    program = _started(tmp_path, _SLEEPER)
    pid = program.pid
    assert pid is not None
    assert pid in processes.children(os.getpid())
    assert processes.children(pid) == {}
    assert processes.runs(pid)
    program.kill()
    assert pid not in processes.children(os.getpid())
    assert not processes.runs(pid)
