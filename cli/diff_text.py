"""The readable and the JSON form of a diff."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from cli import colours
from kube import preview
from kube.fielddiff import MISSING
from kube.preview import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from api.helm import HelmRelease
    from api.kustomize import Kustomization
    from kube.fielddiff import Change
    from kube.preview import Preview

    _Paint: TypeAlias = Callable[[str, str], str]

_CONTEXT: Final = 2
"""Lines shown around a change inside a text of several lines."""
_LONGEST: Final = 200
"""Characters of one value; whoever needs more takes ``-o json``."""
_HUNK: Final = {"+": colours.GREEN, "-": colours.RED}
_MARKS: Final = {
    Outcome.CREATED: ("+", colours.GREEN),
    Outcome.CHANGED: ("~", colours.YELLOW),
    Outcome.RECREATED: ("±", colours.YELLOW),
    Outcome.PRUNED: ("-", colours.RED),
    Outcome.REFUSED: ("!", colours.RED),
    Outcome.SKIPPED: ("·", colours.DIM),
    Outcome.KEPT: ("·", colours.DIM),
}


class Subject(Protocol):
    """What a diff is of."""

    @property
    def item(self) -> Kustomization | HelmRelease:
        """The object that applies."""
        ...

    @property
    def title(self) -> str:
        """What it would apply, for people: a revision, a directory or a chart."""
        ...


def render(rendered: Subject, found: Sequence[Preview], *, is_coloured: bool) -> str:
    """Return the whole text: what was compared, each object that is not as it should be, a sum.

    Args:
        rendered: what was built.
        found: what would happen, masked already.
        is_coloured: whether for a terminal that shows colours.
    """
    paint = _painted if is_coloured else _plain
    item = rendered.item
    head = f"{item.KIND}/{item.metadata.namespace}/{item.metadata.name} at {rendered.title}"
    if item.spec.suspend:
        head += " (suspended: the daemon does not apply it)"
    told = [each for each in found if each.outcome is not Outcome.UNCHANGED]
    body = "\n".join(line for each in told for line in _object(each, paint))
    return "\n\n".join(part for part in (head, body, summary(found)) if part)


def summary(found: Sequence[Preview]) -> str:
    """Return how many objects there are of each outcome."""
    counts = Counter(each.outcome for each in found)
    parts = [f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]]
    is_quiet = all(each.outcome in preview.QUIET for each in found)
    return f"{'No changes: ' if is_quiet else ''}{', '.join(parts) or 'no objects'}"


def as_json(cluster: str, rendered: Subject, found: Sequence[Preview]) -> dict[str, Any]:
    """Return everything for programs; the values of fields are as JSON has them."""
    metadata = rendered.item.metadata
    return {
        "cluster": cluster,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "source": rendered.title,
        "objects": [
            {
                "group": each.id.group,
                "version": each.version,
                "kind": each.id.kind,
                "namespace": each.id.namespace,
                "name": each.id.name,
                "outcome": str(each.outcome),
                "note": each.note,
                "changes": [_as_json(change) for change in each.changes],
            }
            for each in found
        ],
    }


def _as_json(change: Change) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after}
    return {"field": change.field} | {k: v for k, v in sides.items() if v is not MISSING}


def _object(each: Preview, paint: _Paint) -> Iterator[str]:
    """Yield the lines of one object."""
    mark, colour = _MARKS[each.outcome]
    if each.outcome is Outcome.REFUSED:
        yield paint(colour, f"{mark} {' '.join(each.note.split())}")
        return
    note = f": {' '.join(each.note.split())}" if each.note else ""
    yield paint(colour, f"{mark} {each.id} {each.outcome}{note}")
    for change in each.changes:
        yield from _field(change, paint)


def _field(change: Change, paint: _Paint) -> Iterator[str]:
    """Yield the lines of one field; of a long text only the lines that differ."""
    before, after = change.before, change.after
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        yield f"    ~ {change.field}:"
        old, new = before.splitlines(), after.splitlines()
        hunks = difflib.unified_diff(old, new, n=_CONTEXT, lineterm="")
        for line in list(hunks)[2:]:
            yield paint(
                {"+": colours.GREEN, "-": colours.RED}.get(line[:1], colours.DIM), f"      {line}"
            )
        if old == new:
            yield paint(colours.DIM, "      (only the line end at the end)")
    elif before is MISSING:
        yield paint(colours.GREEN, f"    + {change.field}: {_value(after)}")
    elif after is MISSING:
        yield paint(colours.RED, f"    - {change.field}: {_value(before)}")
    else:
        old_value, new_value = (
            paint(colours.RED, _value(before)),
            paint(colours.GREEN, _value(after)),
        )
        yield f"    ~ {change.field}: {old_value} → {new_value}"


def _value(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _painted(colour: str, text: str) -> str:
    return f"{colour}{text}{colours.RESET}"


def _plain(_colour: str, text: str) -> str:
    return text
