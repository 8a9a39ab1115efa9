"""How the last run of each Kustomization failed, so that a drift does not start a whole run again.

A failure stands until something changes that it may depend on, or its time comes. Meanwhile a drift
is put right by itself, against what was applied last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import GitOpsError, SupersededError, TransientError, WaitingError

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Failed:
    """A run that failed."""

    circumstances: tuple[object, ...]
    """What the failure may depend on; the run is worth repeating as soon as it differs."""
    error: GitOpsError
    due_s: float
    """Monotonic seconds from which on it is tried again; infinite where only a change helps."""


class Failures:
    """The failures that stand in one cluster; lost at a restart, which tries everything anyway.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: dict[ObjectRef, Failed] = {}

    def note(self, ref: ObjectRef, circumstances: tuple[object, ...], error: GitOpsError) -> None:
        """Note how a run failed. One that something newer ended is no failure."""
        if isinstance(error, SupersededError):
            self.forget(ref)
            return
        self._failed[ref] = Failed(circumstances, error, self._clock.monotonic() + _delay_s(error))

    def get(self, ref: ObjectRef) -> Failed | None:
        """Return how the last run failed, None where it succeeded or is not known."""
        return self._failed.get(ref)

    def forget(self, ref: ObjectRef) -> None:
        """Forget a failure, because a run succeeded."""
        self._failed.pop(ref, None)

    def rest(self, failed: Failed, pause_s: float | None) -> GitOpsError:
        """Return an outcome that lets a failure stand, which has been told and counted before.

        Args:
            failed: what stands.
            pause_s: seconds after which a drift is to be put right, should that be sooner.
        """
        delay_s = min(failed.due_s - self._clock.monotonic(), pause_s or math.inf)
        if math.isinf(delay_s):
            return failed.error
        reason, message = failed.error.reason, failed.error.message
        return WaitingError(reason, message, requeue_after_s=max(delay_s, 0.001))


def _delay_s(error: GitOpsError) -> float:
    if isinstance(error, WaitingError):
        return error.requeue_after_s
    if isinstance(error, TransientError) and error.retry_after_s is not None:
        return error.retry_after_s
    return math.inf
