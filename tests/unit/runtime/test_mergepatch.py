"""Merge patches: the smallest one, and always one that leads where it should."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import mergepatch

SCALARS = st.one_of(st.booleans(), st.integers(0, 2), st.sampled_from(["", "a", "b"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)


def applied(target: Any, patch: Any) -> Any:
    """The algorithm of RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = applied(result.get(key), value)
    return result


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": [2, 1]}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": [{"b": 1}]}, {"a": [{"b": True}]}, {"a": [{"b": True}]}),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"c": 2, "b": 1}]}, {}),
    ],
)
def test_patch_is_the_smallest(old: Any, new: Any, patch: Any) -> None:
    assert mergepatch.merge_patch(old, new) == patch


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"a": None}, {}, {}),
        ({"a": None}, {"a": None}, {}),
        ({}, {"a": None}, {}),
        ({"a": 1}, {"a": {"b": None, "c": {"d": None, "e": 1}}}, {"a": {"c": {"e": 1}}}),
    ],
)
def test_null_is_the_same_as_absent(old: Any, new: Any, patch: Any) -> None:
    assert mergepatch.merge_patch(old, new) == patch


@given(old=OBJECTS, new=OBJECTS)
def test_patch_leads_from_old_to_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert applied(old, mergepatch.merge_patch(old, new)) == new


@given(obj=OBJECTS)
def test_nothing_to_do_is_an_empty_patch(obj: dict[str, Any]) -> None:
    assert mergepatch.merge_patch(obj, obj) == {}
