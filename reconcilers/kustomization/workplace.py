"""Where the builds of one cluster are made: directories that are gone afterwards, and sops.

::

    DirectoryError    there is no private directory to build in
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconcilers.kustomization import sops
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
        self._is_clean = False

    async def clean(self) -> None:
        """Remove what a killed process left behind; the first call does."""
        if not self._is_clean:
            self._is_clean = True
            await self._threads.run(self._sweep)

    def make(self, *, is_private: bool) -> Path:
        """Make a directory that only this process's user can read. Blocking.

        Args:
            is_private: whether decrypted files will lie in it, so that it should lie in memory.

        Raises:
            DirectoryError: the file system refused.
        """
        try:
            if is_private:
                return self._folders.make()
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX, dir=self._directory)))
        except OSError as err:
            raise DirectoryError(err.strerror or str(err)) from err

    def remove(self, directory: Path) -> None:
        """Remove a directory that `make` returned. Blocking."""
        shutil.rmtree(directory, ignore_errors=True)

    def _sweep(self) -> None:
        self._folders.sweep()
        for directory in self._directory.glob(f"{_PREFIX}*"):
            self.remove(directory)
