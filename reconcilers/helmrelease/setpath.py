"""Sets one value at a path, in the syntax of ``helm --set``, as ``targetPath`` does.

The maps on the way are changed in place, those shared with other values as well: Flux's results
depend on it (see `reconcilers.helmrelease.values`).

::

    SetError(ValueError)    the path or the value breaks the syntax
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from kube.helm import goyaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from kube.objects import JsonObject

MAX_INDEX: Final = 65536
MAX_LEVELS: Final = 30

_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)
_SPECIAL: Final = re.compile(r"[\\,\[\]{}]")
_WORDS: Final = {"true": True, "false": False, "null": None}


class SetError(ValueError):
    """The path or the value breaks the syntax; the message quotes keys, never the value."""


def put(values: JsonObject, path: str, data: str, *, literal: bool = False) -> None:
    """Set a value in place.

    Args:
        values: the map to change.
        path: such as ``a.b[0].c``; a dot in a name has a backslash before it.
        data: the value: in quotes always text; else ``true``, ``null``, a whole number, a list
            ``{a,b}`` or text, in which a comma begins another ``path=value``.
        literal: take the data for text, whatever it holds.

    Raises:
        SetError: path and data break the syntax, or lead through something that is no map or list.
    """
    convert: Callable[[str], object] = _typed
    if literal:
        data, convert = _SPECIAL.sub(r"\\\g<0>", data), str
    elif any(data.startswith(quote) and data.endswith(quote) for quote in "'\""):
        data, convert = data.strip("'\""), str
    parser = _Parser(f"{path}={data}", convert)
    while parser.has_more:
        parser.key(values, 0)


class _Parser:
    """Reads ``path=value,path=value``; a backslash takes the next character as it is."""

    def __init__(self, text: str, convert: Callable[[str], object]) -> None:
        self._text, self._at, self._convert = text, 0, convert

    @property
    def has_more(self) -> bool:
        return self._at < len(self._text)

    def key(self, data: JsonObject, level: int) -> None:
        """Read a key and what follows it into a map."""
        name, end = self._until("=[,.")
        match end:
            case "=":
                _store(data, name, self._value())
            case "[":
                _store(data, name, self._item(self._list(data.get(name)), self._index(), level))
            case ".":
                self._inner(data, name, level + 1)
            case ",":
                raise SetError(f"key {name!r} has no value (cannot end with ,)")
            case _:
                raise SetError(f"key {name!r} has no value")

    def _inner(self, data: JsonObject, name: str, level: int) -> None:
        if level > MAX_LEVELS:
            raise SetError(f"value name is nested more than {MAX_LEVELS} levels deep")
        inner = data.get(name, {})
        if not isinstance(inner, dict):
            raise SetError(f"unable to parse key: {name!r} is no map")
        self.key(inner, level)
        if not inner:
            raise SetError(f"key map {name!r} has no value")
        _store(data, name, inner)

    def _item(self, items: list[Any], index: int, level: int) -> list[Any]:
        """Read what follows an index, and return the list with it."""
        name, end = self._until("[.=")
        if name or not end:
            raise SetError("unexpected data at end of array index")
        known = items[index] if index < len(items) else None
        value: object
        if end == "=":
            value = self._value()
        elif end == "[":
            value = self._item(self._list(known), self._index(), level)
        else:
            value = known if isinstance(known, dict) else {}
            self.key(value, level)
        if index >= len(items):
            items = items + [None] * (index + 1 - len(items))
        items[index] = value
        return items

    def _list(self, value: object) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise SetError("unable to parse key: what is indexed is no list")
        return value

    def _index(self) -> int:
        text, end = self._until("]")
        if not end or not _INTEGER.fullmatch(text):
            raise SetError("error parsing index")
        if not 0 <= int(text) <= MAX_INDEX:
            raise SetError(f"index {text} is not between 0 and {MAX_INDEX}")
        return int(text)

    def _value(self) -> object:
        if self._text[self._at : self._at + 1] != "{":
            return self._convert(self._until(",")[0]) if self.has_more else ""
        self._at += 1
        items = []
        while True:
            text, end = self._until(",}")
            if not end:
                raise SetError("list must terminate with '}'")
            items.append(self._convert(text))
            if end == "}":
                self._at += self._text[self._at : self._at + 1] == ","
                return items

    def _until(self, stops: str) -> tuple[str, str]:
        """Return the text before one of some characters, and that character; empty at the end."""
        found: list[str] = []
        while self.has_more:
            char = self._text[self._at]
            self._at += 1
            if char in stops:
                return "".join(found), char
            if char == "\\":
                char = self._text[self._at : self._at + 1]
                self._at += 1
            found.append(char)
        return "".join(found), ""


def _store(data: JsonObject, name: str, value: object) -> None:
    if name:
        data[name] = value


def _typed(text: str) -> object:
    word = text.lower()
    if word in _WORDS:
        return _WORDS[word]
    if text == "0" or (_INTEGER.fullmatch(text) and not text.startswith("0")):
        number = int(text)
        return goyaml.Integer(number) if -(2**63) <= number < 2**63 else text
    return text
