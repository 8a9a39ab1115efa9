"""The error taxonomy: the leaf decides what happens next (see ``runtime/controller.py``).

::

    GitOpsError(reason, message)
    ├── TransientError    the world may answer better later: rate-limited, or ``retry_after_s``
    ├── WaitingError      something else has to happen first: fixed delay, failures forgotten
    ├── TerminalError     only a change of the object or of its source can help: no retry
    └── SupersededError   newer input arrived while this one was worked on: at once, not an error
"""

from __future__ import annotations

import asyncio


class GitOpsError(Exception):
    """A failure with a condition reason and a message fit for users.

    Args:
        reason: the PascalCase reason of the Ready condition.
        message: lower case, says what to do, holds no secret, no manifest and no URL credentials.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TransientError(GitOpsError):
    """A failure that may pass by itself: network, 5xx, conflict, throttling, time-out.

    Args:
        reason: see `GitOpsError`.
        message: see `GitOpsError`.
        retry_after_s: seconds until the next try where the other side, or the API's contract,
            fixes it; otherwise the queue's rate limiter decides.
    """

    def __init__(self, reason: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class WaitingError(GitOpsError):
    """Something else must happen first: a dependency, an artifact, a gate.

    Args:
        reason: see `GitOpsError`.
        message: see `GitOpsError`.
        requeue_after_s: seconds until the next look, should nothing wake the object before.
    """

    def __init__(self, reason: str, message: str, *, requeue_after_s: float) -> None:
        super().__init__(reason, message)
        self.requeue_after_s = requeue_after_s


class TerminalError(GitOpsError):
    """A bad spec, or input that only Git can mend.

    The object is Stalled until its generation, its revision or its request annotation changes.
    """


class SupersededError(GitOpsError):
    """Newer input arrived; the run ends where it is and starts again at once."""


def is_cancelled() -> bool:
    """Whether somebody asked the current task to end."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def unasked_cancellation(error: asyncio.CancelledError) -> RuntimeError | None:
    """Return the bug behind a cancellation that nobody asked for, None where somebody did.

    Awaiting something that was cancelled raises the same exception as being cancelled. A guard that
    lets the first pass ends silently what it was to keep alive.

    Args:
        error: what the current task has just caught.
    """
    if is_cancelled():
        return None
    bug = RuntimeError("something that this work awaited had been cancelled")
    bug.__cause__ = error
    return bug
