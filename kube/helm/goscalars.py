"""Which texts go-yaml v2 would read back as something else, and so writes in quotes.

YAML 1.1 with Go's own idea of numbers and dates.
"""

from __future__ import annotations

import math
import re
from typing import Final

_WORDS: Final = frozenset(
    form
    for word in ("y", "n", "yes", "no", "true", "false", "on", "off", "null")
    for form in (word, word.capitalize(), word.upper())
) | {
    *("", "~", ".nan", ".NaN", ".NAN"),
    *(f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")),
}
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_POINT_FLOAT: Final = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)?")
_SIXTIES: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE: Final = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d?)-(?P<day>\d\d?)"
    r"(?:(?P<sep>[Tt ])(?P<hour>\d\d?):(?P<minute>\d\d?):(?P<second>\d\d?)(?:[.,]\d+)?"
    r"(?P<zone>Z|[-+](?P<zh>\d\d):(?P<zm>\d\d))?)?",
    re.ASCII,
)
_INTEGER: Final = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)"
    r"|(?P<dec>0|[1-9][0-9]*))"
)
_SIGNED_BINARY: Final = re.compile(r"0b[-+][01]{1,63}")
_BASES: Final = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def is_text(text: str) -> bool:
    """Tell whether a plain scalar would be read back as this text."""
    if text in _WORDS:
        return False
    first = text[0]
    if first == ".":
        return not (_POINT_FLOAT.fullmatch(text) and math.isfinite(float(text)))
    if first not in "+-0123456789":
        return True
    return not (_is_date(text) or _is_number(text.replace("_", "")) or _SIXTIES.fullmatch(text))


def _is_number(text: str) -> bool:
    if found := _INTEGER.fullmatch(text):
        digits = next(name for name in _BASES if found[name])
        value = int(found[digits], _BASES[digits])
        if value < 2**63 or (value < 2**64 and not found["sign"]) or text == f"-{2**63}":
            return True
    if _SIGNED_BINARY.fullmatch(text):
        return True
    return _FLOAT.fullmatch(text) is not None and math.isfinite(float(text))


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if found is None or not 1 <= int(found["month"]) <= 12:
        return False
    if not 1 <= int(found["day"]) <= _days(int(found["year"]), int(found["month"])):
        return False
    return found["sep"] is None or _is_time(found)


def _is_time(found: re.Match[str]) -> bool:
    if int(found["hour"]) > 23 or int(found["minute"]) > 59 or int(found["second"]) > 59:
        return False
    if (found["sep"] == " ") != (found["zone"] is None):
        return False
    return found["zh"] is None or (int(found["zh"]) <= 24 and int(found["zm"]) <= 60)


def _days(year: int, month: int) -> int:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _DAYS[month - 1] + (month == 2 and is_leap)
