"""Private folders for what must not stay: keys while a program uses them, decrypted files.

They lie in memory where the system has a file system for that, else in the temporary folder, are
readable by this user alone, and are removed after use. What a killed process left behind is removed
by the next one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it, mode 0700


class PrivateFolders:
    """Makes and removes private folders. Every method blocks on the file system.

    Args:
        owner: a folder that one process at a time uses; it tells our leftovers from others'.
    """

    def __init__(self, owner: Path) -> None:
        tag = hashlib.blake2b(os.fsencode(owner), digest_size=6).hexdigest()
        self._prefix = f"gitopsd-{tag}-"

    def make(self) -> Path:
        """Make a folder; its path is short enough for sockets in it.

        Raises:
            OSError: the file system refused.
        """
        return Path(os.path.realpath(tempfile.mkdtemp(prefix=self._prefix, dir=_parent())))

    def remove(self, folder: Path) -> None:
        """Remove a folder with everything in it."""
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what an earlier process left behind; before the first `make`."""
        for folder in _parent().glob(f"{self._prefix}*"):
            if folder.lstat().st_uid == os.geteuid():
                self.remove(folder)


def _parent() -> Path:
    is_usable = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK)
    return _MEMORY if is_usable else Path(tempfile.gettempdir())
