"""Where the builds of one cluster are made: their directories, and sops.

::

    DirectoryError    there is no private directory to build in
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconcilers.kustomization import checkouts, sops
from reconcilers.kustomization.checkouts import Checkout
from reconcilers.kustomization.private import PrivateFolders

if TYPE_CHECKING:
    from runtime.limits import Processes, Threads

_PREFIX: Final = "build-"
"""How the names of build directories begin."""


class DirectoryError(Exception):
    """There is no private directory to build in."""


class Workplace:
    """What outlives a single build.

    Args:
        directory: where build directories are made; one process at a time uses it.
        program: the sops binary; None where there is none.
        processes: runs it.
        threads: works on files.
    """

    def __init__(
        self, directory: Path, program: Path | None, processes: Processes, threads: Threads
    ) -> None:
        self._directory, self._threads = directory, threads
        self._folders = PrivateFolders(directory)
        self.sops = sops.Sops(program, processes, threads, self._folders)
        """Decrypts, and remembers in memory what it did."""
        self._checkouts = checkouts.Checkouts()
        self._cleaning, self._is_clean = asyncio.Lock(), False

    async def clean(self) -> None:
        """Remove what a killed process left behind; the first call does, and the others wait.

        Who did not wait could see a directory go that it has just made.
        """
        async with self._cleaning:
            if not self._is_clean:
                await self._threads.run(self._sweep)
                self._is_clean = True

    async def take(self, name: str, *, is_private: bool) -> Checkout:
        """Return a directory to build in, which only this process's user can read.

        Args:
            name: of the build; what is kept of its last one is used again.
            is_private: whether decrypted files will lie in it, so that it should lie in memory.

        Raises:
            DirectoryError: the file system refused.
        """
        if not is_private and (kept := self._checkouts.take(name)):
            return kept
        return Checkout(await self._threads.run(self._make, is_private))

    async def give(self, name: str, checkout: Checkout, *, is_kept: bool) -> None:
        """Take back what `take` returned.

        Args:
            name: of the build.
            checkout: the directory.
            is_kept: whether the next build may use it; otherwise it is removed.
        """
        dropped = self._checkouts.give(name, checkout) if is_kept else [checkout]
        for each in dropped:
            await self._threads.run(_remove, each.directory)

    async def drop(self, name: str) -> None:
        """Remove what is kept of a build."""
        if kept := self._checkouts.take(name):
            await self._threads.run(_remove, kept.directory)

    def _make(self, is_private: bool) -> Path:
        try:
            if is_private:
                return self._folders.make()
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX, dir=self._directory)))
        except OSError as err:
            raise DirectoryError(err.strerror or str(err)) from err

    def _sweep(self) -> None:
        self._folders.sweep()
        for directory in self._directory.glob(f"{_PREFIX}*"):
            _remove(directory)


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
