"""Semantic versions and the range language of Masterminds/semver, which Flux's ``semver`` speaks.

A range is alternatives joined by ``||``, each of them constraints joined by commas or spaces:
``=``, ``!=``, ``>``, ``<``, ``>=``, ``<=``, ``~``, ``^``, hyphen ranges (``1.2 - 2.3``) and
wildcards (``1.x``, ``*``). An alternative admits a pre-release only if one of its constraints names
one.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_IDENTIFIERS = r"[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*"
_SUFFIX = rf"(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?"
_VERSION = re.compile(rf"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?{_SUFFIX}")
_PART = r"\d+|[xX*]"
_OPERATORS = r"!=|>=|=>|<=|=<|~>|==|=|>|<|~|\^"
_CONSTRAINT = re.compile(
    rf"(?P<operator>{_OPERATORS})?\s*v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?{_SUFFIX}(?:\s*,\s*|\s+|$)"
)
_HYPHEN = re.compile(r"([^\s,|]+)\s+-\s+([^\s,|]+)")
_CANONICAL = {"": "=", "==": "=", "=>": ">=", "=<": "<=", "~>": "~"}


class InvalidRangeError(ValueError):
    """Text that is no version range."""


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version; build metadata takes no part in it, as it takes none in precedence."""

    major: int
    minor: int = 0
    patch: int = 0
    prerelease: str = ""

    def _precedence(self) -> tuple[object, ...]:
        identifiers = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in self.prerelease.split(".")
        )
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def __lt__(self, other: Version) -> bool:
        return self._precedence() < other._precedence()


def parse(text: str) -> Version | None:
    """Return the version that a tag names, or None: ``1.2.3``, ``v1.2``, ``1-rc.1``."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    major, minor, patch, prerelease = found.groups()
    return Version(int(major), int(minor or 0), int(patch or 0), prerelease or "")


@dataclass(frozen=True, slots=True)
class _Constraint:
    """One comparison; ``precision`` counts the leading parts that are numbers (``1.x`` has 1)."""

    operator: str
    bound: Version
    precision: int

    def admits(self, version: Version) -> bool:
        return _CHECKS[self.operator](version, self.bound, self.precision)


def _shares(version: Version, bound: Version, parts: int) -> bool:
    return (version.major, version.minor, version.patch)[:parts] == (
        bound.major,
        bound.minor,
        bound.patch,
    )[:parts]


def _equal(version: Version, bound: Version, precision: int) -> bool:
    return version == bound if precision == 3 else _tilde(version, bound, precision)


def _tilde(version: Version, bound: Version, precision: int) -> bool:
    if precision == 0:
        return True
    return version >= bound and _shares(version, bound, min(precision, 2))


def _caret(version: Version, bound: Version, precision: int) -> bool:
    if precision == 0:
        return True
    fixed = 1 if bound.major or precision == 1 else 2 if bound.minor or precision == 2 else 3
    return version >= bound and _shares(version, bound, fixed)


def _greater(version: Version, bound: Version, precision: int) -> bool:
    return version > bound and (precision == 3 or not _shares(version, bound, precision))


def _at_most(version: Version, bound: Version, precision: int) -> bool:
    return version <= bound or (precision < 3 and _shares(version, bound, precision))


_CHECKS: dict[str, Callable[[Version, Version, int], bool]] = {
    "=": _equal,
    "!=": lambda version, bound, precision: not _equal(version, bound, precision),
    "~": _tilde,
    "^": _caret,
    ">": _greater,
    ">=": lambda version, bound, _precision: version >= bound,
    "<": lambda version, bound, _precision: version < bound,
    "<=": _at_most,
}


class Range:
    """A parsed version range.

    Args:
        text: the range; the empty text is not one.

    Raises:
        InvalidRangeError: the text is no range.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._alternatives = [_alternative(part, text) for part in text.split("||")]

    def admits(self, version: Version) -> bool:
        """Say whether the version is in the range."""
        return any(
            all(constraint.admits(version) for constraint in constraints)
            for constraints in self._alternatives
            if not version.prerelease or any(each.bound.prerelease for each in constraints)
        )


def _alternative(part: str, whole: str) -> list[_Constraint]:
    rest = _HYPHEN.sub(r">=\1 <=\2", part).strip()
    constraints = []
    while rest:
        found = _CONSTRAINT.match(rest)
        if found is None:
            raise InvalidRangeError(f"improper constraint: {whole}")
        constraints.append(_constraint(found))
        rest = rest[found.end() :]
    if not constraints:
        raise InvalidRangeError(f"improper constraint: {whole}")
    return constraints


def _constraint(found: re.Match[str]) -> _Constraint:
    operator = found["operator"] or ""
    _, *parts, prerelease = found.groups()
    numbers = [int(part) for part in itertools.takewhile(_is_number, parts)]
    major, minor, patch, *_ = [*numbers, 0, 0, 0]
    bound = Version(major, minor, patch, prerelease or "")
    return _Constraint(_CANONICAL.get(operator, operator), bound, len(numbers))


def _is_number(part: str | None) -> bool:
    return part is not None and part.isdigit()
