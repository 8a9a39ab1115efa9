"""The data directory: made private, proven writable, and held by one process at a time.

Exception tree::

    DataDirError    the directory cannot be used; the message says why and what to do
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAST_FREE_BYTES = 64 * 1024 * 1024
"""Below this the daemon does not start: a clone would fill the disk and fail half way."""


class DataDirError(Exception):
    """The data directory cannot be used."""


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Make the directory if need be and hold it until the block ends.

    The lock belongs to the process and goes with it, also after ``kill -9``.

    Raises:
        DataDirError: it cannot be made or written, its disk is full, or another daemon holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise DataDirError(_reason(directory, err)) from err
    try:
        _lock(lock, directory)
        free = shutil.disk_usage(directory).free
        if free < LEAST_FREE_BYTES:
            raise DataDirError(
                f"data directory {directory}: only {free // 2**20} MiB are free on its disk; "
                "make room, or set [daemon] data_dir to another disk"
            )
        yield
    finally:
        os.close(lock)


def identity(directory: Path) -> str:
    """Return who this daemon is to other daemons, the same across restarts of one data directory.

    A Lease that a killed daemon left behind is thereby known as its own, and taken up at once.

    Raises:
        DataDirError: the file that remembers it cannot be written.
    """
    file = directory / "identity"
    try:
        if not file.exists():
            file.write_text(f"gitopsd_{socket.gethostname().partition('.')[0]}_{uuid.uuid4()}\n")
        return file.read_text().strip()
    except OSError as err:
        raise DataDirError(_reason(directory, err)) from err


def _lock(lock: int, directory: Path) -> None:
    """Take the lock and write our process id into it, for the message of the next who tries."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        raise DataDirError(
            f"data directory {directory}: a gitopsd with process id {holder} is using it already; "
            "stop that one, or give this one another [daemon] data_dir"
        ) from err
    except OSError as err:
        raise DataDirError(_reason(directory, err)) from err
    try:
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except OSError as err:
        raise DataDirError(_reason(directory, err)) from err


def _reason(directory: Path, err: OSError) -> str:
    """Say what is wrong with the directory, and what to do."""
    if err.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        what = "is not writable; give it to this user, or set [daemon] data_dir"
    elif err.errno in {errno.ENOSPC, errno.EDQUOT}:
        what = "is on a full disk; make room, or set [daemon] data_dir to another disk"
    else:
        what = err.strerror or str(err)
    return f"data directory {directory}: {what}"
