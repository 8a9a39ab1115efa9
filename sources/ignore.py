"""Which files of a source stay out of its artifact.

The patterns are those of ``.gitignore``, judged as Flux judges them: for each file the last pattern
that matches it, or a directory above it, decides. Unlike Git, a file can therefore be taken back in
below a directory that is excluded (``/*`` followed by ``!/deploy/app``), and people rely on it.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_NAME = ".sourceignore"
"""A file of patterns that hold for its own directory."""

_VERSION_CONTROL = ".git/ .gitignore .gitmodules .gitattributes"
_DEFAULT = (
    "*.jpg *.jpeg *.gif *.png *.wmv *.flv *.tar.gz *.zip "
    ".github/ .circleci/ .travis.yml .gitlab-ci.yml appveyor.yml .drone.yml cloudbuild.yaml "
    "codeship-services.yml codeship-steps.yml "
    "**/.goreleaser.yml **/.sops.yaml **/.flux.yaml"
)
_NEVER = r"(?!)"


class _Pattern(NamedTuple):
    includes: bool
    regex: str


class Rules:
    """Compiled patterns, asked about one file path at a time.

    Args:
        patterns: in order; the last that matches a path decides about it.
    """

    def __init__(self, patterns: Iterable[_Pattern]) -> None:
        # Neighbours of one polarity are one regular expression: a thousand files cost a
        # millisecond instead of thirty.
        groups = groupby(patterns, key=lambda pattern: pattern.includes)
        self._deciders = [
            (includes, re.compile("|".join(each.regex for each in group), re.DOTALL))
            for includes, group in groups
        ][::-1]

    def excludes(self, path: str) -> bool:
        """Say whether the file at this path stays out."""
        for includes, regex in self._deciders:
            if regex.fullmatch(path):
                return not includes
        return False


def rules(files: Iterable[tuple[str, str]], ignore: str | None) -> Rules:
    """Combine all layers of patterns for a Git or OCI source.

    Args:
        files: directory (``""`` for the root) and text of each ``.sourceignore``, parents first.
        ignore: ``spec.ignore``, which comes last and so wins.

    Returns:
        The version control patterns, then the user's; Flux's default list stands in only where
        the user gives no pattern at all.
    """
    user = [pattern for directory, text in files for pattern in _parse(text, directory)]
    user += _parse(ignore or "", "")
    return Rules([*_words(_VERSION_CONTROL), *(user or _words(_DEFAULT))])


def only(text: str, ignore: str | None) -> Rules:
    """Combine the patterns for a bucket, which has no built-in ones.

    Args:
        text: of the ``.sourceignore`` in the bucket's root.
        ignore: ``spec.ignore``, which comes last and so wins.
    """
    return Rules([*_parse(text, ""), *_parse(ignore or "", "")])


def _words(text: str) -> Iterator[_Pattern]:
    return (_pattern(word, "") for word in text.split())


def _parse(text: str, directory: str) -> Iterator[_Pattern]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield _pattern(line, directory)


def _pattern(line: str, directory: str) -> _Pattern:
    text = line if line.endswith("\\ ") else line.rstrip(" ")
    includes = text.startswith("!")
    text = text.removeprefix("!")
    only_directories = text.endswith("/")
    text = text.removesuffix("/")
    scope = f"{re.escape(directory)}/" if directory else ""
    below = "/.*" if only_directories else "(?:/.*)?"
    return _Pattern(includes, f"{scope}(?:{_translate(text)}){below}")


def _translate(text: str) -> str:
    """Return the regular expression of a pattern without its leading ``!`` and trailing ``/``."""
    parts = [part for part in text.split("/") if part]
    if not parts:
        return _NEVER
    regex = "" if "/" in text else "(?:.*/)?"
    for part in parts[:-1]:
        regex += "(?:.*/)?" if part == "**" else f"{_component(part)}/"
    return regex + (".+" if parts[-1] == "**" else _component(parts[-1]))


_TOKEN = re.compile(
    r"\*+|\?|\[(?P<not>[!^]?)(?P<set>\]?(?:\\.|[^\]\\])*)\]|\\(?P<literal>.)|.", re.DOTALL
)


def _component(part: str) -> str:
    """Translate one path component, within which a wildcard never crosses a slash.

    All stars but the last are atomic: the leftmost match is always good enough there, and a
    hostile pattern cannot make the expression backtrack for ever.
    """
    chunks = [""]
    for found in _TOKEN.finditer(part):
        if found[0].startswith("*"):
            chunks.append("")
        else:
            chunks[-1] += _token(found)
    first, *rest = chunks
    if not rest:
        return first
    return first + "".join(f"(?>[^/]*?{chunk})" for chunk in rest[:-1]) + f"[^/]*{rest[-1]}"


def _token(found: re.Match[str]) -> str:
    text = found[0]
    if text == "?":
        return "[^/]"
    if text.startswith("[") and len(text) > 1:
        return _class(found["set"], negated=bool(found["not"]))
    if text in {"[", "\\"}:
        return _NEVER  # an open bracket or a dangling escape makes the pattern void
    return re.escape(found["literal"] or text)


def _class(members: str, *, negated: bool) -> str:
    escaped = re.sub(r"\\.|[\[\]&~|^]", lambda each: f"\\{each[0][-1]}", members)
    try:
        re.compile(f"[{escaped}]")
    except re.error:  # such as a range that runs backwards
        return _NEVER
    return f"[^/{escaped}]" if negated else f"(?!/)[{escaped}]"
