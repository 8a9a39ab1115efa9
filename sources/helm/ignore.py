"""Which files of a chart's directory stay out of the chart, as its ``.helmignore`` says.

The language is Helm's, not Git's: no ``**``, a pattern with a slash in it is held against the whole
path, and a pattern with ``!`` leaves out everything that it does *not* match. Patterns are tried in
order and the first that decides counts. A directory that is left out takes along what is in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_NAME: Final = ".helmignore"
_DEFAULT: Final = "templates/.?*"
_TOKEN: Final = re.compile(r"\*|\?|\[(\^?)((?:\\.|[^\]\\])+)\]|\\(.)|.", re.DOTALL)


class _Rule(NamedTuple):
    regex: re.Pattern[str]
    is_negated: bool
    is_for_directories: bool
    is_for_names: bool
    """Whether the last component of a path counts alone."""

    def matches(self, path: str) -> bool:
        subject = path.rpartition("/")[2] if self.is_for_names else path
        return self.regex.fullmatch(subject) is not None


class Rules:
    """The rules of one chart.

    Args:
        text: of its ``.helmignore``; empty for the default rule alone.

    Raises:
        ChartError: a pattern is none.
    """

    def __init__(self, text: str) -> None:
        self._rules = [*_parse(text.removeprefix("\ufeff")), *_parse(_DEFAULT)]
        self._directories: dict[str, bool] = {}

    def excludes(self, path: str) -> bool:
        """Say whether a file stays out, by itself or with a directory above it.

        Args:
            path: relative to the chart.
        """
        return self._is_below(path) or self._decide(path, is_directory=False)

    def _is_below(self, path: str) -> bool:
        parent = path.rpartition("/")[0]
        if not parent:
            return False
        if parent not in self._directories:
            self._directories[parent] = self._is_below(parent) or self._decide(
                parent, is_directory=True
            )
        return self._directories[parent]

    def _decide(self, path: str, *, is_directory: bool) -> bool:
        for rule in self._rules:
            is_amiss = rule.is_for_directories and not is_directory
            if rule.is_negated:
                if is_amiss or not rule.matches(path):
                    return True
            elif not is_amiss and rule.matches(path):
                return True
        return False


def _parse(text: str) -> Iterator[_Rule]:
    for line in text.splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        if "**" in rule:
            raise ChartError("double-star (**) syntax is not supported")
        pattern = rule.removeprefix("!")
        is_for_directories = pattern.endswith("/")
        pattern = pattern.removesuffix("/")
        yield _Rule(
            re.compile(_translate(pattern.removeprefix("/")), re.DOTALL),
            rule.startswith("!"),
            is_for_directories,
            "/" not in pattern,
        )


def _translate(pattern: str) -> str:
    """Return the regular expression of a pattern in which nothing crosses a slash."""
    return "".join(map(_token, _TOKEN.finditer(pattern)))


def _token(found: re.Match[str]) -> str:
    text = found[0]
    if text == "*":
        return "[^/]*"
    if text == "?":
        return "[^/]"
    if found[2]:
        members = re.sub(r"\\(.)|([\[\]&~|^])", lambda each: f"\\{each[1] or each[2]}", found[2])
        try:
            regex = f"[^/{members}]" if found[1] else f"(?!/)[{members}]"
            re.compile(regex)
        except re.error as err:
            raise ChartError("syntax error in pattern") from err
        return regex
    if text in {"[", "\\"}:
        raise ChartError("syntax error in pattern")
    return re.escape(found[3] or text)
