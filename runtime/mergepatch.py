"""JSON merge patches (RFC 7386): the smallest patch that makes one object into another.

A merge patch cannot set a member to null, so null and absent are one and the same here. Lists are
values: they are replaced whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the smallest merge patch that turns ``old`` into ``new``; empty when they are equal.

    Args:
        old: a decoded JSON object, as the server has it.
        new: the object it should become; members that are None count as absent.
    """
    patch: dict[str, Any] = {
        key: None for key, value in old.items() if value is not None and new.get(key) is None
    }
    for key, value in new.items():
        if value is None:
            continue
        before = old.get(key)
        if not isinstance(value, dict):
            if not _is_same(before, value):
                patch[key] = value
        elif not isinstance(before, dict):
            patch[key] = _without_nulls(value)
        elif difference := merge_patch(before, value):
            patch[key] = difference
    return patch


def _is_same(left: object, right: object) -> bool:
    """Compare as JSON does: ``True`` and ``1`` are equal in Python but not in JSON."""
    return left == right and _dumped(left) == _dumped(right)


def _dumped(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(member) if isinstance(member, dict) else member
        for key, member in value.items()
        if member is not None
    }
