"""Tables for people: aligned columns, times as ages, sizes as MiB."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP = "  "
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def render(header: Sequence[str], rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Return lines with every column as wide as its widest cell; the last one is not padded."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        (
            indent + _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def age(since: str, now: dt.datetime) -> str:
    """Return how long ago an RFC 3339 time was, in its largest unit; empty for an empty time."""
    if not since:
        return ""
    try:
        then = dt.datetime.fromisoformat(since)
    except ValueError:
        return since
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def mebibytes(size_bytes: int) -> str:
    """Return a size as MiB."""
    return f"{size_bytes / 2**20:.0f} MiB"


def one_line(text: str, limit: int) -> str:
    """Return a message on one line, cut to ``limit`` characters; 0 leaves its length alone."""
    flat = " ".join(text.split())
    return f"{flat[: limit - 1]}…" if 0 < limit < len(flat) else flat


def now() -> dt.datetime:
    """Return the time that ages are counted from."""
    return dt.datetime.now(dt.UTC)


def size(size_bytes: int) -> str:
    """Return a size in its largest unit, as the flux CLI prints it."""
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}"
