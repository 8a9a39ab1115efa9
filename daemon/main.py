"""Starts the daemon: settings, log, data directory, loop; and says in one line what is missing."""

from __future__ import annotations

import asyncio
import sys
from concurrent import futures
from typing import TYPE_CHECKING

from daemon import datadir, memory, settings, tools
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
            return _serve(config, loaded)
    except datadir.DataDirError as err:
        return _refuse(str(err), FAILED)


def _serve(config: Path, loaded: settings.Settings) -> int:
    """Import the rest, which takes longest of all that a start does, and serve.

    Meanwhile the programs that the daemon uses are asked for their versions.
    """
    with futures.ThreadPoolExecutor(1, "tools") as thread:
        asked = thread.submit(asyncio.run, tools.look(loaded))
        from daemon import app, control, server

        programs = asked.result()
    try:
        asyncio.run(app.App(config, loaded, programs).run())
    except (server.ListenError, control.ControlError) as err:
        return _refuse(str(err), FAILED)
    return 0


def _refuse(message: str, status: int) -> int:
    print(f"gitopsd: {message}", file=sys.stderr)  # noqa: T201 - the log may not be there yet
    return status
