"""CEL, the expression language of Flux's health checks, dependencies and webhook filters.

The work is done by ``cel-expr-python``, Google's C++ implementation, with the extensions that Flux
switches on: optional types, strings, sets and encoders. It costs 10 MiB and some milliseconds, so
it is imported with the first expression, and never where nobody writes one.

An expression comes from whoever may write a Kustomization or a Receiver, so its cost is bounded: by
the library, to a nesting of 32 and 10,000 rounds of all loops, and by `celcost`. Flux bounds its
time only. Memory is not bounded beyond that: a ``join`` over a large list may take much of it.

Numbers of different types can be compared, as in ``size(x) < 1.5``: the library declares that for
values whose type is not known before the evaluation only, so the comparisons are declared anew. One
difference from Flux is the library's: a list or map literal may mix types.

::

    CelError            the message is Flux's
    ├── CompileError    the expression can never work
    └── EvaluationError it cannot be answered for these values, for example for want of a field
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING, Final

from runtime import celcost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cel_expr_python.cel import Env, Expression, FunctionDecl

_EXTENSIONS: Final = """
extensions:
  - {name: optional, version: 2}
  - {name: strings, version: 4}
  - {name: sets}
  - {name: encoders}
stdlib:
  exclude_functions: [{name: _<_}, {name: _<=_}, {name: _>_}, {name: _>=_}]
"""
_COMPARISONS: Final = {
    "_<_": "less",
    "_<=_": "less_equals",
    "_>_": "greater",
    "_>=_": "greater_equals",
}
"""Operators, and how their overloads are called."""
_SHOWN: Final = 256
"""Characters of an expression shown where it is refused for its size."""
_CODE: Final = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_TYPE_NAMES: Final = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}


class CelError(Exception):
    """An expression gives no answer; the message is Flux's."""


class CompileError(CelError):
    """The expression is not CEL, or does not give a boolean."""


class EvaluationError(CelError):
    """The expression gives no answer for these values."""


class Program:
    """An expression that can be evaluated any number of times.

    Args:
        source: the expression.
        compiled: what the library made of it.
    """

    def __init__(self, source: str, compiled: Expression) -> None:
        self.source = source
        self._compiled = compiled
        self._cost = celcost.Cost(source)

    def evaluate(self, variables: Mapping[str, object]) -> bool:
        """Return whether the expression holds.

        Args:
            variables: the values by name, as plain JSON data.

        Raises:
            EvaluationError: a field is missing, the result is no boolean, or the values are too
                large for what the expression does with them.
        """
        if self._cost.is_excessive_for(variables):
            raise self._failure("too much text to search in a loop")
        try:
            result = self._compiled.eval(data=dict(variables))
        except RuntimeError as err:
            raise self._failure(str(err)) from err
        value = result.value()
        if isinstance(value, bool):
            return value
        if result.type().name() == "ERROR":
            raise self._failure(str(value))
        raise EvaluationError(f"failed to evaluate CEL expression as boolean: '{self.source}'")

    def _failure(self, text: str) -> EvaluationError:
        why = _in_flux_words(_CODE.sub("", text), self.source)
        return EvaluationError(f"failed to evaluate the CEL expression '{self.source}': {why}")


@functools.lru_cache(maxsize=512)
def parse(source: str) -> Program:
    """Return the program of an expression whose variables are known only when it is evaluated.

    Raises:
        CompileError: it is not CEL, or exceeds a bound.
    """
    return Program(source, _compile(source, (), is_checked=False))


@functools.lru_cache(maxsize=512)
def check(source: str, *variables: str) -> Program:
    """Return the program of an expression over declared variables, each of which is an object.

    As in Flux a bare field is refused, also where it holds a boolean: the type of a field is not
    known before the evaluation. ``dep.status.ready == true`` says the same and passes.

    Raises:
        CompileError: it is not CEL, names anything else, gives no boolean or exceeds a bound.
    """
    compiled = _compile(source, variables, is_checked=True)
    found = _type_name(compiled.return_type().name())
    if found != "bool":
        raise CompileError(f"CEL expression output type mismatch: expected bool, got {found}")
    return Program(source, compiled)


def _compile(source: str, variables: tuple[str, ...], *, is_checked: bool) -> Expression:
    if excess := celcost.Cost(source).excess():
        start = source[:_SHOWN] + ("…" if len(source) > _SHOWN else "")
        raise CompileError(f"failed to parse the CEL expression '{start}': {excess}")
    try:
        return _environment(variables).compile(source, disable_check=not is_checked)
    except (RuntimeError, TypeError) as err:  # TypeError: the text is not Unicode
        why = _CODE.sub("", str(err))
        raise CompileError(f"failed to parse the CEL expression '{source}': {why}") from err


@functools.lru_cache(maxsize=16)
def _environment(variables: tuple[str, ...]) -> Env:
    from cel_expr_python import cel

    an_object = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_EXTENSIONS),
        variables=dict.fromkeys(variables, an_object),
        functions=_comparisons(),
    )


def _comparisons() -> list[FunctionDecl]:
    """Declare what can be compared: what CEL's standard lets be, and numbers of any two types."""
    from cel_expr_python import cel

    kinds = cel.Type
    numbers = {"int64": kinds.INT, "uint64": kinds.UINT, "double": kinds.DOUBLE}
    others = {"bool": kinds.BOOL, "string": kinds.STRING, "bytes": kinds.BYTES}
    others |= {"timestamp": kinds.TIMESTAMP, "duration": kinds.DURATION}
    alike = {name: (kind, kind) for name, kind in (numbers | others).items()}
    mixed = {
        f"{left}_{right}": (numbers[left], numbers[right])
        for left, right in itertools.permutations(numbers, 2)
    }
    return [
        cel.FunctionDecl(
            operator,
            [
                cel.Overload(f"{word}_{name}", kinds.BOOL, list(pair))
                for name, pair in (alike | mixed).items()
            ],
        )
        for operator, word in _COMPARISONS.items()
    ]


def _type_name(name: str) -> str:
    """Spell a type as Flux does: ``LIST<INT>`` is ``list(int)``."""
    lower = name.lower().replace("<", "(").replace(">", ")")
    return re.sub(r"\w+", lambda word: _TYPE_NAMES.get(word[0], word[0]), lower)


def _in_flux_words(text: str, source: str) -> str:
    """Return what Flux says where the library words an error in its own way."""
    if found := re.search(r"""^Key not found in map : (["']?)(.*)\1$""", text, re.DOTALL):
        return f"no such key: {found[2]}"
    if found := re.search(r'^No value with name "(.+)" found', text):
        return f"no such attribute(s): {_attribute(source, found[1])}"
    if found := re.search(r"^Index error: index=(-?\d+)", text):
        return f"index out of bounds: {found[1]}"
    if text.startswith("No matching overloads found"):
        return "no such overload"
    return "division by zero" if text == "divide by zero" else text


def _attribute(source: str, variable: str) -> str:
    """Return a missing variable with the fields that the expression reads from it."""
    found = re.search(rf"(?<![\w.]){re.escape(variable)}(?:\.\w+\b(?!\s*\())*", source)
    return found[0] if found else variable
