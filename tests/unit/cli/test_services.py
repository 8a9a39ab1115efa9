from __future__ import annotations

import configparser
import os
import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest

from cli import services
from inspection import failure

CONFIG = Path("/home/ann/my config.toml")
DATA = Path("/home/ann/data")
LAUNCHD = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": bool,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "SoftResourceLimits": dict,
    "Umask": int,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}
"""Keys and types as launchd.plist(5) has them; launchd ignores what it does not know in silence."""


def systemd(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read_string(text)
    return parser


def test_launchd_agent_runs_the_daemon_and_keeps_it_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/Users/ann & bob")

    service = services.choose("darwin", config=CONFIG, data_dir=DATA)
    agent = plistlib.loads(service.text.encode())

    assert service.path == Path("/Users/ann & bob/Library/LaunchAgents/dev.gitopsd.gitopsd.plist")
    assert agent["Label"] == services.LABEL
    assert agent["ProgramArguments"][1:] == ["run", "--config", "/home/ann/my config.toml"]
    assert agent["KeepAlive"] is True
    assert agent["StandardErrorPath"] == "/Users/ann & bob/Library/Logs/gitopsd.log"
    assert service.install[0][1] == "bootout"
    assert service.install[1][1] == "bootstrap"
    assert {key: type(value) for key, value in agent.items()} == LAUNCHD
    assert agent["ProcessType"] in {"Background", "Standard", "Adaptive", "Interactive"}
    assert agent["Umask"] == 0o077


def test_root_on_linux_gets_a_hardened_system_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)

    service = services.choose("linux", config=CONFIG, data_dir=DATA, user="ann")
    unit = systemd(service.text)["Service"]

    assert service.path == Path("/etc/systemd/system/gitopsd.service")
    assert unit["Type"] == "notify"
    assert unit["User"] == "ann"
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["ProtectSystem"] == "strict"
    assert unit["ReadWritePaths"] == "/home/ann/data"
    assert "MemoryMax" in unit
    assert "WatchdogSec" in unit
    assert unit["ExecStart"].endswith(r"run --config /home/ann/my\x20config.toml")
    assert ("chown", "ann", "/home/ann/data") in service.install


def test_user_on_linux_gets_a_user_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/ann")

    service = services.choose("linux", config=CONFIG, data_dir=DATA)

    assert service.path == Path("/home/ann/.config/systemd/user/gitopsd.service")
    assert systemd(service.text)["Install"]["WantedBy"] == "default.target"
    assert all(command[:2] == ("systemctl", "--user") for command in service.install)
    assert "enable-linger" in service.hint


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
@pytest.mark.parametrize(("uid", "manager"), [(0, "--system"), (1000, "--user")])
def test_systemd_finds_nothing_wrong_with_the_unit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: int, manager: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    service = services.choose("linux", config=CONFIG, data_dir=DATA, user="root")
    unit = tmp_path / "gitopsd.service"
    unit.write_text(service.text)
    done = subprocess.run(
        ["systemd-analyze", manager, "--man=no", "verify", unit],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_no_place_is_left_unfilled(platform: str) -> None:
    text = services.choose(platform, config=CONFIG, data_dir=DATA).text

    assert not [word for word in ("@GITOPSD@", "@CONFIG@", "@PATH@", "@USER@") if word in text]


def test_search_path_keeps_the_shell_s_folders_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/home/ann/.krew/bin:relative:/usr/bin")
    monkeypatch.setattr("os.geteuid", lambda: 0)

    text = services.choose("linux", config=CONFIG, data_dir=DATA).text

    assert "Environment=PATH=/home/ann/.krew/bin:/usr/bin:/opt/homebrew/bin:" in text


def test_other_platforms_are_refused() -> None:
    with pytest.raises(failure.UsageError, match="not on win32"):
        services.choose("win32", config=CONFIG, data_dir=DATA)


def test_commands_that_undo_may_find_nothing_to_undo() -> None:
    assert services.is_undoing(("launchctl", "bootout", "gui/501/x"))
    assert not services.is_undoing(("systemctl", "enable", "gitopsd.service"))
