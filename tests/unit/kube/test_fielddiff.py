from __future__ import annotations

from typing import Any

import pytest

from kube import fielddiff
from kube.fielddiff import MISSING, Change


def told(before: object, after: object) -> list[tuple[str, Any, Any]]:
    return [(each.field, each.before, each.after) for each in fielddiff.changes(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("a", 1, 1.0)]),
        ({"a": None}, {}, [("a", None, MISSING)]),
        ({}, {"a": {"b": 1}}, [("a", MISSING, {"b": 1})]),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, [("a.b", 1, 2), ("a.c", MISSING, 3)]),
        ({"a": [{"name": "b"}]}, {"a": [{"name": "b"}]}, []),
        ({"a": [1]}, {"a": {"b": 1}}, [("a", [1], {"b": 1})]),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, [("a", 1, 2), ("b", 1, 2)]),
    ],
)
def test_fields_that_differ_are_told_in_order(
    before: object, after: object, expected: list[tuple[str, Any, Any]]
) -> None:
    assert told(before, after) == expected


def test_keys_that_are_no_words_are_quoted() -> None:
    change = Change(("metadata", "labels", "app.kubernetes.io/name"), "a", "b")

    assert change.field == 'metadata.labels["app.kubernetes.io/name"]'


def test_members_of_a_list_are_matched_by_their_names() -> None:
    before = [{"name": "web", "image": "a:1"}, {"name": "log", "image": "b:1"}]
    after = [
        {"name": "new", "image": "c:1"},
        {"name": "web", "image": "a:2"},
        {"name": "log", "image": "b:1"},
    ]

    assert told({"c": before}, {"c": after}) == [
        ("c[name=web].image", "a:1", "a:2"),
        ("c[name=new]", MISSING, {"name": "new", "image": "c:1"}),
    ]


def test_another_order_of_named_members_is_a_change() -> None:
    one, two = {"name": "a"}, {"name": "b"}

    assert told([one, two], [two, one]) == [("[order of name]", ["a", "b"], ["b", "a"])]


def test_insertion_among_nameless_members_is_one_change() -> None:
    assert told(["--a", "--b"], ["--a", "--new", "--b"]) == [("[1]", MISSING, "--new")]


def test_change_of_a_nameless_member_goes_into_it() -> None:
    assert told([{"x": [1]}], [{"x": [2]}]) == [("[0].x[0]", 1, 2)]


def test_names_that_occur_twice_name_nothing() -> None:
    twice = [{"name": "a", "v": 1}, {"name": "a", "v": 2}]

    assert told(twice, [{"name": "a", "v": 1}]) == [("[1]", {"name": "a", "v": 2}, MISSING)]


def test_view_leaves_out_what_only_the_server_writes() -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "uid": "1", "labels": {}, "annotations": {"k": "v"}},
        "data": {"k": "v"},
        "status": {"x": 1},
    }

    assert fielddiff.view(obj) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"annotations": {"k": "v"}},
        "data": {"k": "v"},
    }


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "s",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "geheim", "x": "y"},
    },
    "data": {"password": "geheim", "user": "geheim"},
    "stringData": {"token": "geheim"},
    "type": "Opaque",
}


def test_secret_is_shown_without_any_of_its_values() -> None:
    shown = fielddiff.masked_object(SECRET)

    assert "geheim" not in str(shown)
    assert shown["data"] == {"password": "***", "user": "***"}
    assert (shown["type"], shown["metadata"]["annotations"]["x"]) == ("Opaque", "y")
    assert SECRET["data"]["password"] == "geheim"  # type: ignore[index]  # the original is left


def test_other_kinds_are_shown_as_they_are() -> None:
    other = {"apiVersion": "example.com/v1", "kind": "Secret", "data": {"a": "b"}}

    assert fielddiff.masked_object(other) is other


@pytest.mark.parametrize("side", [{}, {"metadata": {}}, {"metadata": {"annotations": {}}}])
def test_no_change_of_a_secret_shows_a_value(side: dict[str, Any]) -> None:
    for before, after in ((side, SECRET), (SECRET, side)):
        shown = [fielddiff.masked(each) for each in fielddiff.changes(before, after)]
        assert shown
        assert "geheim" not in str(shown)


def test_change_of_a_secret_tells_that_the_value_is_another() -> None:
    (change,) = fielddiff.changes({"data": {"a": "1"}}, {"data": {"a": "2"}})

    assert fielddiff.masked(change) == Change(("data", "a"), "*** (before)", "*** (after)")
