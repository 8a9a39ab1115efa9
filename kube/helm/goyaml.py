"""YAML exactly as go-yaml v2 writes it, since Flux digests that text.

Block style, an indent of 2, lists at the column of their key, lines folded after 80 columns where
a text has a blank. No library for Python writes these bytes.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kube.helm import goscalars

if TYPE_CHECKING:
    from kube.objects import JsonObject

WIDTH: Final = 80
"""Columns after which a text is folded at its next blank."""
MAX_SIMPLE_KEY: Final = 128
"""Bytes of a key that may stand before its colon without a question mark."""

_INDENT: Final = 2
_EXPONENT_FROM: Final = 6
"""Powers of ten from which a number that is not whole is written with an exponent."""
_BREAKS: Final = "\n\r\x85\u2028\u2029"
_NEVER_FIRST: Final = "#,[]{}&*!|>'\"%@`"
_ESCAPES: Final = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r",
    "\x1b": "e", '"': '"', "\\": "\\", "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


class Integer(int):
    """A whole number that Go has as an integer, where those of JSON are floating to it."""


def dump(values: JsonObject) -> bytes:
    """Return decoded JSON as YAML, with the keys of every map in the order of their bytes."""
    writer = _Writer()
    writer.node(values, -_INDENT)
    writer.indent(0)
    return "".join(writer.parts).encode()


class _Shape(NamedTuple):
    """What the characters of a text allow."""

    plain: bool
    single: bool
    block: bool
    has_breaks: bool


class _Writer:
    """Writes nodes; remembers the column and what stands before it."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._column = 0
        self._after_blank = True
        self._at_indent = True

    # Structure ------------------------------------------------------------------------------

    def node(self, value: Any, indent: int, *, in_mapping: bool = False) -> None:  # noqa: ANN401 - any JSON
        """Write a value.

        Args:
            value: decoded JSON.
            indent: of the collection it is in; negative for the document.
            in_mapping: whether it is the value of a key.
        """
        match value:
            case dict() if value:
                self._mapping(value, indent + _INDENT)
            case list() if value:
                is_level = in_mapping and not self._at_indent
                self._sequence(value, indent if is_level else indent + _INDENT)
            case str():
                self._text(value, indent + _INDENT)
            case _:
                self._token(_scalar(value))

    def _mapping(self, value: JsonObject, indent: int) -> None:
        for key in sorted(value, key=str.encode):
            self.indent(indent)
            if len(key.encode()) <= MAX_SIMPLE_KEY and not _shape(key).has_breaks:
                self._text(key, indent + _INDENT, is_key=True)
                self._indicator(":", needs_blank=False)
            else:
                self._indicator("?", indents=True)
                self._text(key, indent + _INDENT)
                self.indent(indent)
                self._indicator(":", indents=True)
            self.node(value[key], indent, in_mapping=True)

    def _sequence(self, value: list[Any], indent: int) -> None:
        for item in value:
            self.indent(indent)
            self._indicator("-", indents=True)
            self.node(item, indent)

    # Texts ----------------------------------------------------------------------------------

    def _text(self, text: str, indent: int, *, is_key: bool = False) -> None:
        shape = _shape(text)
        can_fold = not is_key
        if "\n" in text:
            if shape.block and not is_key:
                self._literal(text, indent)
            else:
                self._double(text, indent, can_fold=can_fold)
        elif not goscalars.is_text(text):
            self._double(text, indent, can_fold=can_fold)
        elif shape.plain:
            self._plain(text, indent, can_fold=can_fold)
        elif shape.single and not (is_key and shape.has_breaks):
            self._single(text, indent, can_fold=can_fold)
        else:
            self._double(text, indent, can_fold=can_fold)

    def _plain(self, text: str, indent: int, *, can_fold: bool) -> None:
        self._space()
        self._folded(text, indent, can_fold=can_fold, first=0)
        self._after_blank = self._at_indent = False

    def _single(self, text: str, indent: int, *, can_fold: bool) -> None:
        self._indicator("'")
        self._folded(text, indent, can_fold=can_fold, first=1)
        self._indicator("'", needs_blank=False)

    def _folded(self, text: str, indent: int, *, can_fold: bool, first: int) -> None:
        """Write a text and fold it at single blanks; in single quotes, a quote is doubled."""
        after_space = after_break = False
        for index, char in enumerate(text):
            if char == " ":
                follower = text[index + 1 : index + 2]
                may_fold = can_fold and not after_space and index >= first and follower != " "
                if may_fold and self._column > WIDTH and (follower or not first):
                    self.indent(indent)
                else:
                    self._put(char)
                after_space = True
            elif char in _BREAKS:
                self._break(char)
                after_break = True
            else:
                if after_break:
                    self.indent(indent)
                self._put("''" if first and char == "'" else char)
                after_space = after_break = self._at_indent = False

    def _double(self, text: str, indent: int, *, can_fold: bool) -> None:
        self._indicator('"')
        is_marked = text.startswith("\ufeff")  # go-yaml then escapes everything
        after_space = False
        for index, char in enumerate(text):
            if is_marked or char in '"\\' or char in _BREAKS or not _is_printable(char):
                self._put(_escaped(char))
                after_space = False
            elif char == " ":
                may_fold = can_fold and not after_space and 0 < index < len(text) - 1
                if may_fold and self._column > WIDTH:
                    self.indent(indent)
                    if text[index + 1] == " ":
                        self._put("\\")
                else:
                    self._put(char)
                after_space = True
            else:
                self._put(char)
                after_space = False
        self._indicator('"', needs_blank=False)

    def _literal(self, text: str, indent: int) -> None:
        self._indicator("|")
        if text[0] == " " or text[0] in _BREAKS:
            self._put(str(_INDENT))
        if text[-1] not in _BREAKS:
            self._put("-")
        elif len(text) == 1 or text[-2] in _BREAKS:
            self._put("+")
        self._break("\n")
        self._after_blank = after_break = True
        for char in text:
            if char in _BREAKS:
                self._break(char)
                after_break = True
            else:
                if after_break:
                    self.indent(indent)
                self._put(char)
                self._at_indent = after_break = False

    # Characters -----------------------------------------------------------------------------

    def indent(self, indent: int) -> None:
        """Begin a line, unless one has just begun, and go to a column."""
        is_past = self._column > indent or (self._column == indent and not self._after_blank)
        if not self._at_indent or is_past:
            self._break("\n")
        self._put(" " * (indent - self._column))
        self._after_blank = self._at_indent = True

    def _indicator(self, char: str, *, needs_blank: bool = True, indents: bool = False) -> None:
        if needs_blank:
            self._space()
        self._put(char)
        self._after_blank = False
        self._at_indent = self._at_indent and indents

    def _token(self, text: str) -> None:
        self._space()
        self._put(text)
        self._after_blank = self._at_indent = False

    def _space(self) -> None:
        if not self._after_blank:
            self._put(" ")

    def _put(self, text: str) -> None:
        self.parts.append(text)
        self._column += len(text)

    def _break(self, char: str) -> None:
        self.parts.append(char)
        self._column = 0
        self._at_indent = True


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "{}"
        case list():
            return "[]"
        case Integer():
            return str(int(value))
        case int() | float():
            return number(float(value))
        case _:
            raise TypeError(f"no JSON value: {type(value).__name__}")


def number(value: float) -> str:
    """Return a number as Go writes it: whole ones as integers as far as 64 bits go."""
    if value.is_integer() and -(2**63) <= value < 2**64:
        return str(int(value))
    mantissa, _, exponent = f"{value!r}e".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = int(exponent.rstrip("e") or 0) + len(whole) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    power = point - 1
    if power < -4 or power >= _EXPONENT_FROM:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def _shape(text: str) -> _Shape:
    """Tell in which styles a text can be written."""
    if not text:
        return _Shape(plain=True, single=True, block=False, has_breaks=False)
    edges = text[0] + text[-1]
    has_breaks = any(char in _BREAKS for char in text)
    pairs = set(itertools.pairwise(text))
    break_space = any(a in _BREAKS and b == " " for a, b in pairs)
    space_break = any(a == " " and b in _BREAKS for a, b in pairs)
    is_special = space_break or not all(map(_is_printable, text))
    is_edged = any(char == " " or char in _BREAKS for char in edges)
    return _Shape(
        plain=not (is_edged or has_breaks or is_special or _has_indicator(text, pairs)),
        single=not (break_space or is_special),
        block=not (text[-1] == " " or is_special),
        has_breaks=has_breaks,
    )


def _has_indicator(text: str, pairs: set[tuple[str, str]]) -> bool:
    """Tell whether something in a text means more than itself outside quotes."""
    first, second = text[0], text[1:2]
    if text.startswith(("---", "...")) or first in _NEVER_FIRST:
        return True
    if first in "?:-" and (not second or second in " \t"):
        return True
    if text[-1] == ":" or any(a == ":" and b in " \t" for a, b in pairs):
        return True
    return any(b == "#" and (a in " \t\0" or a in _BREAKS) for a, b in pairs)


def _is_printable(char: str) -> bool:
    if char <= "~":
        return char >= " " or char == "\n"
    return ("\xa0" <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd") and char != "\ufeff"


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return f"\\{_ESCAPES[char]}"
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
