"""The YAML that Flux digests, compared with what go-yaml v2 wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kube.helm import goyaml

GOLDEN: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data/goyaml-golden.jsonl").read_text().splitlines()
]
"""What go-yaml v2.4.4 wrote of these values, every number a float64 before, as in Flux."""


@pytest.mark.parametrize("row", GOLDEN, ids=range(len(GOLDEN)))
def test_the_bytes_are_go_yaml_s(row: dict[str, Any]) -> None:
    assert goyaml.dump(row["values"]).decode() == row["yaml"]


def test_the_table_has_every_style_in_it() -> None:
    written = "".join(row["yaml"] for row in GOLDEN)
    for mark in ("? ", ": |-", ": |2", ": |+", '"\\U0001F600', "- - ", "{}", "[]", "e+", "''"):
        assert mark in written, mark


def test_an_integer_of_go_s_keeps_all_its_digits() -> None:
    exact = 2**53 + 1
    assert goyaml.dump({"a": goyaml.Integer(exact)}) == b"a: 9007199254740993\n"
    assert goyaml.dump({"a": exact}) == b"a: 9007199254740992\n"


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON value: bytes"):
        goyaml.dump({"a": b"x"})
