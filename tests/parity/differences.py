"""Where the daemon shows something else of a fleet than Flux did, on purpose.

Everything else that was recorded must be shown to the letter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from kube.objects import JsonObject


class Wording(NamedTuple):
    """A text in Flux's conditions and events."""

    flux: re.Pattern[str]
    ours: str
    why: str


class Difference(NamedTuple):
    """One value of a fleet's record."""

    fleet: str
    path: tuple[str | int, ...]
    ours: Any
    why: str


WORDINGS: Final = (
    Wording(re.compile(r"\n(?=$| \(of generation)"), "", "no message ends with a line's end"),
    Wording(re.compile(r"stat absent"), "stat ./absent", "a path is shown as it was given"),
    Wording(
        re.compile(r"MalformedYAMLError: yaml: line 4"),
        "line 5",
        "lines are counted from 1, as editors do",
    ),
)
DIFFERENCES: Final = (
    Difference(
        "chain",
        ("then", "events", "a-base"),
        [],
        "a revision that changes nothing of a build is recorded without an Event",
    ),
)


def applied(fleet: str, recorded: JsonObject) -> JsonObject:
    """Return what was recorded of Flux, with the daemon's own values where it differs."""
    expected: JsonObject = _reworded(recorded)
    for each in DIFFERENCES:
        if each.fleet == fleet:
            _put(expected, each)
    return expected


def _put(expected: Any, difference: Difference) -> None:
    *above, last = difference.path
    for key in above:
        expected = expected[key]
    assert expected[last] != difference.ours, f"no difference any more: {difference.path}"
    expected[last] = difference.ours


def _reworded(recorded: Any, *, is_message: bool = False) -> Any:
    if isinstance(recorded, dict):
        return {
            key: _reworded(each, is_message=key in {"says", "conditions"})
            for key, each in recorded.items()
        }
    if isinstance(recorded, list):
        return [_reworded(each, is_message=is_message) for each in recorded]
    if is_message:
        for wording in WORDINGS:
            recorded = wording.flux.sub(wording.ours, recorded)
    return recorded
