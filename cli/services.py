"""What a service is on each platform: a file, and the commands that load it. Nothing runs here."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax import saxutils

from cli import resources
from inspection import failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LABEL = "dev.gitopsd.gitopsd"
UNIT = "gitopsd.service"
_PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""Where programs are looked for besides the folders of the shell that installs the service."""
_UNDOING = frozenset({"bootout", "disable", "stop"})


@dataclass(frozen=True, slots=True)
class Service:
    """A service of one platform.

    Args:
        path: where its file belongs.
        text: the file.
        install: commands that load it, in order.
        uninstall: commands that unload it, in order.
        status: the command that shows it.
        hint: what a person may still have to do.
    """

    path: Path
    text: str
    install: Sequence[Sequence[str]]
    uninstall: Sequence[Sequence[str]]
    status: Sequence[str]
    hint: str = ""


def choose(platform: str, *, config: Path, data_dir: Path, user: str = "") -> Service:
    """Return the service for a platform and for who asks: root gets a system unit on Linux.

    Args:
        platform: as ``sys.platform``.
        config: the configuration file the daemon will read.
        data_dir: the directory it will write.
        user: who a system unit runs as; default: who called sudo, else root.

    Raises:
        failure.UsageError: the platform has neither launchd nor systemd.
    """
    words = {
        "GITOPSD": _program(),
        "CONFIG": str(config.absolute()),
        "DATA_DIR": str(data_dir.absolute()),
        "PATH": _search_path(),
    }
    if platform == "darwin":
        return _launchd(words)
    if platform != "linux":
        raise failure.UsageError(f"services are supported on macOS and Linux, not on {platform}")
    if os.geteuid() == 0:
        return _systemd_system(words | {"USER": user or os.environ.get("SUDO_USER") or "root"})
    return _systemd_user(words)


def is_undoing(command: Sequence[str]) -> bool:
    """Tell whether a command takes something away that may be gone already."""
    return not _UNDOING.isdisjoint(command)


def _launchd(words: Mapping[str, str]) -> Service:
    """Return the agent of the user who is logged in."""
    home, domain = Path.home(), f"gui/{os.getuid()}"
    path = home / "Library/LaunchAgents" / f"{LABEL}.plist"
    words = {**words, "LOG": str(home / "Library/Logs/gitopsd.log")}
    escaped = {word: saxutils.escape(value) for word, value in words.items()}
    stop = ("launchctl", "bootout", f"{domain}/{LABEL}")
    return Service(
        path=path,
        text=_fill(resources.read(f"launchd/{LABEL}.plist"), escaped),
        install=(stop, ("launchctl", "bootstrap", domain, str(path))),
        uninstall=(stop,),
        status=("launchctl", "print", f"{domain}/{LABEL}"),
        hint=f"the log is {words['LOG']}",
    )


def _systemd_user(words: Mapping[str, str]) -> Service:
    """Return the unit of the user's own manager."""
    systemctl = ("systemctl", "--user")
    return Service(
        path=Path.home() / ".config/systemd/user" / UNIT,
        text=_fill(resources.read("systemd/user/gitopsd.service"), _quoted(words)),
        install=(
            (*systemctl, "daemon-reload"),
            (*systemctl, "enable", UNIT),
            (*systemctl, "restart", UNIT),
        ),
        uninstall=((*systemctl, "disable", "--now", UNIT), (*systemctl, "daemon-reload")),
        status=(*systemctl, "status", "--no-pager", UNIT),
        hint=f"to start it without anybody logged in: loginctl enable-linger {getpass.getuser()}",
    )


def _systemd_system(words: Mapping[str, str]) -> Service:
    """Return the unit of the machine's manager."""
    return Service(
        path=Path("/etc/systemd/system") / UNIT,
        text=_fill(resources.read("systemd/gitopsd.service"), _quoted(words)),
        install=(
            ("chown", words["USER"], words["DATA_DIR"]),
            ("systemctl", "daemon-reload"),
            ("systemctl", "enable", UNIT),
            ("systemctl", "restart", UNIT),
        ),
        uninstall=(("systemctl", "disable", "--now", UNIT), ("systemctl", "daemon-reload")),
        status=("systemctl", "status", "--no-pager", UNIT),
    )


def _quoted(words: Mapping[str, str]) -> dict[str, str]:
    """Escape what systemd would expand, and blanks, which would end a word."""
    return {
        word: value.replace("\\", "\\\\").replace("%", "%%").replace(" ", "\\x20")
        for word, value in words.items()
    }


def _fill(text: str, words: Mapping[str, str]) -> str:
    """Put the words into a file's ``@PLACES@``."""
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _program() -> str:
    """Return the absolute path of the ``gitopsd`` of this installation."""
    beside = Path(sys.executable).parent / "gitopsd"
    return str(beside) if beside.exists() else shutil.which("gitopsd") or str(beside)


def _search_path() -> str:
    """Return the installing shell's PATH and the usual folders, each once.

    Credential plug-ins of kubeconfigs lie wherever the person who installed them put them.
    """
    folders = [*os.environ.get("PATH", "").split(":"), *_PATH.split(":")]
    return ":".join(dict.fromkeys(folder for folder in folders if folder.startswith("/")))
