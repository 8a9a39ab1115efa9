"""YAML as Flux reads it: the table taken from Go's decoder, and what hostile input does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube import manifests
from kube.manifests import ManifestError

GOLDEN = [
    json.loads(line)
    for line in (Path(__file__).parent / "data/yaml-golden.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: repr(case["yaml"]))
def test_text_reads_as_go_reads_it(case: dict[str, Any]) -> None:
    if isinstance(case["go"], str) and case["go"].startswith("ERR"):
        with pytest.raises(ManifestError):
            manifests.load(case["yaml"])
        return
    value = manifests.load(case["yaml"])
    assert value == case["go"]
    assert type_tree(value) == type_tree(case["go"])


def type_tree(value: Any) -> Any:
    """Booleans equal numbers in Python; here they must not."""
    if isinstance(value, dict):
        return {key: type_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return [type_tree(item) for item in value]
    return type(value)


@pytest.mark.parametrize(
    ("text", "json_text"),
    [
        ("1.0", b"1"),
        ("1e3", b"1000"),
        ("-2.50", b"-2.5"),
        ("100000000000000000000.0", b"100000000000000000000"),
    ],
)
def test_whole_floats_become_the_integers_that_go_writes(text: str, json_text: bytes) -> None:
    value = manifests.load(f"k: {text}")["k"]
    assert json.dumps(value).encode() == json_text


def test_stream_yields_each_document_with_its_number_and_line() -> None:
    text = "a: 1\n---\n---\n# note\nb: 2\n...\n---\nc: 3\n"
    found = list(manifests.documents(text))
    assert [(each.number, each.value) for each in found] == [
        (0, {"a": 1}),
        (1, None),
        (2, {"b": 2}),
        (3, {"c": 3}),
    ]
    assert [found[0].line, found[2].line, found[3].line] == [1, 5, 8]


def test_documents_before_a_broken_one_are_delivered() -> None:
    stream = manifests.load_all("a: 1\n---\nb: [\n")
    assert next(stream) == {"a": 1}
    with pytest.raises(ManifestError):
        next(stream)


def test_json_is_yaml() -> None:
    obj = {"a": [1, 2.5, None, True, "yes", "é\n"], "b": {"c": {}}}
    assert manifests.load(orjson.dumps(obj)) == obj


def test_bytes_and_text_read_alike() -> None:
    text = "k: ümläut 🎉\n"
    assert manifests.load(text.encode()) == manifests.load(text) == {"k": "ümläut 🎉"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: c: d\n", "deploy.yaml: line 2: mapping values are not allowed in this context"),
        ("a: 1\nb:\n  ? [x]\n  : y\n", "deploy.yaml: line 3: a mapping key must be a scalar"),
        ("a: .nan\n", "deploy.yaml: line 1: .nan has no form in JSON"),
        ("a: 1\n\nb: !!int x\n", "deploy.yaml: line 3: the value is not a number"),
        ("a: !!binary '***'\n", "deploy.yaml: line 1: "),
        ("a: *nowhere\n", "deploy.yaml: line 1: found undefined alias"),
        ("<<: [1]\n", "deploy.yaml: line 1: map merge requires a map"),
        ("a: \x01\n", "deploy.yaml: unreadable character"),
        (b"a: \xff\n", "deploy.yaml: unreadable character"),
    ],
)
def test_error_names_file_and_line(text: str | bytes, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifests.load(text, "deploy.yaml")
    assert str(caught.value).startswith(message)


def test_error_does_not_quote_the_text() -> None:
    with pytest.raises(ManifestError) as caught:
        manifests.load("password: hunter2: x\n")
    assert "hunter2" not in str(caught.value)


def test_merge_keys_give_way_to_the_mapping_s_own_keys() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nm:\n  c: 3\n  <<: [*x, *y]\n"
    assert manifests.load(text)["m"] == {"a": 1, "b": 1, "c": 3}


def test_quoted_merge_key_is_a_key() -> None:
    assert manifests.load("'<<': 1\n") == {"<<": 1}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_without_end_is_refused(opening: str) -> None:
    with pytest.raises(ManifestError, match="levels deep"):
        manifests.load(opening * 200_000)


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = manifests.MAX_DEPTH - 1
    value = manifests.load("[" * depth + "]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


def test_aliases_that_multiply_are_refused_at_once() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    begun = time.monotonic()
    with pytest.raises(ManifestError, match="aliases"):
        manifests.load("\n".join(lines))
    assert time.monotonic() - begun < 1.0


def test_merges_that_multiply_are_refused() -> None:
    lines = ["l0: &l0 {a: {b: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}"]
    for n in range(1, 30):
        inner = ", ".join(f"k{i}: *l{n - 1}" for i in range(10))
        lines.append(f"l{n}: &l{n}\n  <<: *l{n - 1}\n  x: {{{inner}}}")
    with pytest.raises(ManifestError, match="aliases"):
        manifests.load("\n".join(lines))


def test_anchor_that_contains_itself_is_refused() -> None:
    with pytest.raises(ManifestError, match="contains itself"):
        manifests.load("a: &a\n  b: *a\n")


def test_aliases_of_ordinary_size_are_read() -> None:
    text = "base: &b {cpu: 100m, memory: 1Gi}\nuses:\n" + "- *b\n" * 1000
    assert manifests.load(text)["uses"][999] == {"cpu": "100m", "memory": "1Gi"}


def test_pieces_read_as_the_documents_of_the_whole() -> None:
    text = b"# head\na: 1\n---\nb: |\n  x\n  --- no border\n--- # note\nc: '---'\n---\n---\nd: 4\n"
    pieces = list(manifests.split(text))
    values = [manifests.load(text[piece.start : piece.end]) for piece in pieces]
    assert [value for value in values if value] == [
        value for value in manifests.load_all(text) if value
    ]
    assert [piece.line for piece in pieces][:2] == [1, 3]


@given(st.lists(st.sampled_from(["---\n", "a: 1\n", "b: |\n  ---\n", "# c\n", "\n"]), max_size=12))
def test_splitting_never_changes_what_is_read(lines: list[str]) -> None:
    text = "".join(lines)
    whole = [value for value in manifests.load_all(text) if value]
    data = text.encode()
    parts = [manifests.load(data[piece.start : piece.end]) for piece in manifests.split(data)]
    assert [value for value in parts if value] == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_what_is_dumped_reads_back(value: object) -> None:
    assert manifests.load(manifests.dump({"value": value})) == {"value": value}


@pytest.mark.parametrize(
    "text", ["y", "No", "0644", "0o17", "1e3", "~", "", "null", ".inf", "=", "<<"]
)
def test_text_that_looks_like_more_survives_a_dump(text: str) -> None:
    assert manifests.load(manifests.dump({"k": text})) == {"k": text}


def test_dump_is_for_people() -> None:
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"run.sh": "echo a\necho b\n"}}
    assert manifests.dump(obj) == (
        b"kind: ConfigMap\napiVersion: v1\ndata:\n  run.sh: |\n    echo a\n    echo b\n"
    )
