"""What a registry asks for when it answers 401: the header ``WWW-Authenticate``, parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEME = re.compile(r"[\s,]*([A-Za-z][\w-]*)(?=[\s,]|$)\s*")
_PARAMETER = re.compile(r'\s*([\w-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,]+))\s*,?')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme of authorization that a registry offers."""

    scheme: str
    """In small letters: ``basic``, ``bearer``."""
    realm: str = ""
    """For ``bearer``: the URL of the token server."""
    service: str = ""
    scope: str = ""


def choose(headers: Iterable[str]) -> Challenge | None:
    """Return the challenge to answer: ``bearer`` before ``basic``, None where there is neither."""
    found = {each.scheme: each for header in headers for each in _parse(header)}
    return found.get("bearer") or found.get("basic")


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        values: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            quoted = re.sub(r"\\(.)", r"\1", parameter[2] or "")
            values[parameter[1].lower()] = quoted or parameter[3] or ""
            position = parameter.end()
        known = {key: values[key] for key in ("realm", "service", "scope") if key in values}
        found.append(Challenge(scheme[1].lower(), **known))
    return found
