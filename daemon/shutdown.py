"""Stopping in named stages, each with a deadline, so that a stop takes seconds and loses nothing.

A stage that overruns is cut off and the next one begins; a second signal cuts the current stage
off at once. Nothing that must be true after a stop depends on a stage finishing: the next start
converges from whatever is left.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a stop.

    Args:
        name: what the log calls it.
        deadline_s: seconds after which it is cut off.
        run: the work; cancelled at the deadline.
    """

    name: str
    deadline_s: float
    run: Callable[[], Awaitable[None]]


class Shutdown:
    """Knows whether a stop was asked for, and runs its stages."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        """Set by the first request."""
        self.reason = ""
        """What asked for the stop, for example ``SIGTERM``."""
        self._timeout: asyncio.Timeout | None = None

    def request(self, reason: str) -> None:
        """Ask for the stop; asked again while a stage runs, cut that stage off.

        Args:
            reason: what asks, for the log.
        """
        if not self.requested.is_set():
            self.reason = reason
            self.requested.set()
        elif self._timeout:
            log.warning("shutdown stage skipped", extra={"reason": reason})
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def run(self, stages: Sequence[Stage]) -> list[str]:
        """Run the stages in order.

        Returns:
            The names of the stages that were cut off or failed.
        """
        unfinished = []
        for stage in stages:
            try:
                async with asyncio.timeout(stage.deadline_s) as self._timeout:
                    await stage.run()
            except TimeoutError:
                log.warning("shutdown stage cut off", extra={"stage": stage.name})
                unfinished.append(stage.name)
            except Exception:
                log.exception("shutdown stage failed", extra={"stage": stage.name})
                unfinished.append(stage.name)
            finally:
                self._timeout = None
        return unfinished
