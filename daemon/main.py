"""Starts the daemon: settings, log, data directory, loop; and says in one line what is missing."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from daemon import app, control, datadir, memory, server, settings
from runtime import logs

if TYPE_CHECKING:
    from pathlib import Path

FAILED = 1
WRONG_SETTINGS = 2


def run(config: Path) -> int:
    """Run the daemon in the foreground until it is told to stop.

    Args:
        config: the configuration file.

    Returns:
        The exit status: 0 after an orderly stop, 1 if it could not start, 2 for wrong settings.
    """
    try:
        loaded = settings.load(config)
    except settings.SettingsError as err:
        return _refuse(str(err), WRONG_SETTINGS)
    memory.limit_arenas()
    logs.configure(loaded.daemon.log_level)
    try:
        with datadir.hold(loaded.data_dir):
            asyncio.run(app.App(config, loaded).run())
    except (datadir.DataDirError, server.ListenError, control.ControlError) as err:
        return _refuse(str(err), FAILED)
    return 0


def _refuse(message: str, status: int) -> int:
    print(f"gitopsd: {message}", file=sys.stderr)  # noqa: T201 - the log may not be there yet
    return status
