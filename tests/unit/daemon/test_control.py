from __future__ import annotations

import asyncio
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon import control, report
from inspection import daemon_client

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.blocking("binding a socket and removing its file take microseconds")

REPORT = report.Report(
    version="0.1.0",
    pid=1,
    started="2026-01-01T00:00:00Z",
    memory_bytes=5,
    config="c.toml",
    clusters=(report.ClusterState(name="home", state="synced"),),
)


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ctl") as folder:
        yield Path(folder) / "control.sock"


def mode_of(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


def make_empty(path: Path) -> None:
    path.touch()


async def test_client_reads_what_the_daemon_says(path: Path) -> None:
    socket = control.Control(path, lambda: REPORT, lambda: "")
    await socket.open()
    try:
        assert mode_of(path) == 0o600
        assert await asyncio.to_thread(daemon_client.status, path) == REPORT
    finally:
        await socket.close()

    assert mode_of(path) is None


def test_client_finds_no_daemon_where_nothing_answers(path: Path) -> None:
    assert daemon_client.status(path) is None
    path.touch()
    assert daemon_client.status(path) is None


async def test_socket_of_a_killed_daemon_is_replaced(path: Path) -> None:
    make_empty(path)
    socket = control.Control(path, lambda: REPORT, lambda: "")

    await socket.open()

    assert await asyncio.to_thread(daemon_client.status, path) is not None
    await socket.close()


async def test_path_that_is_too_long_is_told_with_the_setting(tmp_path: Path) -> None:
    socket = control.Control(tmp_path / ("x" * 120), lambda: REPORT, lambda: "")

    with pytest.raises(control.ControlError, match=r"set \[daemon\] control_socket"):
        await socket.open()


async def test_folder_that_is_missing_is_told(path: Path) -> None:
    socket = control.Control(path.parent / "no" / "c.sock", lambda: REPORT, lambda: "")

    with pytest.raises(control.ControlError):
        await socket.open()
    await socket.close()


async def test_drifts_that_the_daemon_remembers_are_answered(path: Path) -> None:
    noted = report.Correction(
        time="2026-01-02T12:00:00Z",
        cluster="home",
        owner="Kustomization/flux-system/apps",
        object="ConfigMap/shop/a",
        change="edited",
        who="kubectl-edit",
        fields=("data.k",),
    )
    socket = control.Control(path, lambda: REPORT, lambda: "", lambda: (noted,))
    await socket.open()

    assert await asyncio.to_thread(daemon_client.drifts, path) == (noted,)
    await socket.close()
    assert await asyncio.to_thread(daemon_client.drifts, path) is None
