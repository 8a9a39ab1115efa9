"""Reading the settings again while the daemon runs: on SIGHUP or when the file changes.

What can change without a restart: clusters, the webhook secret, the log level. A wrong file is
reported and changes nothing; of a right one that needs a restart, that is said.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from daemon import github, settings

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.fleet import Fleet
    from sources.auth.machine_app import MachineApp

logger = logging.getLogger(__name__)

LOOK_S = 2.0
"""Seconds between two looks at the file's modification time."""
_FIXED = ("listen", "tools", "limits")
"""Tables that are read at the start only."""


class Reload:
    """The settings as they are now, and the way to newer ones.

    Args:
        path: the file.
        loaded: what was read from it at the start.
    """

    def __init__(self, path: Path, loaded: settings.Settings) -> None:
        self.path = path
        self.error = ""
        """Why the file as it is now is not in use; empty while it is."""
        self._settings = loaded
        self._asked = asyncio.Event()
        self._seen = _stamp(path)

    def ask(self) -> str:
        """Ask for the file to be read now; return a line for whoever asked."""
        self._asked.set()
        return f"reading {self.path}"

    def github_secret(self) -> bytes | None:
        """Return the secret of GitHub's webhook as its file has it now; None for none."""
        file = self._settings.github.webhook_secret_file
        if file is None:
            return None
        try:
            return settings.read_secret(file)
        except settings.SettingsError as err:
            logger.warning("webhook secret cannot be read", extra={"reason": str(err)})
            return None

    def age_key(self) -> bytes | None:
        """Return the daemon-wide age key as its file has it now; None for none. Blocks.

        Raises:
            ValueError: the file cannot be used.
        """
        file = self._settings.decryption.age_key_file
        try:
            return settings.read_secret(file) if file else None
        except settings.SettingsError as err:
            raise ValueError(str(err)) from err

    def github_app(self) -> MachineApp | None:
        """Return the GitHub App of the settings, its key as the file has it now; None for none.

        Raises:
            CredentialsError: it cannot be used.
        """
        return github.machine_app(self._settings.github)

    async def follow(self, clusters: Fleet) -> None:
        """Apply newer settings until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._asked.wait()
            stamp = await asyncio.to_thread(_stamp, self.path)
            if self._asked.is_set() or stamp != self._seen:
                self._asked.clear()
                self._seen = stamp
                await self._apply(clusters)

    async def _apply(self, clusters: Fleet) -> None:
        """Read the file, and if it is right make it so."""
        try:
            loaded = await asyncio.to_thread(settings.load, self.path)
        except settings.SettingsError as err:
            self.error = str(err)
            logger.error("settings are wrong, the old ones stay", extra={"reason": self.error})  # noqa: TRY400 - what a person wrote, no traceback
            return
        before, self._settings, self.error = self._settings, loaded, ""
        fixed = [name for name in _FIXED if getattr(before, name) != getattr(loaded, name)]
        if before.daemon.data_dir != loaded.daemon.data_dir:
            fixed.append("daemon.data_dir")
        if fixed:
            self.error = f"restart the daemon for changes in: {', '.join(fixed)}"
            logger.warning("settings need a restart", extra={"tables": fixed})
        logging.getLogger().setLevel(loaded.daemon.log_level.upper())
        await clusters.apply(loaded.clusters)
        clusters.retry()
        logger.info("settings read", extra={"clusters": len(loaded.clusters)})


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written or replaced."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
