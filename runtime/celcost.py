"""What a CEL expression may cost, judged before it is compiled and before it is evaluated.

An expression runs on the event loop and nothing can interrupt it. The library bounds its nesting
and the rounds of all its loops; what one round may cost depends on the text that it works on, and
that is estimated here, from above. The estimates take the source apart by its function names
alone, so they never refuse what is cheap for any input.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LENGTH_LIMIT: Final = 4096
"""Characters of one expression."""
GROWTH_LIMIT: Final = 8
"""Operations in one expression that make text longer; each can double it."""
WORK_LIMIT: Final = 2**26
"""Characters that one evaluation may have to search: a third of a second for the slowest search."""
ROUNDS_LIMIT: Final = 10_000
"""Rounds of all loops of one evaluation; the library's own limit."""

_LITERAL: Final = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_GROWS: Final = re.compile(r"\+|\b(?:encode|format|join|quote|replace)\s*\(")
_LOOPS: Final = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(")
_SEARCHES: Final = re.compile(
    r"\.\s*(?:contains|indexOf|lastIndexOf|lowerAscii|matches|replace|split|trim|upperAscii)\s*\("
)
_SPLITS: Final = re.compile(r"\.\s*split\s*\(")


class Cost:
    """The cost of one expression.

    Args:
        source: the expression.
    """

    def __init__(self, source: str) -> None:
        code = _LITERAL.sub("''", source)
        self._length = len(source)
        self._growths = len(_GROWS.findall(code))
        self._loops = len(_LOOPS.findall(code))
        self._searches = len(_SEARCHES.findall(code))
        self._longest_literal = ROUNDS_LIMIT if _SPLITS.search(code) else code.count(",") + 1

    def excess(self) -> str | None:
        """Return which limit the expression itself exceeds."""
        if self._length > LENGTH_LIMIT:
            return f"it is longer than {LENGTH_LIMIT} characters"
        if self._growths > GROWTH_LIMIT:
            return f"more than {GROWTH_LIMIT} operations make text longer"
        return None

    def is_excessive_for(self, values: Mapping[str, object]) -> bool:
        """Whether the expression may have to search more of these values than it should."""
        if not self._searches or not self._loops:
            return False
        longest_text, longest_list = self._length, self._longest_literal
        for each in _containers_and_texts(values):
            if isinstance(each, str):
                longest_text = max(longest_text, len(each))
            else:
                longest_list = max(longest_list, len(each))
        rounds = min(ROUNDS_LIMIT, math.prod([longest_list] * self._loops))
        return self._searches * rounds * longest_text > WORK_LIMIT


def _containers_and_texts(
    values: Mapping[str, object],
) -> Iterator[str | list[object] | dict[str, object]]:
    """Yield every text, list and map of plain JSON data."""
    found: list[object] = [dict(values)]
    while found:
        each = found.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            yield each
            found.extend(each)
            found.extend(each.values())
        elif isinstance(each, list):
            yield each
            found.extend(each)
