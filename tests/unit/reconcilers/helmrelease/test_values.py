"""Merging values: Flux's order, and its surprises."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.helm import ValuesReference
from kube.objects import ObjectId
from reconcilers.helmrelease import values

NO_VALUES = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def reference(
    data: str | bytes, path: str = "", **fields: Any
) -> tuple[ValuesReference, str, bytes]:
    """Return a reference that was resolved."""
    raw = data.encode() if isinstance(data, str) else data
    return ValuesReference(kind="ConfigMap", name="v", target_path=path, **fields), "ns", raw


def merged(inline: dict[str, Any], *references: tuple[ValuesReference, str, bytes]) -> Any:
    """Return what inline values and references come to."""
    return values.of(inline, iter(references)).merged


def test_later_references_win_and_inline_values_win_over_all() -> None:
    first = reference("flat: value\nnested:\n  a: 1\n  b: 1\nlist: [1, 2]\n")
    second = reference("flat:\n  nested: value\nnested:\n  b: 2\n  c: 2\nlist: [3]\n")
    assert merged({"nested": {"c": 3}}, first, second) == {
        "flat": {"nested": "value"},
        "nested": {"a": 1, "b": 2, "c": 3},
        "list": [3],
    }


def test_no_values_have_the_digest_of_nothing() -> None:
    found = values.of({})
    assert (found.merged, found.digest, found.text) == ({}, NO_VALUES, b"{}")


def test_keys_and_words_are_read_as_yaml_1_1() -> None:
    assert merged({}, reference("y: yes\non: off\nmode: 0644\n")) == {"true": False, "mode": 420}


def test_only_the_first_document_counts() -> None:
    assert merged({}, reference("a: 1\n---\na: 2\n")) == {"a": 1}


def test_an_empty_document_is_no_values() -> None:
    assert merged({"a": 1}, reference(""), reference("# nothing\n")) == {"a": 1}


@pytest.mark.parametrize(
    ("path", "inline", "before", "winner"),
    [
        ("a", {"a": "inline"}, "", "inline"),
        ("a", {}, "", "path"),
        ("nest.a", {"nest": {"a": "inline"}}, "", "path"),
        ("nest.a", {"nest": {"a": "inline"}}, "nest: {b: 1}", "inline"),
        ("nest.m.a", {"nest": {"m": {"a": "inline"}}}, "nest: {b: 1}", "path"),
        ("nest.m.a", {"nest": {"m": {"a": "inline"}}}, "nest: {m: {b: 1}}", "inline"),
        ("list[0]", {"list": ["inline"]}, "list: [before]", "path"),
    ],
)
def test_a_target_path_wins_exactly_where_it_wins_in_flux(
    path: str, inline: dict[str, Any], before: str, winner: str
) -> None:
    earlier = [reference(before)] if before else []
    found: Any = merged(inline, *earlier, reference("path", path))
    for key in path.replace("[0]", ".0").split("."):
        found = found[int(key)] if key.isdecimal() else found[key]
    assert found == winner


def test_a_target_path_is_set_over_inline_values_of_other_types() -> None:
    late = reference("flat: value\nnested:\n  configuration: [one, two]\n")
    early = reference("value", "nested.configuration[0]")
    inline = {"nested": {"configuration": ["list", "item"]}}
    assert merged(inline, early, late) == {
        "flat": "value",
        "nested": {"configuration": ["value", "item"]},
    }


def test_literal_data_is_text() -> None:
    assert merged({}, reference("{1,2}", "a", literal=True)) == {"a": "{1,2}"}


def test_large_whole_numbers_of_a_path_go_to_helm_as_text() -> None:
    found = values.of({"inline": 12345678}, iter([reference("12345678", "a"), reference("7", "b")]))
    assert found.merged == {"inline": 12345678, "a": 12345678, "b": 7}
    assert orjson.loads(found.text) == {"inline": 12345678, "a": "12345678", "b": 7}


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ("just text", "", "the values are no map"),
        ("a: [", "", "line 2: did not find expected node content"),
        (b"\xff", "a", "the value is not UTF-8"),
        ("v", "a.b", "unable to parse key: 'a' is no map"),
    ],
)
def test_bad_data_names_the_reference(data: str | bytes, path: str, reason: str) -> None:
    with pytest.raises(values.UnresolvedError) as caught:
        merged({"a": "text"}, reference(data, path, values_key="key"))
    assert str(caught.value) == (
        f"could not resolve ConfigMap chart values reference 'ns/v' with key 'key': {reason}"
    )


SECRET = ObjectId("ns", "s", "", "Secret")


@pytest.mark.parametrize(("data", "reason"), [(None, "resource not found"), ({}, "key not found")])
def test_what_is_missing_is_named_unless_it_is_optional(
    data: dict[str, bytes] | None, reason: str
) -> None:
    needed = ValuesReference(kind="Secret", name="s")
    with pytest.raises(values.UnresolvedError) as caught:
        list(values.resolved([needed], "ns", {SECRET: data}))
    assert str(caught.value) == (
        "could not resolve Secret chart values reference 'ns/s' with key 'values.yaml': " + reason
    )
    optional = ValuesReference(kind="Secret", name="s", optional=True)
    assert list(values.resolved([optional], "ns", {SECRET: data})) == []
