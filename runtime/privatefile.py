"""Secrets as files, for programs and libraries that take nothing but a path.

Where the system can, such a file exists in memory only and ends with the process, however that
ends. Elsewhere it lies in a private temporary folder until the block is left.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def holding(content: bytes, *, mode: int = 0o600) -> Iterator[str]:
    """Lend a path under which this process and its children read some bytes.

    Args:
        content: the bytes.
        mode: of the file; 0700 for what is to be executed.
    """
    if sys.platform == "linux":
        yield from _in_memory(content, mode)
    else:
        yield from _in_folder(content, mode)


def _in_memory(content: bytes, mode: int) -> Iterator[str]:
    handle = os.memfd_create("private", os.MFD_CLOEXEC)
    try:
        os.fchmod(handle, mode)
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(content)
        # Named by our own number, so that a child which closes what it inherits can open it too.
        yield f"/proc/{os.getpid()}/fd/{handle}"
    finally:
        os.close(handle)


def _in_folder(content: bytes, mode: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "private")
        path.touch(mode=mode)
        path.write_bytes(content)
        yield str(path)
