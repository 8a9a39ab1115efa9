"""A machine that runs out of room.

::

    with room(100_000), pytest.raises(OSError):
        path.write_bytes(b"x" * 200_000)
"""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size; the system refuses as it does a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
