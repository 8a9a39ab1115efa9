"""Rewrites a repository's ``index.yaml`` as JSON that is searched without being read.

An index has up to 50 MB, of which one chart's entry is ever wanted. So the YAML is read once, event
by event, and written one version a line, in the process of the daemon where it is small, else in a
process of its own, which is why this file imports nothing of the daemon's. 25 MB take 2 s of one
core and 15 MiB for that time; see `sources.helm.index` for the other side.

Values become what they are to Helm, which reads an index into Go structs: almost all are text.

::

    ValueError
    └── InvalidIndexError    the text is no index of charts
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

import orjson
import yaml
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml.events import Event

Value: TypeAlias = "str | bool | list[Value] | dict[str, Value] | None"

_VERSION: Final = re.compile(
    r"v?[0-9]+(?:\.[0-9]+){0,2}(?:-[0-9A-Za-z.\-]+)?(?:\+[0-9A-Za-z.\-]+)?"
)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.?[0-9]*)(?:[eE][-+]?[0-9]+)?")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS: Final = frozenset(
    {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"}
)
_BOOLEANS: Final = frozenset({"deprecated", "removed", "enabled"})
_TYPES: Final = frozenset({"", "application", "library"})
_MAX_DEPTH: Final = 50
"""Levels of nesting; real entries have five."""
REFUSED: Final = 3
"""The exit status that says that the text is no index."""


class InvalidIndexError(ValueError):
    """A text that is no index of charts."""


def convert(source: BinaryIO, target: BinaryIO) -> None:
    """Write the index that ``source`` holds to ``target``.

    Versions that no chart can have are left out, as Helm passes them over.

    Raises:
        InvalidIndexError: it holds none.
        OSError: a file cannot be read or written.
    """
    try:
        _Conversion(source, target).run()
    except yaml.MarkedYAMLError as err:
        where = f"line {err.problem_mark.line + 1}: " if err.problem_mark else ""
        raise InvalidIndexError(f"{where}{err.problem or err.context}") from err
    except (ReaderError, UnicodeDecodeError) as err:
        raise InvalidIndexError("unreadable characters; an index is UTF-8 text") from err


class _Conversion:
    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._next: Callable[[], Any] = CParser(source).get_event
        self._target = target

    def run(self) -> None:
        self._next()  # the stream
        if isinstance(self._next(), StreamEndEvent):
            raise InvalidIndexError("empty index.yaml file")
        begin = self._next()
        if not isinstance(begin, MappingStartEvent):
            raise _wrong(begin, "the index", "a mapping with 'apiVersion' and 'entries'")
        self._target.write(b"{")
        rest: dict[str, Value] = {}
        for key in self._keys("the index"):
            if key == "entries":
                self._entries()
            else:
                rest[key] = self._value(self._next(), key)
        if not rest.get("apiVersion"):
            raise InvalidIndexError("no API version specified")
        self._target.write(orjson.dumps(rest)[1:] + b"\n")

    def _entries(self) -> None:
        """Write all charts, each with its versions."""
        begin = self._next()
        if _is_null(begin):
            return
        if not isinstance(begin, MappingStartEvent):
            raise _wrong(begin, "entries", "a mapping from chart names to versions")
        self._target.write(b'"entries":{\n')
        separator = b""
        for name in self._keys("entries"):
            self._target.write(separator + orjson.dumps(name) + b":[\n")
            self._versions(name)
            self._target.write(b"]")
            separator = b",\n"
        self._target.write(b"\n},\n")

    def _versions(self, name: str) -> None:
        begin = self._next()
        if _is_null(begin):
            return
        if not isinstance(begin, SequenceStartEvent):
            raise _wrong(begin, f"entries.{name}", "a list of versions")
        separator = b""
        while not isinstance(event := self._next(), SequenceEndEvent):
            value = self._value(event, name)
            if isinstance(value, dict) and _is_valid(value):
                self._target.write(separator + orjson.dumps(value))
                separator = b",\n"
            elif value is not None and not isinstance(value, dict):
                raise _wrong(event, f"a version of entries.{name}", "a mapping")
        self._target.write(b"\n")

    def _keys(self, where: str) -> Any:  # noqa: ANN401 - a generator of text
        """Yield the keys of the mapping that was begun; whoever asks reads the values."""
        seen = set()
        while not isinstance(event := self._next(), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise _wrong(event, f"a key of {where}", "text")
            if event.value in seen:
                raise InvalidIndexError(
                    f"line {_line(event)}: key {event.value[:80]!r} is already in {where}"
                )
            seen.add(event.value)
            yield event.value

    def _value(self, event: Event, key: str, depth: int = 0) -> Value:
        """Return the value that an event begins."""
        if type(event) is ScalarEvent:
            return _scalar(event, key)
        if depth > _MAX_DEPTH:
            raise InvalidIndexError(f"line {_line(event)}: nested more than {_MAX_DEPTH} levels")
        if type(event) is MappingStartEvent:
            found: dict[str, Value] = {}
            while type(inner := self._next()) is not MappingEndEvent:
                if type(inner) is not ScalarEvent:
                    raise _wrong(inner, f"a key of {key}", "text")
                value = self._value(self._next(), inner.value, depth + 1)
                if value is not None:
                    found[inner.value] = value
            return found
        if type(event) is SequenceStartEvent:
            items: list[Value] = []
            while type(inner := self._next()) is not SequenceEndEvent:
                items.append(self._value(inner, key, depth + 1))
            return items
        raise _wrong(event, key, "a value")


def _scalar(event: ScalarEvent, key: str) -> Value:
    """Return what a scalar is to the field of that name."""
    text: str = event.value
    if not event.implicit[0]:  # quoted
        return text
    if text in _NULLS:
        return None
    if key in _BOOLEANS:
        return text in _TRUTHS
    if text[0] in "0123456789+-." and "." in text and _FLOAT.fullmatch(text):
        return repr(float(text)).removesuffix(".0")
    return text


def _is_valid(version: dict[str, Value]) -> bool:
    name, number = version.get("name"), version.get("version")
    return (
        isinstance(name, str)
        and name not in {"", ".", ".."}
        and "/" not in name
        and isinstance(number, str)
        and _VERSION.fullmatch(number) is not None
        and version.get("type", "") in _TYPES
    )


def _is_null(event: Event) -> bool:
    return isinstance(event, ScalarEvent) and event.implicit[0] and event.value in _NULLS


def _wrong(event: Event, what: str, wanted: str) -> InvalidIndexError:
    if isinstance(event, AliasEvent):
        return InvalidIndexError(f"line {_line(event)}: an alias, which no index needs, in {what}")
    return InvalidIndexError(f"line {_line(event)}: {what} is not {wanted}")


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def main() -> int:
    """Convert the file of the first argument into the one of the second."""
    source, target = map(Path, sys.argv[1:])
    try:
        with source.open("rb") as read, target.open("wb") as written:
            convert(read, written)
    except InvalidIndexError as err:
        sys.stderr.write(f"{err}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
