"""Label selectors, read as Kubernetes reads them: ``app=web,tier in (a, b),!legacy``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEY: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE: Final = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_TERM: Final = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<gone>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s*(?P<sign>==|=|!=|<|>)\s*(?P<value>{_VALUE})"
    rf"|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
}


@dataclass(frozen=True, slots=True)
class _Term:
    key: str
    sign: str
    values: frozenset[str]

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.sign == "!":
            return value is None
        if self.sign == "notin":
            return value not in self.values
        if value is None or self.sign == "exists":
            return value is not None
        if self.sign == "in":
            return value in self.values
        try:
            (bound,) = self.values
            return _COMPARISONS[self.sign](int(value), int(bound))
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector; an empty one matches everything."""

    terms: tuple[_Term, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels (or annotations) meet every term."""
        return all(term.matches(labels) for term in self.terms)


def parse(text: str) -> Selector:
    """Read a selector.

    Raises:
        ValueError: it is none.
    """
    terms, at = [], 0
    while at < len(text.rstrip()):
        found = _TERM.match(text, at)
        if not found:
            raise ValueError(f"unable to parse label selector {text!r} at {text[at:]!r}")
        terms.append(_term(found))
        at = found.end()
    if text.rstrip().endswith(","):
        raise ValueError(f"unable to parse label selector {text!r}: it ends with a comma")
    return Selector(tuple(terms))


def _term(found: re.Match[str]) -> _Term:
    if found["absent"]:
        return _Term(found["gone"], "!", frozenset())
    if found["set"]:
        values = frozenset(value.strip() for value in found["values"].split(","))
        return _Term(found["key"], found["set"], values)
    if not found["sign"]:
        return _Term(found["key"], "exists", frozenset())
    sign = {"=": "in", "==": "in", "!=": "notin"}.get(found["sign"], found["sign"])
    return _Term(found["key"], sign, frozenset({found["value"]}))
