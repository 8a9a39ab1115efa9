"""Where the machine's files lie: one rule per platform, so that CLI, service and daemon agree.

A setting's path may use ``~`` and ``$VARIABLES``; both are expanded once, when it is read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONFIG_VARIABLE = "GITOPSD_CONFIG"
"""Environment variable that names the configuration file."""
_SYSTEM_CONFIG = Path("/etc/gitopsd/config.toml")
_SYSTEM_DATA = Path("/var/lib/gitopsd")


def expand(text: str) -> Path:
    """Expand ``~`` and ``$VARIABLES`` of a path written by a person.

    Raises:
        ValueError: a variable is not set, so that the path would name something else.
    """
    expanded = os.path.expandvars(text)
    if "$" in expanded:
        raise ValueError(f"{text!r} uses an environment variable that is not set")
    return Path(expanded).expanduser()


def default_config(*, platform: str = sys.platform) -> Path:
    """Return the configuration file that is read when none is named.

    ``$GITOPSD_CONFIG``, else the user's own file where the platform keeps such files, else, for
    root on Linux, ``/etc/gitopsd/config.toml``.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return expand(named)
    if platform == "darwin":
        return Path("~/Library/Application Support/gitopsd/config.toml").expanduser()
    if os.geteuid() == 0:
        return _SYSTEM_CONFIG
    return _xdg("XDG_CONFIG_HOME", "~/.config") / "config.toml"


def default_data_dir(*, platform: str = sys.platform) -> Path:
    """Return the data directory that is used when ``[daemon] data_dir`` names none."""
    if platform == "darwin":
        return Path("~/Library/Application Support/gitopsd").expanduser()
    if os.geteuid() == 0:
        return _SYSTEM_DATA
    return _xdg("XDG_DATA_HOME", "~/.local/share")


def _xdg(variable: str, fallback: str) -> Path:
    """Return our folder under an XDG base directory; relative values are ignored, as XDG says."""
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else Path(fallback).expanduser()) / "gitopsd"
