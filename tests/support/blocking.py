"""Threads for blocking calls, for the time of a test."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runtime.limits import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def threads() -> AsyncIterator[Threads]:
    """Return some, and end them however the test ends."""
    made = Threads()
    try:
        yield made
    finally:
        await made.aclose()
