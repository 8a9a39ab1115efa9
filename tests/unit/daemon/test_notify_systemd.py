from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from daemon import notify_systemd

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_state_reaches_the_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)

        assert notify_systemd.send("READY=1\nSTATUS=2 clusters")

        assert manager.recv(100) == b"READY=1\nSTATUS=2 clusters"


def test_nothing_is_sent_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert not notify_systemd.send("READY=1")
    assert not notify_systemd.send("READY=1", address=str(tmp_path / "gone"))


def test_watchdog_is_fed_twice_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    assert notify_systemd.watchdog_interval_s() == 30.0


def test_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify_systemd.watchdog_interval_s() is None

    monkeypatch.delenv("WATCHDOG_USEC")
    assert notify_systemd.watchdog_interval_s() is None
