"""Quantities such as ``500m`` and ``1Gi``, written as a Go client writes them. Pure.

``1000m`` and ``1`` are the same amount; a manifest that says one is sent as the other, so that
what is sent does not change when an object moves between clients. An amount that is already in
that form keeps its text, with Go's own idea of "already": ``1.500`` stays, ``0.500`` is ``500m``.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORM: Final = re.compile(
    r"([+-]?)(?=\.?\d)0*(\d*)(?:\.(\d*))?([numkKMGTPE]i?|[eE][+-]?\d+)?", re.ASCII
)
_DECIMAL: Final[Mapping[int, str]] = MappingProxyType(
    {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
)
_DECIMAL_EXPONENTS: Final = MappingProxyType(
    {text: exponent for exponent, text in _DECIMAL.items()}
)
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_NANO: Final = 10**9
_DIGITS: Final = 18
"""Digits that always fit into 64 bits."""
_LARGEST: Final = 2**63 - 1


def canonical(value: str | float) -> str:
    """Return a quantity in its canonical form.

    Args:
        value: as in a manifest, where a number is allowed too.

    Raises:
        ValueError: it is no quantity.
    """
    text = value.strip() if isinstance(value, str) else _plain(value)
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(f"not a quantity: {text!r}")
    sign, whole, places, suffix = (part or "" for part in found.groups())
    if suffix in _DECIMAL_EXPONENTS:
        return _decimal(text, sign, whole or "0", places, _DECIMAL_EXPONENTS[suffix], "")
    if suffix in _BINARY:
        return _binary(text, sign, whole or "0", places, _BINARY.index(suffix))
    if suffix[0] in "eE" and len(suffix) > 1:
        return _decimal(text, sign, whole or "0", places, int(suffix[1:]), "e")
    raise ValueError(f"not a quantity: {text!r}")


def _plain(number: float) -> str:
    """Return a number as Go's JSON has it: with an exponent when it is very small or large."""
    if isinstance(number, int) or 1e-6 <= abs(number) < 1e21:
        return format(Decimal(repr(number)), "f").removesuffix(".0")
    return repr(number)


def _decimal(text: str, sign: str, whole: str, places: str, exponent: int, style: str) -> str:
    digits, scale = whole + places, exponent - len(places)
    is_small = len(digits) <= _DIGITS and scale >= -9
    if is_small and not scale % 3 and not digits.endswith("000") and digits[0] != "0":
        return text
    return _write(_rounded(int(digits) * Fraction(10) ** scale), sign, style, text)


def _binary(text: str, sign: str, whole: str, places: str, power: int) -> str:
    if not places and len(whole) <= 14 - 3 * power and int(whole) & 7:
        return text
    amount = int(whole + places) * Fraction(1024) ** power / 10 ** len(places)
    amount = min(_rounded(amount), Fraction(_LARGEST))
    if amount < 1024 or amount.denominator != 1:
        return _write(amount, sign, "", text)
    number, power = amount.numerator, 0
    while not number % 1024:
        number, power = number // 1024, power + 1
    return f"{_minus(sign)}{number}{_BINARY[power]}"


def _write(amount: Fraction, sign: str, style: str, text: str) -> str:
    """Write an amount in thousands; one beyond the largest suffix keeps its text."""
    if not amount:
        return "0"
    number, exponent = amount.numerator * _NANO // amount.denominator, -9
    while not number % 1000:
        number, exponent = number // 1000, exponent + 3
    if style:
        return f"{_minus(sign)}{number}" + (f"{style}{exponent}" if exponent else "")
    return f"{_minus(sign)}{number}{_DECIMAL[exponent]}" if exponent in _DECIMAL else text


def _rounded(amount: Fraction) -> Fraction:
    """Round up to the smallest amount there is, a billionth."""
    return Fraction(-(-amount.numerator * _NANO // amount.denominator), _NANO)


def _minus(sign: str) -> str:
    return "-" if sign == "-" else ""
