"""Says on a terminal what takes longer than a second, and takes it back when it is done."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_S: Final = 1.0
_CLEAR: Final = "\r\x1b[K"


@contextmanager
def shown(doing: str) -> Iterator[None]:
    """Show what is being done while a block of a running loop takes its time.

    Nothing is shown where standard error is no terminal.

    Args:
        doing: in words, such as ``asking home``.
    """
    if not sys.stderr.isatty():
        yield
        return
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    is_visible = False
    timer: asyncio.TimerHandle | None = None

    def show() -> None:
        nonlocal timer, is_visible
        is_visible = True
        sys.stderr.write(f"{_CLEAR}… {doing}, {loop.time() - started_s:.0f} s")
        sys.stderr.flush()
        timer = loop.call_later(_FIRST_S, show)

    timer = loop.call_later(_FIRST_S, show)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        if is_visible:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
