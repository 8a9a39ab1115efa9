"""Searches our own documents and the definitions' fields, ranked by BM25.

The text is what this version ships: the pages of ``docs/`` by section, and every field of every
kind with its description, so that an answer is about what is really served.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api import crds
from kube import manifests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_K1: Final = 1.2
_B: Final = 0.75
_TITLE_WEIGHT: Final = 5
"""How many times more a word of the title counts."""
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HEADING: Final = re.compile(r"^(#{1,3}) (.+)$", re.MULTILINE)
_SHORT: Final = 600
_PLACES: Final = (Path(__file__).parent / "files" / "docs", Path(__file__).parents[1] / "docs")


class Page(NamedTuple):
    """One thing that can be found."""

    title: str
    place: str
    """``docs/flux.md`` or ``crd/Kustomization``."""
    text: str

    @property
    def digest(self) -> str:
        """The beginning, to judge by."""
        return self.text if len(self.text) <= _SHORT else f"{self.text[:_SHORT].rstrip()} …"


class Hit(NamedTuple):
    """A page that was found."""

    page: Page
    score: float


class Library:
    """Some pages, to be searched.

    Args:
        pages: what can be found.
    """

    def __init__(self, pages: Iterable[Page]) -> None:
        self.pages = tuple(pages)
        self._counts = [_count(page) for page in self.pages]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._mean = sum(self._lengths) / max(1, len(self._lengths))
        self._holders = Counter(word for counts in self._counts for word in counts)

    def search(self, query: str, limit: int) -> list[Hit]:
        """Return the pages that are most about a query, the best first."""
        words = list(dict.fromkeys(_words(query)))
        scored = (
            Hit(page, self._score(words, counts, length))
            for page, counts, length in zip(self.pages, self._counts, self._lengths, strict=True)
        )
        found = sorted((hit for hit in scored if hit.score > 0), key=lambda hit: -hit.score)
        return found[:limit]

    def _score(self, words: list[str], counts: Counter[str], length: int) -> float:
        total = 0.0
        for word in words:
            holders, times = self._holders[word], counts[word]
            if not times:
                continue
            rarity = math.log(1 + (len(self.pages) - holders + 0.5) / (holders + 0.5))
            damped = times + _K1 * (1 - _B + _B * length / self._mean)
            total += rarity * times * (_K1 + 1) / damped
        return total


@functools.cache
def shipped() -> Library:
    """Return what this version ships. Blocking the first time: reads all of it."""
    return Library([*_documents(), *_fields()])


def _documents() -> Iterator[Page]:
    """Yield the sections of our documents."""
    folder = next((place for place in _PLACES if place.is_dir()), None)
    for file in sorted(folder.rglob("*.md")) if folder else ():
        text = file.read_text()
        place = f"docs/{file.name}"
        borders = [*_HEADING.finditer(text)]
        ends = [each.start() for each in borders[1:]] + [len(text)]
        for heading, end in zip(borders, ends, strict=True):
            yield Page(heading[2], place, text[heading.end() : end].strip())


def _fields() -> Iterator[Page]:
    """Yield each kind with its top fields, and each field that has fields of its own."""
    for text in crds.load():
        body = manifests.load(text)
        kind = body["spec"]["names"]["kind"]
        version = body["spec"]["versions"][-1]
        root = version["schema"]["openAPIV3Schema"]
        for part in ("spec", "status"):
            found = (root.get("properties") or {}).get(part)
            if found:
                yield from _described(kind, part, found)


def _described(kind: str, path: str, schema: dict[str, Any]) -> Iterator[Page]:
    inner = schema.get("items") if schema.get("type") == "array" else schema
    properties = (inner or {}).get("properties") or {}
    if not properties:
        return
    lines = [schema.get("description", ""), ""]
    for name, each in properties.items():
        lines.append(f"- {path}.{name} ({each.get('type', 'any')}): {each.get('description', '')}")
    yield Page(f"{kind} {path}", f"crd/{kind}", "\n".join(lines).strip())
    for name, each in properties.items():
        yield from _described(kind, f"{path}.{name}", each)


def _count(page: Page) -> Counter[str]:
    counts = Counter(_words(page.text))
    for word in _words(page.title):
        counts[word] += _TITLE_WEIGHT
    return counts


def _words(text: str) -> Iterator[str]:
    """Yield words in lower case, camelCase also in its parts, and the singular of plurals."""
    for word in _WORD.findall(text):
        parts = [word, *(_HUMP.split(word) if _HUMP.search(word) else ())]
        for part in parts:
            lower = part.lower()
            yield lower[:-1] if lower.endswith("s") and not lower.endswith("ss") else lower
