from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import datadir

ROOT = Path(__file__).parents[3]


def test_directory_is_made_private(tmp_path: Path) -> None:
    with datadir.hold(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_second_daemon_on_one_directory_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with (
        datadir.hold(tmp_path),
        pytest.raises(datadir.DataDirError, match=rf"process id {os.getpid()} is using it"),
        datadir.hold(tmp_path),
    ):
        pass


def test_directory_is_free_again_afterwards(tmp_path: Path) -> None:
    with datadir.hold(tmp_path):
        pass
    with datadir.hold(tmp_path):
        pass


def test_lock_of_a_killed_daemon_does_not_count(tmp_path: Path) -> None:
    script = "import sys, os, pathlib; from daemon import datadir\n"
    script += "with datadir.hold(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -9

    with datadir.hold(tmp_path):
        pass


def test_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(datadir.DataDirError, match=r"Not a directory|File exists"),
        datadir.hold(tmp_path / "file" / "data"),
    ):
        pass


def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datadir, "LEAST_FREE_BYTES", 1 << 62)

    with pytest.raises(datadir.DataDirError, match="MiB are free"), datadir.hold(tmp_path):
        pass


def test_identity_stays_the_same_across_restarts(tmp_path: Path) -> None:
    first = datadir.identity(tmp_path)

    assert first.startswith("gitopsd_")
    assert datadir.identity(tmp_path) == first


def test_two_directories_have_two_identities(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()

    assert datadir.identity(tmp_path) != datadir.identity(tmp_path / "b")
