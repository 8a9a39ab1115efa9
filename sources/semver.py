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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_IDENTIFIERS = r"[0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*"
_PRERELEASE = rf"(?:-(?P<pre>{_IDENTIFIERS}))?"
_METADATA = rf"(?:\+(?P<metadata>{_IDENTIFIERS}))?"
_VERSION = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?{_PRERELEASE}{_METADATA}")
_PART = r"[0-9|xX*]+"
_OPERATORS = r"!=|>=|=>|<=|=<|~>|=|>|<|~|\^"
_CONSTRAINT = re.compile(
    rf"\s*(?P<operator>{_OPERATORS})?\s*v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?"
    rf"{_PRERELEASE}{_METADATA}(?:\s*,(?=\s*\S)|\s+|$)",
    re.ASCII,
)
_HYPHEN = re.compile(r"([^\s,|]+)\s+-\s+([^\s,|]+)")
_METADATA_TEXT = re.compile(_IDENTIFIERS)
_CANONICAL = {"": "=", "=>": ">=", "=<": "<=", "~>": "~"}
_WILDCARDS = frozenset({"x", "X", "*", None})
_MAX_NUMBER = 2**64 - 1
_MAX_VERSION_LENGTH = 256
_MAX_RANGE_LENGTH = 512
_MAX_ALTERNATIVES = 32


class InvalidRangeError(ValueError):
    """Text that is no version range."""


class InvalidMetadataError(ValueError):
    """Text that cannot be build metadata."""


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version; its build metadata is no part of what is compared."""

    major: int
    minor: int = 0
    patch: int = 0
    prerelease: str = ""
    metadata: str = field(default="", compare=False)

    def _precedence(self) -> tuple[object, ...]:
        identifiers = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in self.prerelease.split(".")
        )
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def __lt__(self, other: Version) -> bool:
        return self._precedence() < other._precedence()

    def __str__(self) -> str:
        """Return all three numbers, without a leading ``v``."""
        prerelease = f"-{self.prerelease}" if self.prerelease else ""
        metadata = f"+{self.metadata}" if self.metadata else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{metadata}"

    def with_metadata(self, metadata: str) -> Version:
        """Return the version with other build metadata.

        Raises:
            InvalidMetadataError: the text has other characters than metadata may have.
        """
        if not _METADATA_TEXT.fullmatch(metadata):
            raise InvalidMetadataError(f"invalid metadata string {metadata!r}")
        return replace(self, metadata=metadata)


def parse(text: str) -> Version | None:
    """Return the version that a tag names, or None: ``1.2.3``, ``v1.2``, ``1-rc.1``."""
    found = _VERSION.fullmatch(text) if len(text) <= _MAX_VERSION_LENGTH else None
    if found is None:
        return None
    major, minor, patch = (int(each or 0) for each in found.groups()[:3])
    return _version((major, minor, patch), found)


def parse_strict(text: str) -> Version | None:
    """Return the version if all three numbers are there, without leading zeros; ``v`` may lead.

    This is the form in which the charts of a repository must give theirs.
    """
    version = parse(text)
    return version if version and text.removeprefix("v") == str(version) else None


def _version(numbers: tuple[int, int, int], found: re.Match[str]) -> Version | None:
    prerelease = found["pre"] or ""
    if max(numbers) > _MAX_NUMBER or any(map(_is_padded, prerelease.split("."))):
        return None
    return Version(*numbers, prerelease, found["metadata"] or "")


def _is_padded(identifier: str) -> bool:
    return len(identifier) > 1 and identifier.startswith("0") and identifier.isdigit()


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


def _unequal(version: Version, bound: Version, precision: int) -> bool:
    if precision in {0, 3}:
        return version != bound
    if not _shares(version, bound, precision):
        return True
    return precision == 2 and version.prerelease != bound.prerelease


def _tilde(version: Version, bound: Version, precision: int) -> bool:
    if version < bound:
        return False
    # ~0.0.0 and ~* mean any version, though ~0 and ~0.0 do not.
    is_any = precision in {0, 3} and _shares(bound, Version(0), 3)
    return is_any or _shares(version, bound, 1 if precision == 1 else 2)


def _caret(version: Version, bound: Version, precision: int) -> bool:
    fixed = 1 if bound.major or precision == 1 else 2 if bound.minor or precision == 2 else 3
    return version >= bound and _shares(version, bound, fixed)


def _greater(version: Version, bound: Version, precision: int) -> bool:
    return version > bound and (precision in {0, 3} or not _shares(version, bound, precision))


def _at_most(version: Version, bound: Version, precision: int) -> bool:
    if version <= bound:
        return True
    return precision < 3 and _shares(version, bound, 1 if precision == 1 else 2)


_CHECKS: dict[str, Callable[[Version, Version, int], bool]] = {
    "=": _equal,
    "!=": _unequal,
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
        alternatives = text.split("||")
        if len(text) > _MAX_RANGE_LENGTH or len(alternatives) > _MAX_ALTERNATIVES:
            raise InvalidRangeError(
                f"improper constraint: longer than {_MAX_RANGE_LENGTH} characters, "
                f"or more than {_MAX_ALTERNATIVES} alternatives"
            )
        self._alternatives = [_alternative(part) for part in alternatives]

    def admits(self, version: Version) -> bool:
        """Say whether the version is in the range."""
        return any(
            all(constraint.admits(version) for constraint in constraints)
            for constraints in self._alternatives
            if not version.prerelease or any(each.bound.prerelease for each in constraints)
        )


def _alternative(part: str) -> list[_Constraint]:
    rest = _HYPHEN.sub(r">=\1, <=\2", part)
    constraints = []
    while rest:
        found = _CONSTRAINT.match(rest)
        constraint = _constraint(found) if found else None
        if found is None or constraint is None:
            break
        constraints.append(constraint)
        rest = rest[found.end() :]
    if rest or not constraints:
        raise InvalidRangeError(f'improper constraint: "{part}"')
    return constraints


def _constraint(found: re.Match[str]) -> _Constraint | None:
    parts = list(itertools.takewhile(lambda part: part not in _WILDCARDS, found.groups()[1:4]))
    if not all(part.isdigit() for part in parts):
        return None
    major, minor, patch, *_ = [*map(int, parts), 0, 0, 0]
    bound = _version((major, minor, patch), found)
    operator = found["operator"] or ""
    if bound is None:
        return None
    return _Constraint(_CANONICAL.get(operator, operator), bound, len(parts))
