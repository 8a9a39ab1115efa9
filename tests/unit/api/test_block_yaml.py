"""The writer of block YAML, against PyYAML as the reader."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from api import block_yaml

_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])).filter(
    lambda text: not set(text) & set("\x85\u2028\u2029\ufeff\ufffe\uffff")
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=20,
)


@given(_VALUES)
def test_a_yaml_reader_gives_every_value_back(value: block_yaml.Value) -> None:
    assert yaml.safe_load(block_yaml.dump(value)) == value


@pytest.mark.parametrize(
    "text",
    ["yes", "No", "null", "~", "", "1", "1.5", "0x1F", ".5", ".inf", "- a", "a: b", "a #b", "a:",
     "'a'", "*a", "&a", "!a", "@a", "`a", "%a", "{a", "[a", "? a", "2026-11-23", "=", "<<", "a\nb"],
)  # fmt: skip
def test_a_string_that_yaml_would_read_otherwise_is_quoted(text: str) -> None:
    assert yaml.safe_load(block_yaml.dump({"key": text})) == {"key": text}


def test_a_long_sentence_is_folded() -> None:
    text = "word " * 40 + "end"
    written = block_yaml.dump({"a": {"description": text}})
    assert max(map(len, written.splitlines())) <= 100
    assert "description: >-\n" in written
    assert yaml.safe_load(written) == {"a": {"description": text}}


def test_keys_are_sorted_and_sequences_stand_below_their_key() -> None:
    assert block_yaml.dump({"b": [{"z": 1, "x": []}], "a": True}) == (
        "a: true\nb:\n- x: []\n  z: 1\n"
    )
