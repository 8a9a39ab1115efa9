"""Values of charts, merged from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kube import manifests
from reconcilers.helmchart import values
from sources.helm.errors import ChartError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILES = {
    "values.yaml": "a: {b: 1, c: 2}\nl: [1, 2]\n",
    "b.yaml": "a: {b: null, d: 3}\nl: [3]\n",
    "c.yaml": "a: text\n",
    "empty.yaml": "# nothing\n",
    "many.yaml": "a: 1\n---\na: 2\nb: 3\n",
    "bad.yaml": "a: [",
    "list.yaml": "- a\n",
}


def merged(*paths: str, ignores_missing: bool = False) -> tuple[object, tuple[str, ...]]:
    files: Mapping[str, bytes] = {name: text.encode() for name, text in FILES.items()}
    content, found = values.merge_files(paths, files.get, ignores_missing=ignores_missing)
    return manifests.load(content), found


@pytest.mark.parametrize(
    ("paths", "result"),
    [
        (["values.yaml", "b.yaml"], {"a": {"b": None, "c": 2, "d": 3}, "l": [3]}),
        (["b.yaml", "values.yaml"], {"a": {"b": 1, "c": 2, "d": 3}, "l": [1, 2]}),
        (["values.yaml", "c.yaml"], {"a": "text", "l": [1, 2]}),
        (["c.yaml", "b.yaml"], {"a": {"b": None, "d": 3}, "l": [3]}),
        (["./x/../b.yaml"], {"a": {"b": None, "d": 3}, "l": [3]}),
        (["../../b.yaml"], {"a": {"b": None, "d": 3}, "l": [3]}),
        (["many.yaml"], {"a": 2, "b": 3}),
        (["empty.yaml"], None),
    ],
)
def test_later_files_win_key_by_key(paths: list[str], result: object) -> None:
    assert merged(*paths) == (result, tuple(paths))


def test_missing_file_is_refused_unless_it_may_be_missing() -> None:
    with pytest.raises(ChartError, match=r"no values file found at path 'nope\.yaml'"):
        merged("c.yaml", "nope.yaml")
    found = merged("nope.yaml", "c.yaml", ignores_missing=True)
    assert found == ({"a": "text"}, ("c.yaml",))


@pytest.mark.parametrize(
    ("path", "said"),
    [("bad.yaml", "line 2"), ("list.yaml", "it is not a mapping of values")],
)
def test_file_that_holds_no_values_is_named(path: str, said: str) -> None:
    with pytest.raises(ChartError) as caught:
        merged(path)
    assert str(caught.value).startswith(f"unmarshaling values from '{path}' failed: ")
    assert said in str(caught.value)


def test_merging_changes_neither() -> None:
    base, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert values.merge(base, over) == {"a": {"b": 1, "c": 2}}
    assert (base, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})
