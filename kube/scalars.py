"""What a plain YAML scalar means to Flux: YAML 1.1 as Go's sigs.k8s.io/yaml turns it into JSON.

Not the YAML 1.1 of the book, nor PyYAML's: ``y`` is true, ``0o644`` and ``0644`` are 420, ``12:30``
and dates are text, ``1e400`` is text, ``1.0`` is the integer 1 (as JSON from Go has it).
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(
        ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True
    ),
    **dict.fromkeys(
        ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False
    ),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_NUMERIC: Final = frozenset("0123456789+-.")
SUSPECT: Final = frozenset({*_NUMERIC, *(word[:1] for word in _WORDS)})
"""First characters (of an empty scalar, nothing) of what may be more than text."""
_INTEGER: Final = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_BASES: Final = {"0b": 2, "0o": 8, "0x": 16}
_SPECIAL: Final = frozenset({".inf", ".nan"})

_MIN_INTEGER: Final = -(1 << 63)
_MAX_INTEGER: Final = 1 << 64
_MAX_WRITTEN_OUT: Final = 1e21
"""Go writes whole floats below this without an exponent, which makes them integers in JSON."""


def resolve(text: str) -> Scalar:
    """Return what an unquoted, untagged scalar means.

    Raises:
        ValueError: it has no form in JSON (infinity, not-a-number).
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMERIC:
        return number(text)
    return text


def number(text: str) -> str | int | float:
    """Return the number that a text is, or the text where it is none.

    Raises:
        ValueError: it has no form in JSON (infinity, not-a-number).
    """
    if _INTEGER.match(text):
        return _integer(text.replace("_", ""))
    if _FLOAT.match(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            return text
        return _shortest(value)
    if text.lower().lstrip("+-") in _SPECIAL:
        raise ValueError(f"{text} has no form in JSON")
    return text


def boolean(text: str) -> bool:
    """Return the truth value of a scalar that is tagged as one.

    Raises:
        ValueError: it is none.
    """
    value = _WORDS.get(text)
    if value is None:
        raise ValueError(f"{text} is not a boolean")
    return value


def key(text: str) -> str:
    """Return the JSON key that an unquoted, untagged mapping key becomes.

    Raises:
        ValueError: it is null, or has no form in JSON.
    """
    value = resolve(text)
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError("a null cannot be a mapping key")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _integer(digits: str) -> int | float | str:
    sign, digits = (digits[0], digits[1:]) if digits[0] in "+-" else ("", digits)
    base = _BASES.get(digits[:2])
    try:
        if base:
            value = int(digits[2:], base)
        elif digits[0] == "0":
            value = int(digits, 8)
        else:
            value = int(digits)
    except ValueError:
        value = int(float(digits))  # "08" and "09" are no octal numbers and mean what they say
    value = -value if sign == "-" else value
    return value if _MIN_INTEGER <= value < _MAX_INTEGER else float(value)


def _shortest(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < _MAX_WRITTEN_OUT else value
