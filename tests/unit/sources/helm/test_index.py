"""Which version of a chart a range means, and how it is found in an index."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from sources.helm import convert, index
from sources.helm.index import Entry, NoSuchChartError

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "2.0.0-rc.2", "v0.9.0", "1.9", "1.5.0+b")


def entries(*versions: str) -> list[Entry]:
    return [Entry("web", version) for version in versions]


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("", "1.10.0"),
        ("*", "1.10.0"),
        ("1.x", "1.10.0"),
        ("~1.2", "1.2.0"),
        ("<1.2.0", "1.0.0"),
        (">=1.0.0-0", "2.0.0-rc.2"),
        ("^2.0.0-0", "2.0.0-rc.2"),
        ("2.0.0-rc.1", "2.0.0-rc.1"),
        ("1.9", "1.9"),
        ("0.9.0", "v0.9.0"),
        ("v0.9.0", "v0.9.0"),
        ("1.5.0", "1.5.0+b"),
        ("1.5.0+b", "1.5.0+b"),
        ("v1.2.0", "1.2.0"),
    ],
)
def test_range_means_a_version(wanted: str, version: str) -> None:
    assert index.choose(entries(*VERSIONS), "web", wanted).version == version


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (">2", "no 'web' chart with version matching '>2' found"),
        ("latest", 'improper constraint: "latest"'),
    ],
)
def test_range_without_a_version_is_told(wanted: str, said: str) -> None:
    with pytest.raises(NoSuchChartError) as caught:
        index.choose(entries(*VERSIONS), "web", wanted)
    assert str(caught.value) == said


def test_versions_that_are_not_whole_are_found_only_by_name() -> None:
    with pytest.raises(NoSuchChartError):
        index.choose(entries("1.9"), "web", ">=1")


def test_of_equal_versions_the_youngest_is_taken() -> None:
    listed = [
        Entry("web", "1.0.0+a", created="2026-01-01T00:00:00.5Z"),
        Entry("web", "1.0.0+b", created="2026-01-01T01:00:00.123456789+00:30"),
        Entry("web", "1.0.0+c", created="yesterday"),
        Entry("web", "1.0.0+d", created="2026-01-01T00:10:00"),
    ]
    assert index.choose(listed, "web", "*").version == "1.0.0+b"


@pytest.mark.parametrize(
    ("wanted", "tag"),
    [("", "1.10.0"), (">=2.0.0-0", "2.0.0-rc.2"), ("1.5.0+b", "1.5.0+b"), ("latest", "latest")],
)
def test_tag_is_chosen_alike(wanted: str, tag: str) -> None:
    assert index.choose_tag([*VERSIONS, "latest", "sha256-abc.sig"], wanted) == tag


def test_tag_that_is_not_there_is_told() -> None:
    with pytest.raises(NoSuchChartError, match=r"could not locate a version matching .* >9"):
        index.choose_tag(VERSIONS, ">9")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    text = """\
apiVersion: v1
entries:
  web-a: [{name: web-a, version: 1.0.0}]
  web:
  - {name: web, version: 1.0.0, urls: [web.tgz], digest: abc, description: '"web":['}
  - {name: web, version: 1.1.0, description: "a\\n\\"web\\":[\\n"}
  "we\\"b": [{name: odd, version: 3.0.0}]
  none: []
  null-one:
"""
    with (tmp_path / "index.json").open("wb") as file:
        convert.convert(io.BytesIO(text.encode()), file)
    return tmp_path / "index.json"


def test_chart_is_found_among_others(path: Path) -> None:
    assert index.find(path, "web", "1.0.0") == Entry("web", "1.0.0", ("web.tgz",), "abc")
    assert [entry.version for entry in index.entries(path, "web")] == ["1.0.0", "1.1.0"]
    assert index.find(path, 'we"b', "").version == "3.0.0"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("we", "no chart name found"),
        ("", "no chart name found"),
        ("none", "no chart version found"),
        ("null-one", "no chart version found"),
    ],
)
def test_chart_that_is_not_there_is_told(path: Path, name: str, said: str) -> None:
    with pytest.raises(NoSuchChartError, match=said):
        index.find(path, name, "*")


def test_file_that_is_no_converted_index_is_an_error_of_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "index.json"
    file.write_bytes(b'{"entries":{\n"web":[\n{"name": 1}\n]\n}}')
    with pytest.raises(OSError, match=r"index\.json holds an entry for web that is none"):
        index.find(file, "web", "*")
    file.write_bytes(b"")
    with pytest.raises((OSError, ValueError)):
        index.find(file, "web", "*")
