"""Finds charts in a repository's index, and the version that a range means.

The index is the file that `sources.helm.convert` wrote: JSON with a line for each version, in which
a chart is found by its name without reading the others.
"""

from __future__ import annotations

import datetime as dt
import mmap
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from sources import semver

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

T = TypeVar("T")

_NEVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


class NoSuchChartError(Exception):
    """The index has no chart of that name, or none in that range; the text says which."""


class Entry(msgspec.Struct, frozen=True):
    """One version of a chart, as an index lists it."""

    name: str
    version: str
    urls: tuple[str, ...] = ()
    """Where it can be fetched, absolute or relative to the index; the first counts."""
    digest: str = ""
    """SHA-256 of its file in hex; empty where the index gives none."""
    created: str = ""
    """When it was packed; of equal versions the youngest is taken."""


def find(path: Path, name: str, wanted: str) -> Entry:
    """Return the version of a chart that is meant. Blocks on the disk.

    Args:
        path: the converted index.
        name: of the chart.
        wanted: a version or a range; empty or ``*`` for the newest that is no pre-release.

    Raises:
        NoSuchChartError: there is none, or ``wanted`` is no range.
        OSError: the file cannot be read, or is not a converted index.
    """
    return choose(entries(path, name), name, wanted)


def entries(path: Path, name: str) -> Sequence[Entry]:
    """Return every version of one chart in an index. Blocks on the disk.

    Raises:
        NoSuchChartError: the index has no chart of that name.
        OSError: the file cannot be read, or is not a converted index.
    """
    head = b"\n" + msgspec.json.encode(name) + b":[\n"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start = text.find(head)
        if start < 0:
            raise NoSuchChartError("no chart name found")
        start += len(head)
        lines = text[start : text.find(b"\n]", start - 1)]
    try:
        return msgspec.json.decode(b"[%b]" % lines, type=tuple[Entry, ...])
    except msgspec.MsgspecError as err:
        raise OSError(f"{path.name} holds an entry for {name} that is none: {err}") from err


def choose(found: Sequence[Entry], name: str, wanted: str) -> Entry:
    """Return the entry that is meant: the exact version, else the highest in the range.

    A version counts for a range only if it has all three numbers. Pre-releases count only where the
    range names one.

    Args:
        found: every version of the chart.
        name: of the chart, for messages.
        wanted: a version or a range; empty or ``*`` for the newest that is no pre-release.

    Raises:
        NoSuchChartError: none is meant, or ``wanted`` is no range.
    """
    if not found:
        raise NoSuchChartError("no chart version found")
    exact = next((entry for entry in found if entry.version == wanted), None)
    if exact is not None:
        return exact
    admitted = _admitted(((entry.version, entry) for entry in found), wanted)
    if not admitted:
        raise NoSuchChartError(f"no '{name}' chart with version matching '{wanted}' found")
    return max(admitted, key=lambda pair: (pair[0], _created(pair[1])))[1]


def choose_tag(tags: Iterable[str], wanted: str) -> str:
    """Return the tag that is meant, among those of a chart in a registry; as `choose`.

    Raises:
        NoSuchChartError: none is meant, or ``wanted`` is no range.
    """
    known = tuple(tags)
    if wanted in known:
        return wanted
    admitted = _admitted(((tag, tag) for tag in known), wanted)
    if not admitted:
        raise NoSuchChartError(
            f"could not locate a version matching provided version string {wanted}"
        )
    return max(admitted, key=lambda pair: pair[0])[1]


def _admitted(versions: Iterable[tuple[str, T]], wanted: str) -> list[tuple[semver.Version, T]]:
    try:
        admits = semver.Range(wanted or "*").admits
    except semver.InvalidRangeError as err:
        raise NoSuchChartError(str(err)) from err
    parsed = ((semver.parse_strict(text), item) for text, item in versions)
    return [(version, item) for version, item in parsed if version and admits(version)]


def _created(entry: Entry) -> dt.datetime:
    try:
        created = dt.datetime.fromisoformat(entry.created)
    except ValueError:
        return _NEVER
    return created if created.tzinfo else created.replace(tzinfo=dt.UTC)
