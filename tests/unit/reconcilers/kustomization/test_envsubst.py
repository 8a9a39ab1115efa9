"""Substitution gives what Flux's own engine gives, errors included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconcilers.kustomization import envsubst

LINES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data/envsubst-golden.jsonl").read_text().splitlines()
]
VARIABLES: dict[str, str] = LINES[0]["variables"]
CASES = LINES[1:]


@pytest.mark.parametrize("mode", ["lax", "strict"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["in"])
def test_expressions_give_what_flux_gives(case: dict[str, Any], mode: str) -> None:
    wanted = case[mode]
    is_strict = mode == "strict"
    if "error" in wanted:
        with pytest.raises(envsubst.SubstitutionError) as error:
            envsubst.expand(case["in"], VARIABLES, is_strict=is_strict)
        assert str(error.value) == wanted["error"].removeprefix("✗ ")
    else:
        got = envsubst.expand(case["in"], VARIABLES, is_strict=is_strict)
        assert got.removesuffix("\n") == wanted["out"].removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("${#s}", "6"),
        ("${s:1:2}", "é"),
        ("${s^^}", "HÉLLO"),
        ("${s/l/L}", "héLlo"),
        ("${s//l/L}", "héLLo"),
        ("${p/\\//-}", "a-b/c"),
        ("${s:1:x}", "héllo"),
        ("${p%/*}", "a/b"),
        ("${p%%/*}", "a"),
        ("${p#*/}", "b/c"),
        ("${p##?/}", "b/c"),
        ("${p/#a/z}", "z/b/c"),
        ("${p/%b/z}", "a/b/c"),
        ("${X:-$${Y:-z}}", "$z"),
        ("${X:-}", ""),
    ],
)
def test_functions_work_on_bytes_globs_and_literals(text: str, wanted: str) -> None:
    assert envsubst.expand(text, {"s": "héllo", "p": "a/b/c"}) == wanted


def test_what_was_substituted_is_not_looked_at_again() -> None:
    assert envsubst.expand("${a}", {"a": "${b}", "b": "no"}) == "${b}"


def test_a_default_that_is_not_used_must_still_have_its_variables() -> None:
    with pytest.raises(envsubst.SubstitutionError, match=r'variable not set .*"X"'):
        envsubst.expand("${a:-${X}}", {"a": "1"})


def test_a_default_that_starts_with_an_escape_is_still_evaluated() -> None:
    with pytest.raises(envsubst.SubstitutionError, match='"Y"'):
        envsubst.expand("${X:-$${Y}}", {})


def test_long_text_without_expressions_is_copied() -> None:
    text = "data: value\n" * 10_000
    assert envsubst.expand(text, {}) == text
