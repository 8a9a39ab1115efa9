"""Durations as Go writes them (``1h30m``, ``967.5ms``), in seconds here."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Final, TypeAlias

from api import rules

Duration: TypeAlias = Annotated[str, rules.matching(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")]
"""A duration in a spec."""
ShortDuration: TypeAlias = Annotated[str, rules.matching(r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$")]
"""A duration without hours; Flux's sources take no other form for their time-outs."""

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


@functools.lru_cache(maxsize=256)
def parse(text: str) -> float:
    """Read a Go duration; specs say the same few again and again.

    Args:
        text: for example ``1m``, ``1h30m``, ``1.5s``, ``-2s`` or ``0``.

    Returns:
        Seconds.

    Raises:
        ValueError: ``text`` is not a Go duration.
    """
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0.0
    total, end = 0.0, 0
    for term in _TERM.finditer(body):
        if term.start() != end:
            break
        total += float(term[1]) * _NANOSECONDS[term[2]]
        end = term.end()
    if not body or end != len(body):
        raise ValueError(f"invalid duration {text!r}")
    return sign * total / 1e9


def parse_or(text: str | None, default_s: float) -> float:
    """Read a Go duration; absent or unreadable text gives ``default_s`` seconds."""
    try:
        return parse(text) if text else default_s
    except ValueError:
        return default_s


def format_go(seconds: float) -> str:
    """Write seconds as Go prints a ``time.Duration``: ``1m0s``, ``967.5ms``, ``0s``."""
    nanoseconds = round(seconds * 1e9)
    sign, nanoseconds = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if nanoseconds == 0:
        return "0s"
    for unit, limit in (("ns", 1_000), ("µs", 1_000_000), ("ms", 1_000_000_000)):
        if nanoseconds < limit:
            return f"{sign}{_decimal(nanoseconds, _NANOSECONDS[unit])}{unit}"
    minutes, rest = divmod(nanoseconds, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, _NANOSECONDS['s'])}s"


def _decimal(value: int, unit: int) -> str:
    """Write ``value / unit`` exactly, without trailing zeros; ``unit`` is a power of ten."""
    whole, fraction = divmod(value, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)
