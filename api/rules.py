"""The checks that a CRD carries, and what ``kubectl`` shows of a kind.

The API server makes these checks when an object is written. Decoding does not repeat them: an
object that a newer or looser CRD let in must reach its reconciler, which can say so in the
object's status, and must not break the watch for every other object of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec


class Rule(NamedTuple):
    """One CEL rule; a type lists its own in a class variable ``RULES``."""

    rule: str
    """The expression; ``self`` is the value of the type that carries the rule."""
    message: str
    """What the user reads when the rule does not hold."""


def one_of(*values: str) -> msgspec.Meta:
    """Return the check that a string is one of ``values``."""
    return msgspec.Meta(extra_json_schema={"enum": list(values)})


def matching(pattern: str) -> msgspec.Meta:
    """Return the check that a string matches a regular expression (RE2, not anchored)."""
    return msgspec.Meta(extra_json_schema={"pattern": pattern})


def sized(
    *, minimum: int | None = None, maximum: int | None = None, pattern: str | None = None
) -> msgspec.Meta:
    """Return the check that a string has a length in characters, and optionally a pattern."""
    schema = {"minLength": minimum, "maxLength": maximum, "pattern": pattern}
    return msgspec.Meta(extra_json_schema={k: v for k, v in schema.items() if v is not None})


def items(*, minimum: int) -> msgspec.Meta:
    """Return the check that a list has at least ``minimum`` entries."""
    return msgspec.Meta(extra_json_schema={"minItems": minimum})


def holding(rule: str, message: str) -> msgspec.Meta:
    """Return the check that a CEL rule holds for one field."""
    return msgspec.Meta(
        extra_json_schema={"x-kubernetes-validations": [{"rule": rule, "message": message}]}
    )


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``kubectl get``."""

    name: str
    json_path: str
    type: str = "string"


AGE = Column("Age", ".metadata.creationTimestamp", "date")
READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
STATUS = Column("Status", '.status.conditions[?(@.type=="Ready")].message')


@dataclass(frozen=True, slots=True)
class Display:
    """How ``kubectl`` names and prints a kind, and which Flux component it belongs to."""

    component: str
    columns: tuple[Column, ...] = (AGE, READY, STATUS)
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
