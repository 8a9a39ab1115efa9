"""Where the daemon shows something else of a fleet than Flux did, on purpose.

Everything else that was recorded must be shown to the letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from kube.objects import JsonObject


class Difference(NamedTuple):
    """One value of a fleet's record."""

    fleet: str
    path: tuple[str | int, ...]
    ours: Any
    why: str


_REFUSED: Final = (
    'ConfigMap/NAMESPACE-blue/stolen dry-run failed (Forbidden): configmaps "stolen" is forbidden: '
    'User "system:serviceaccount:NAMESPACE:red" cannot patch resource "configmaps" in API group '
    '"" in the namespace "NAMESPACE-blue"'
)
_NO_LINE_END: Final = "no message ends with the end of a line"
DIFFERENCES: Final = (
    Difference(
        "chain",
        ("then", "events", "a-base"),
        [],
        "a revision that changes nothing of a build is recorded without an Event",
    ),
    Difference(
        "tenants",
        ("repo", "events", "red", 0, "says"),
        f"Warning ReconciliationFailed: {_REFUSED}",
        _NO_LINE_END,
    ),
    Difference(
        "tenants",
        ("repo", "kustomizations", "red", "conditions", 1),
        f"Ready=False ReconciliationFailed: {_REFUSED} (of generation 1)",
        _NO_LINE_END,
    ),
)


def applied(fleet: str, recorded: JsonObject) -> JsonObject:
    """Return what was recorded of Flux, with the daemon's own values where it differs."""
    expected: JsonObject = orjson.loads(orjson.dumps(recorded))
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
