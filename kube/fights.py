"""Backs off from corrections that somebody else undoes again and again.

The first few corrections of an object are free, since people edit by hand and a typo is worth
putting back at once. When the same other manager keeps writing, the pause before the next
correction doubles, and the fight is worth telling once, with both names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

    from runtime.clock import Clock

FREE_CORRECTIONS: Final = 3
FIRST_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 300.0
QUIET_S: Final = 60.0
"""An object that nobody touched for this long after its last allowed correction is at peace."""


class Verdict(NamedTuple):
    """What to do about one correction."""

    delay_s: float
    """Seconds to wait before correcting; 0 means now."""
    is_news: bool
    """Whether this is the moment to tell people about the fight, which comes once a fight."""


@dataclass(slots=True)
class _Fight:
    opponent: str
    corrections: int
    at_peace: float
    """Monotonic seconds at which the fight counts as over."""


class Fights:
    """The fights of one cluster; holds an entry only for objects corrected a short while ago.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fights: dict[Hashable, _Fight] = {}

    def correct(self, obj: Hashable, opponent: str) -> Verdict:
        """Count a correction that is about to be made.

        Args:
            obj: the object somebody changed, with whatever else tells it from others.
            opponent: the manager that changed it, or another name for who did.
        """
        now = self._clock.monotonic()
        self._forget(now)
        fight = self._fights.get(obj)
        if fight is None or fight.opponent != opponent:
            fight = self._fights[obj] = _Fight(opponent, 0, now)
        fight.corrections += 1
        delay = delay_s(fight.corrections)
        fight.at_peace = now + delay + max(QUIET_S, 2 * delay)
        return Verdict(delay, fight.corrections == FREE_CORRECTIONS + 1)

    def forget(self, obj: Hashable) -> None:
        """Drop what is known of an object, because it is no longer ours."""
        self._fights.pop(obj, None)

    def _forget(self, now: float) -> None:
        for obj in [obj for obj, fight in self._fights.items() if fight.at_peace < now]:
            del self._fights[obj]


def delay_s(corrections: int) -> float:
    """Return the pause before the n-th correction in a row, in seconds."""
    over = corrections - FREE_CORRECTIONS
    if over <= 0:
        return 0.0
    return min(FIRST_DELAY_S * 2.0 ** min(over - 1, 16), MAX_DELAY_S)
