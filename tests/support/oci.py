"""A client of registries for tests, on threads of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.clock import SystemClock
from runtime.limits import Threads
from sources.oci.client import Registries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Asking:
    """A client and what it runs on."""

    registries: Registries
    threads: Threads


@asynccontextmanager
async def asking(clock: Clock | None = None) -> AsyncIterator[Asking]:
    """Run a client."""
    threads = Threads(2)
    registries = Registries(threads, clock or SystemClock())
    try:
        yield Asking(registries, threads)
    finally:
        await registries.aclose()
        await threads.aclose()
