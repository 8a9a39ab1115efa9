"""Writes JSON-like values as block YAML for people to read; it reads nothing.

The wire types do not depend on a YAML library, and what a CRD needs of YAML is little: mappings,
sequences, and strings that are plain where that is safe, folded where they are long, and in JSON's
double quotes, which are YAML's too, otherwise.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

Value: TypeAlias = "Mapping[str, Value] | Sequence[Value] | str | bool | int | float | None"

_WIDTH: Final = 100
_PLAIN: Final = re.compile(r"(?:[A-Za-z/^]|\.(?=[a-z]))(?:[!-\"$-9;-~]|:(?=[!-~])|[ ](?=[!-~]))*")
_NOT_STRINGS: Final = frozenset(
    "y yes n no true false on off null none nan inf .nan .inf -.inf".split()  # noqa: SIM905 - readable
)


def dump(value: Value) -> str:
    """Return ``value`` as a YAML document with sorted keys and a final line break."""
    return "\n".join(_block(value, 0)) + "\n"


def _block(value: Value, indent: int) -> Iterator[str]:
    """Yield the lines of a value that stands below its key, or alone."""
    pad = " " * indent
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _entry(f"{pad}{_scalar(key)}:", value[key], indent)
    elif isinstance(value, Sequence) and value and not isinstance(value, str):
        for item in value:
            yield from _item(item, indent)
    else:
        yield pad + _scalar(value)


def _entry(head: str, value: Value, indent: int) -> Iterator[str]:
    """Yield a key and its value: on one line, folded, or as a block below."""
    if isinstance(value, str) and len(head) + len(value) + 1 > _WIDTH and _folds(value):
        yield f"{head} >-"
        pad = " " * (indent + 2)
        yield from textwrap.wrap(
            value,
            _WIDTH,
            initial_indent=pad,
            subsequent_indent=pad,
            break_long_words=False,
            break_on_hyphens=False,
        )
    elif isinstance(value, (Mapping, list, tuple)) and value:
        yield head
        yield from _block(value, indent if isinstance(value, (list, tuple)) else indent + 2)
    else:
        yield f"{head} {_scalar(value)}"


def _item(value: Value, indent: int) -> Iterator[str]:
    """Yield one entry of a sequence, its first line after the dash."""
    lines = list(_block(value, indent + 2)) if value else [" " * (indent + 2) + _scalar(value)]
    yield f"{' ' * indent}- {lines[0].lstrip()}"
    yield from lines[1:]


def _folds(text: str) -> bool:
    """Tell whether a folded block gives the text back: single spaces, no line breaks."""
    return " ".join(text.split()) == text


def _scalar(value: Value) -> str:
    """Return a scalar or an empty collection on one line."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_STRINGS:
        return value
    return json.dumps(value, ensure_ascii=False)
