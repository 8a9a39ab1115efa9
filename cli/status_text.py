"""The readable form of a report."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from cli import table
from daemon import report

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

_WELL = frozenset({"synced"})
_MANY = 20
"""Ready objects of one kind and cluster beyond which they are counted instead of listed."""
_NARROWEST = 60
"""Columns that a message is given at least."""
_INDENT = "  "
_SUSPENDED = "Suspended"


def render(
    found: report.Report,
    now: dt.datetime,
    *,
    is_running: bool,
    width: int = 80,
    shows_all: bool = False,
    is_wide: bool = False,
) -> str:
    """Return the whole text.

    Args:
        found: what there is to show.
        now: what ages are counted from.
        is_running: whether the daemon made the report.
        width: columns of the terminal.
        shows_all: lists objects that are ready however many there are.
        is_wide: shows everything of every object, and how drift of each kind is seen.
    """
    parts = [_daemon(found, now, width) if is_running else _no_daemon(found)]
    if found.config_error:
        parts.append(f"settings: {found.config_error}")
    if not found.clusters:
        parts.append(f"no clusters: add [[clusters]] to {found.config}")
    for each in found.clusters:
        parts.append(_cluster(each, now, is_wide=is_wide))
        if each.rows and is_wide:
            parts.append(_everything(each.rows, now))
        elif each.rows:
            parts.append(_overview(each.rows, now, width, shows_all=shows_all))
    return "\n\n".join(parts)


def is_well(found: report.Report) -> bool:
    """Tell whether every cluster is synced and every object that is not suspended is ready."""
    return not found.config_error and all(
        each.state in _WELL and all(row.ready == "True" or row.is_suspended for row in each.rows)
        for each in found.clusters
    )


def _daemon(found: report.Report, now: dt.datetime, width: int) -> str:
    listeners = ", ".join(f"{name} {address}" for name, address in found.listeners.items())
    return (
        f"gitopsd {found.version}, process {found.pid}, up {table.age(found.started, now)}, "
        f"memory {table.mebibytes(found.memory_bytes)}\n"
        + textwrap.fill(f"listens: {listeners or 'nowhere'}", width, break_on_hyphens=False)
    )


def _no_daemon(found: report.Report) -> str:
    return (
        f"The daemon of {found.config} is NOT RUNNING: nothing below is being reconciled by it.\n"
        "Start it with `gitopsd run` or `gitopsd service install`."
    )


def _cluster(each: report.ClusterState, now: dt.datetime, *, is_wide: bool) -> str:
    """Return one cluster: a headline, what is not reconciled and why, and counts."""
    since = f" for {table.age(each.since, now)}" if each.since else ""
    where = f" ({each.server}, {each.version})" if each.version else ""
    lines = [f"cluster {each.name}: {each.state}{since}{where}"]
    if each.message:
        lines.append(f"  {table.one_line(each.message, 0)}")
    lines += [
        f"  {kind.kind}: {kind.mode}{f': {kind.reason}' if kind.reason else ''}"
        for kind in each.kinds
        if kind.mode != "reconciling"
    ]
    lines += [
        f"  {kind.kind}: {kind.queued} queued, {kind.active} active"
        for kind in each.kinds
        if kind.queued or kind.active
    ]
    if is_wide:
        lines += [f"  drift of {name}: by {mode}" for name, mode in each.watches.items()]
    if each.rows:
        lines.append(f"{_INDENT}{_counts(each.rows)}")
    return "\n".join(lines)


def _counts(rows: Sequence[report.Row]) -> str:
    """Return how many objects are ready, and how many are not."""
    counts = Counter(_state(row) for row in rows)
    order = ("True", "False", "Unknown", _SUSPENDED)
    words = ("ready", "not ready", "in progress", "suspended")
    return ", ".join(
        f"{counts[state]} {word}" for state, word in zip(order, words, strict=True) if counts[state]
    )


def _state(row: report.Row) -> str:
    return _SUSPENDED if row.is_suspended else row.ready


def _overview(rows: Sequence[report.Row], now: dt.datetime, width: int, *, shows_all: bool) -> str:
    """Return what needs attention with its messages, then what is ready, counted if it is much."""
    troubled = [row for row in rows if _state(row) != "True"]
    ready = Counter(row.kind for row in rows if _state(row) == "True")
    many = set() if shows_all else {kind for kind, count in ready.items() if count > _MANY}
    listed = troubled + [row for row in rows if _state(row) == "True" and row.kind not in many]
    drifted = any(row.corrections for row in listed)
    header = ["KIND", "NAMESPACE/NAME", "READY", "AGE", *["DRIFT"] * drifted, "REVISION"]
    cells = [
        [
            row.kind,
            f"{row.namespace}/{row.name}",
            _state(row),
            table.age(row.since, now),
            *[str(row.corrections or "")] * drifted,
            report.short_revision(row.revision),
        ]
        for row in listed
    ]
    first, *lines = table.render(header, cells, indent=_INDENT).splitlines()
    text = [first] if lines else []
    for row, line in zip(listed, lines, strict=True):
        text += [line, *_message(row, width)]
    text += [_crowd(kind, rows) for kind in sorted(many)]
    return "\n".join(text)


def _message(row: report.Row, width: int) -> list[str]:
    """Return the message of an object that is neither ready nor suspended, in lines that fit."""
    if _state(row) in {"True", _SUSPENDED}:
        return []
    indent = _INDENT * 3
    message = table.one_line(report.short_revision(row.message), 0)
    return textwrap.wrap(
        message,
        max(width, _NARROWEST),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _crowd(kind: str, rows: Sequence[report.Row]) -> str:
    """Return one line for the many objects of a kind that are ready."""
    ready = [row for row in rows if row.kind == kind and _state(row) == "True"]
    revisions = {report.short_revision(row.revision) for row in ready}
    at = f"at {revisions.pop()}" if len(revisions) == 1 else f"at {len(revisions)} revisions"
    drift = sum(row.corrections for row in ready)
    corrected = f", {drift} corrections of drift" if drift else ""
    return f"{_INDENT}{kind}: {len(ready)} ready {at}{corrected}; --all lists them"


def _everything(rows: Sequence[report.Row], now: dt.datetime) -> str:
    """Return every object with its message, however wide."""
    header = ("KIND", "NAMESPACE/NAME", "REVISION", "READY", "AGE", "DRIFT", "MESSAGE")
    return table.render(
        header,
        [
            (
                row.kind,
                f"{row.namespace}/{row.name}",
                report.short_revision(row.revision),
                _state(row),
                table.age(row.since, now),
                str(row.corrections) if row.corrections else "",
                table.one_line(report.short_revision(row.message), 0),
            )
            for row in rows
        ],
        indent=_INDENT,
    )
