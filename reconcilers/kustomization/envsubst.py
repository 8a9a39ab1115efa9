r"""Variable substitution in text, with the expressions and the oddities of Flux's own engine.

What differs from a shell, because existing repositories rely on it:

- ``$name`` without braces is text; every ``$$`` outside an expression becomes ``$``.
- ``:-``, ``:=``, ``=``, ``:?`` and ``:+`` all mean "this default where the variable is unset or
  empty"; the default is evaluated even where it is not used, and inside it ``$$`` is no escape.
- ``${name-text}``, ``${name.key}``, ``${name[@]}`` and ``${{ }}`` are errors, not text.
- lengths and offsets count bytes; ``/`` replaces literal text, while ``#`` and ``%`` cut globs.
- what was substituted is not looked at again.

A golden table recorded from Flux's engine, ``tests/unit/reconcilers/kustomization/data``, holds
this in both modes. Pure; raises `SubstitutionError` alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_TEXT: Final = re.compile(r"[^$]+")
_OPERATORS: Final = (
    *(":-", ":=", ":?", ":+", ":", "="),
    *("^^", "^", ",,", ","),
    *("##", "#", "%%", "%"),
    *("//", "/#", "/%", "/"),
)
"""Longer ones before those they begin with."""
_DEFAULTS: Final = frozenset({":-", ":=", ":?", ":+", "="})
_REPLACEMENTS: Final = frozenset({"/", "//", "/#", "/%"})
_PLAIN: Final = frozenset({"^", "^^", ",", ",,"})


class SubstitutionError(ValueError):
    """An expression that cannot be parsed, or, in strict mode, a variable without a value."""


def expand(text: str, variables: Mapping[str, str], *, is_strict: bool = True) -> str:
    """Replace the expressions in a text.

    Args:
        text: any text, usually the YAML of one object.
        variables: values by name.
        is_strict: refuse a variable that is unset and has no default; otherwise it is empty.

    Raises:
        SubstitutionError: see its docstring; the message is Flux's.
    """
    return _Expander(text, variables, is_strict=is_strict).run()


class _Expander:
    """One pass over one text."""

    def __init__(self, text: str, variables: Mapping[str, str], *, is_strict: bool) -> None:
        self._text, self._variables, self._is_strict = text, variables, is_strict
        self._at = 0

    def run(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text):
            if self._skip("$$"):
                parts.append("$")
            elif self._skip("${"):
                parts.append(self._expression())
            elif self._skip("$"):
                parts.append("$")
            else:
                parts.append(self._match(_TEXT))
        return "".join(parts)

    def _expression(self) -> str:
        """Evaluate what follows ``${``, up to and with its closing brace."""
        is_length = self._skip("#")
        name = self._match(_NAME)
        if not name:
            self._fail("unable to parse variable name")
        if is_length:
            self._close()
            return str(len(self._value(name).encode()))
        operator = next((each for each in _OPERATORS if self._skip(each)), "")
        if operator in _DEFAULTS:
            default = self._argument("}")
            self._close()
            return self._variables.get(name) or default
        arguments = self._arguments(operator)
        self._close()
        return _FUNCTIONS[operator](self._value(name), arguments)

    def _arguments(self, operator: str) -> list[str]:
        if not operator or operator in _PLAIN:
            return []
        if operator in _REPLACEMENTS:
            old = self._argument("/}")
            if not self._skip("/"):
                self._fail("bad substitution")
            return [old, self._argument("}")]
        if operator == ":":
            first = self._argument(":}")
            return [first, self._argument("}")] if self._skip(":") else [first]
        return [self._argument("}")]

    def _argument(self, end: str) -> str:
        """Read an argument, with the expressions in it, up to one of the characters of ``end``."""
        parts: list[str] = []
        while (char := self._text[self._at : self._at + 1]) and char not in end:
            if char == "\n":
                self._fail("unable to parse substitution within function")
            if self._skip("${"):
                parts.append(self._expression())
            elif "/" in end and self._skip("\\/"):
                parts.append("/")
            else:
                parts.append(char)
                self._at += 1
        return "".join(parts)

    def _value(self, name: str) -> str:
        value = self._variables.get(name)
        if value is None and self._is_strict:
            self._fail(f'variable not set (strict mode): "{name}"')
        return value or ""

    def _close(self) -> None:
        if not self._skip("}"):
            self._fail("missing closing brace")

    def _skip(self, token: str) -> bool:
        is_there = self._text.startswith(token, self._at)
        self._at += len(token) * is_there
        return is_there

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()

    def _fail(self, message: str) -> NoReturn:
        raise SubstitutionError(message)


def _substring(value: str, arguments: list[str]) -> str:
    """Cut bytes; an offset or a length that is no number leaves the value whole."""
    try:
        numbers = [_integer(each) for each in arguments]
    except ValueError:
        return value
    data = value.encode()
    start = numbers[0] if numbers[0] >= 0 else max(0, len(data) + numbers[0])
    end = len(data)
    if len(numbers) > 1:
        end = start + numbers[1] if numbers[1] >= 0 else end + numbers[1]
    return data[start : max(start, end)].decode(errors="replace")


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(text)
    return int(text)


def _glob(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char, re.escape(char)) for char in pattern), re.DOTALL)


def _trim(value: str, pattern: str, cuts: Callable[[str], list[tuple[str, str]]]) -> str:
    """Cut the first of the candidates, each (what goes, what stays), that the glob matches."""
    glob = _glob(pattern)
    return next((rest for cut, rest in cuts(value) if glob.fullmatch(cut)), value)


def _prefixes(value: str) -> list[tuple[str, str]]:
    return [(value[:at], value[at:]) for at in range(len(value) + 1)]


def _suffixes(value: str) -> list[tuple[str, str]]:
    return [(value[at:], value[:at]) for at in range(len(value), -1, -1)]


def _replace_prefix(value: str, arguments: list[str]) -> str:
    old, new = arguments
    return new + value.removeprefix(old) if value.startswith(old) else value


def _replace_suffix(value: str, arguments: list[str]) -> str:
    old, new = arguments
    return value.removesuffix(old) + new if value.endswith(old) else value


_FUNCTIONS: Final[Mapping[str, Callable[[str, list[str]], str]]] = {
    "": lambda value, _: value,
    ":": _substring,
    "^": lambda value, _: value[:1].upper() + value[1:],
    "^^": lambda value, _: value.upper(),
    ",": lambda value, _: value[:1].lower() + value[1:],
    ",,": lambda value, _: value.lower(),
    "#": lambda value, args: _trim(value, args[0], _prefixes),
    "##": lambda value, args: _trim(value, args[0], lambda text: _prefixes(text)[::-1]),
    "%": lambda value, args: _trim(value, args[0], _suffixes),
    "%%": lambda value, args: _trim(value, args[0], lambda text: _suffixes(text)[::-1]),
    "/": lambda value, args: value.replace(args[0], args[1], 1),
    "//": lambda value, args: value.replace(args[0], args[1]),
    "/#": _replace_prefix,
    "/%": _replace_suffix,
}
