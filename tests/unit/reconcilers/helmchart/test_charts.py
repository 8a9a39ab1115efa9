"""Charts in memory: what is loaded, what is lacking, and which version they get."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from reconcilers.helmchart import builds, chart, dependencies
from reconcilers.helmchart.failures import BuildError
from sources.helm import archive
from sources.helm.errors import ChartError
from tests.support import helming
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping


def load(files: Mapping[str, str | bytes]) -> chart.Chart:
    return chart.load_directory(MemoryTree(files), "")


def test_packed_dependency_is_loaded_as_one_in_a_directory_is() -> None:
    files: dict[str, str | bytes] = dict(helming.chart())
    files["charts/near-1.0.0.tgz"] = helming.packed(helming.chart("near"), "near")
    files |= helming.below("charts/far", helming.chart("far"))
    assert [each.name for each in load(files).dependencies] == ["far", "near"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"charts/a/values.yaml": ""}, "error unpacking subchart a in web: Chart.yaml file is"),
        ({"charts/a.tgz": "text"}, "error unpacking subchart a.tgz in web: the chart is no gzip"),
        ({"values.yaml": "[]"}, "cannot load values.yaml: it is not a mapping of values"),
        ({"Chart.lock": "a: ["}, "cannot load Chart.lock: line 2"),
        ({".helmignore": "**"}, "cannot load ignore rules for chart: double-star"),
        ({"templates/a": "x" * (archive.FILE_BYTES + 1)}, "cannot load file templates/a as file"),
    ],
)
def test_chart_that_helm_could_not_load_is_refused(files: dict[str, str], said: str) -> None:
    with pytest.raises(ChartError) as caught:
        load(helming.chart() | files)
    assert str(caught.value).startswith(said)


def test_charts_in_charts_have_a_bound() -> None:
    files = dict(helming.chart())
    for level in range(1, 30):
        files |= helming.below("/".join(["charts/web"] * level), helming.chart())
    with pytest.raises(ChartError, match="charts in charts, more than 20 levels deep"):
        load(files)


def test_schema_that_is_no_json_is_not_packed() -> None:
    loaded = load(helming.chart() | {"values.schema.json": "{"})
    with pytest.raises(ChartError, match=r"invalid JSON in values\.schema\.json"):
        list(loaded.entries())


def test_chart_without_values_can_be_given_none() -> None:
    files = helming.chart()
    del files["values.yaml"]
    with pytest.raises(ChartError, match=r"failed to locate values file: values\.yaml"):
        load(files).replace_values(b"a: 1")


def test_file_with_a_byte_order_mark_loses_it() -> None:
    content = gzip.decompress(helming.packed(helming.chart() | {"a.txt": "\ufeffa"}))
    assert chart.load_archive(gzip.compress(content)).files["a.txt"] == b"a"


@pytest.mark.parametrize(
    ("held", "wanted", "lacking"),
    [
        ("", "{name: a}, {name: b}", ["a", "b"]),
        ("a", "{name: a}, {name: b}", ["b"]),
        ("a", "{name: b, alias: a}, {name: c}", ["c"]),
        ("a", "{name: b}", []),
        ("a b c", "{name: a}", []),
        ("", "", []),
    ],
)
def test_dependencies_are_lacking_by_name_unless_the_numbers_agree(
    held: str, wanted: str, lacking: list[str]
) -> None:
    files = helming.chart() | {
        "Chart.yaml": f"apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{wanted}]\n"
    }
    for name in held.split():
        files |= helming.below(f"charts/{name}", helming.chart(name))
    assert [each.key for each in dependencies.missing(load(files))] == lacking


@pytest.mark.parametrize(
    ("version", "metadata", "result"),
    [
        ("v1.2", (), "v1.2"),
        ("v1.2", ("", ""), "v1.2"),
        ("v1.2", ("7",), "1.2.0+7"),
        ("1.2.3-rc.1+old", ("abc", "7"), "1.2.3-rc.1+abc.7"),
    ],
)
def test_metadata_becomes_part_of_the_version(
    version: str, metadata: tuple[str, ...], result: str
) -> None:
    assert builds.version_with(version, *metadata) == result


@pytest.mark.parametrize(("version", "metadata"), [("latest", "7"), ("1.0.0", "a_b")])
def test_version_that_cannot_take_metadata_is_told(version: str, metadata: str) -> None:
    with pytest.raises(BuildError, match="chart metadata patch error: failed to ") as caught:
        builds.version_with(version, metadata)
    assert caught.value.leaf().reason == "MetadataPatchError"
