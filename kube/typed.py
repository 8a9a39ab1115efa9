"""Brings objects of Kubernetes' own kinds into the form in which a Go client sends them.

Flux reads every manifest of a built-in kind into the Go struct of that kind and writes the struct
out again before it applies it. That drops unknown fields, nulls and empty optional values, writes
quantities in one way, and adds the empty structs that Go cannot leave out, such as the
``resources`` of a container, which Flux therefore owns. Doing the same here means that nothing
changes when a cluster moves from Flux to gitopsd or back.

The table of the structs (``builtin/types.txt``, written by ``make types``) has one line for each:
its name and its fields, ``name:type``, with ``?`` for Go's omitempty and ``!`` for omitzero. Lines
are read when a manifest first needs them. Everything else here is pure.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from kube import quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from kube.objects import JsonObject

_TABLE: Final = Path(__file__).parent / "builtin" / "types.txt"
_OMIT_EMPTY: Final = "?"


class MismatchError(Exception):
    """A value has another type than its field; the server's own message will name it."""


def round_trip(obj: JsonObject) -> list[str] | None:
    """Rewrite an object of a built-in kind in place, as Go would.

    Args:
        obj: the object. It is left alone when a value does not fit its field, as by Flux: the
            server refuses it in words that name the field.

    Returns:
        The paths of the fields that the kind does not have, which are gone now; None where the
        kind is not built in or a value does not fit.
    """
    name = f"{obj.get('apiVersion')}.{obj.get('kind')}"
    if _line(name) is None:
        return None
    unknown: list[str] = []
    try:
        result = _struct(name).convert(obj, unknown, "")
    except MismatchError:
        return None
    obj.clear()
    obj.update(result)
    return unknown


def is_built_in(api_version: str, kind: str) -> bool:
    """Whether the table has a kind."""
    return _line(f"{api_version}.{kind}") is not None


class _Type(Protocol):
    """How values of one Go type are read and written."""

    is_shown_empty: bool
    """Whether omitempty leaves the empty value in, as it does with structs."""

    def convert(self, value: object, unknown: list[str], path: str) -> object:
        """Return a value, which is not None, as Go would write it.

        Raises:
            MismatchError: it does not fit.
        """

    def zero(self) -> object:
        """Return what Go writes where nothing was given."""


class _Scalar:
    """Strings, booleans and numbers."""

    is_shown_empty = False

    def __init__(self, kinds: tuple[type, ...], zero: object) -> None:
        self._kinds, self._zero = kinds, zero

    def convert(self, value: object, unknown: list[str], path: str) -> object:
        if type(value) in self._kinds:
            return value
        if self._kinds == (int,) and isinstance(value, float) and value.is_integer():
            return int(value)
        raise MismatchError(path)

    def zero(self) -> object:
        return self._zero


class _Bytes:
    """Base64."""

    is_shown_empty = False

    def convert(self, value: object, unknown: list[str], path: str) -> object:
        if not isinstance(value, str):
            raise MismatchError(path)
        try:
            text = value.replace("\r", "").replace("\n", "")
            return base64.b64encode(base64.b64decode(text, validate=True)).decode()
        except binascii.Error as error:
            raise MismatchError(path) from error

    def zero(self) -> object:
        return None


class _Text:
    """A type with a text form of its own, such as a quantity."""

    is_shown_empty = True

    def __init__(self, write: Callable[[object], object], zero: object = None) -> None:
        self._write, self._zero = write, zero

    def convert(self, value: object, unknown: list[str], path: str) -> object:
        try:
            return self._write(value)
        except (TypeError, ValueError) as error:
            raise MismatchError(path) from error

    def zero(self) -> object:
        return self._zero


class _Pointer:
    """A value that may be absent; what it points to is written even when that is empty."""

    is_shown_empty = False

    def __init__(self, inner: _Type) -> None:
        self._inner = inner

    def convert(self, value: object, unknown: list[str], path: str) -> object:
        return self._inner.convert(value, unknown, path)

    def zero(self) -> object:
        return None


class _List:
    is_shown_empty = False

    def __init__(self, item: _Type) -> None:
        self._item = item

    def convert(self, value: object, unknown: list[str], path: str) -> object:
        if not isinstance(value, list):
            raise MismatchError(path)
        item = self._item
        return [
            item.zero() if each is None else item.convert(each, unknown, f"{path}[{index}]")
            for index, each in enumerate(value)
        ]

    def zero(self) -> object:
        return None


class _Map:
    is_shown_empty = False

    def __init__(self, item: _Type) -> None:
        self._item = item

    def convert(self, value: object, unknown: list[str], path: str) -> object:
        if not isinstance(value, dict):
            raise MismatchError(path)
        item = self._item
        return {
            key: item.zero() if each is None else item.convert(each, unknown, f"{path}.{key}")
            for key, each in value.items()
        }

    def zero(self) -> object:
        return None


class _Field(NamedTuple):
    type: _Type
    mark: str

    @property
    def is_always_written(self) -> bool:
        return not self.mark or (self.mark == _OMIT_EMPTY and self.type.is_shown_empty)


class _Struct:
    """One line of the table; its fields are read when the first value comes."""

    is_shown_empty = True

    def __init__(self, name: str) -> None:
        self._name = name

    @functools.cached_property
    def _fields(self) -> dict[str, _Field]:
        return dict(_field(each) for each in (_line(self._name) or "").split())

    @functools.cached_property
    def _always(self) -> tuple[tuple[str, _Type], ...]:
        return tuple(
            (name, each.type) for name, each in self._fields.items() if each.is_always_written
        )

    def convert(self, value: object, unknown: list[str], path: str) -> JsonObject:
        if not isinstance(value, dict):
            raise MismatchError(path)
        fields, result = self._fields, {}
        for name, given in value.items():
            field = fields.get(name)
            if field is None:
                unknown.append(f"{path}.{name}".removeprefix("."))
            elif given is not None:
                written = field.type.convert(given, unknown, f"{path}.{name}")
                if written or not field.mark or _shows_empty(field.type):
                    result[name] = written
        for name, kind in self._always:
            if name not in result:
                result[name] = kind.zero()
        return result

    def zero(self) -> object:
        return self.convert({}, [], "")


def _shows_empty(kind: _Type) -> bool:
    """Whether a given empty value is written although the field is optional."""
    return kind.is_shown_empty or isinstance(kind, _Pointer)


@functools.cache
def _struct(name: str) -> _Struct:
    return _Struct(name)


@functools.cache
def _type(text: str) -> _Type:
    """Return a type from its notation in the table."""
    for mark, wrapper in (("*", _Pointer), ("[]", _List), ("{}", _Map)):
        if text.startswith(mark):
            return wrapper(_type(text.removeprefix(mark)))
    return _PLAIN.get(text) or _struct(text)


def _field(text: str) -> tuple[str, _Field]:
    name, _, kind = text.partition(":")
    bare = name.rstrip("?!")
    return bare, _Field(_type(kind), name[len(bare) :])


@functools.cache
def _table() -> mmap.mmap:
    """Map the table, which costs no memory of our own."""
    with _TABLE.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@functools.lru_cache(maxsize=1024)
def _line(name: str) -> str | None:
    """Return the fields of a struct as the table has them; None where it has no such struct."""
    if not name.isprintable() or " " in name:
        return None
    table, key = _table(), f"\n{name} ".encode()
    start = table.find(key) + len(key)
    return table[start : table.find(b"\n", start)].decode() if start >= len(key) else None


def _quantity(value: object) -> str:
    if type(value) not in {str, int, float}:
        raise TypeError
    return quantity.canonical(value)  # type: ignore[arg-type]  # checked in the line above


def _int_or_string(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) not in {str, int}:
        raise TypeError
    return value


def _time(value: object, timespec: str = "seconds") -> str:
    if not isinstance(value, str):
        raise TypeError
    moment = dt.datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(value)
    text = moment.astimezone(dt.UTC).isoformat(timespec=timespec)
    return text.removesuffix("+00:00") + "Z"


_PLAIN: Final[dict[str, _Type]] = {
    "string": _Scalar((str,), ""),
    "bool": _Scalar((bool,), False),
    "int": _Scalar((int,), 0),
    "float": _Scalar((int, float), 0),
    "bytes": _Bytes(),
    "quantity": _Text(_quantity, "0"),
    "intstr": _Text(_int_or_string, 0),
    "time": _Text(_time),
    "microtime": _Text(functools.partial(_time, timespec="microseconds")),
    "any": _Pointer(_Text(lambda value: value)),
}
