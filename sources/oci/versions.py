"""Tags as semantic versions: which one a range means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sources import semver
from sources.oci import manifests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sources.semver import Version


class NoMatchError(ValueError):
    """No tag is inside the range, or the range or the filter is none."""


def choose(tags: Iterable[str], constraint: str, pattern: str = "", media_type: str = "") -> str:
    """Return the tag with the highest version inside a range.

    Args:
        tags: of the repository.
        constraint: the range, in the language of `sources.semver`.
        pattern: a regular expression that a tag must match somewhere; empty for none.
        media_type: of the layer that is wanted. Tags of Helm charts write ``_`` for the ``+`` of a
            version.

    Raises:
        NoMatchError: there is none.
    """
    is_wanted = _filter(pattern)
    try:
        inside = semver.Range(constraint)
    except semver.InvalidRangeError as err:
        raise NoMatchError(f"semver '{constraint}' parse error: {err}") from err
    best: tuple[Version, str] | None = None
    for tag in tags:
        if not is_wanted.search(tag):
            continue
        version = semver.parse_strict(to_version(tag, media_type))
        if version and inside.admits(version) and (best is None or version > best[0]):
            best = (version, tag)
    if best is None:
        raise NoMatchError(f"no match found for semver: {constraint}")
    return best[1]


def to_version(tag: str, media_type: str = manifests.HELM_CHART) -> str:
    """Return the version that a tag stands for."""
    return tag.replace("_", "+") if media_type == manifests.HELM_CHART else tag


def to_tag(version: str) -> str:
    """Return the tag of a Helm chart's version."""
    return version.replace("+", "_")


def _filter(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as err:
        raise NoMatchError(f"semverFilter '{pattern}' parse error: {err}") from err
