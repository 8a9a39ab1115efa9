"""``Chart.yaml`` and its kin: what Helm reads in them, and what it refuses."""

from __future__ import annotations

import pytest

from kube import manifests
from reconcilers.helmchart import metadata
from sources.helm.errors import ChartError

MINIMAL = "name: web\nversion: 1.0.0\n"


def read(text: str, **others: str) -> metadata.Metadata:
    files = {name.replace("_", "."): content.encode() for name, content in others.items()}
    return metadata.read({"Chart.yaml": text.encode(), **files})


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("appVersion: 1.10", "app_version", "1.1"),
        ("appVersion: '1.10'", "app_version", "1.10"),
        ("appVersion: 0x10", "app_version", "16"),
        ("appVersion: true", "app_version", "true"),
        ("appVersion: null", "app_version", ""),
        ('description: "a\\tb\\u0000c"', "description", "a bc"),
        ("deprecated: yes", "deprecated", True),
        ("keywords: [a, 1, no]", "keywords", ("a", "1", "false")),
        ("annotations: {a: 1}", "annotations", {"a": "1"}),
        ("apiVersion: v2", "api_version", "v2"),
        ("unknown: {a: b}", "api_version", "v1"),
    ],
)
def test_fields_mean_what_they_mean_to_helm(text: str, field: str, value: object) -> None:
    assert getattr(read(f"{MINIMAL}{text}\n"), field) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "chart.metadata.name is required"),
        ("- a", "cannot load Chart.yaml: "),
        ("name: [a", "cannot load Chart.yaml: line 2"),
        ("name: a", "chart.metadata.version is required"),
        ("name: a/b\nversion: 1.0.0", 'chart.metadata.name "a/b" is invalid'),
        ("name: ..\nversion: 1.0.0", 'chart.metadata.name ".." is invalid'),
        ("name: a\nversion: latest", 'chart.metadata.version "latest" is invalid'),
        (f"{MINIMAL}type: other", "chart.metadata.type must be application or library"),
        (f"{MINIMAL}keywords: a", "cannot load Chart.yaml: Expected `array`"),
        (
            f"{MINIMAL}dependencies: [{{name: a}}, {{name: b, alias: a}}]",
            'more than one dependency with name or alias "a"',
        ),
        (
            f"{MINIMAL}dependencies: [{{name: a, alias: ../b}}]",
            'dependency "a" has disallowed characters in the alias',
        ),
        (f"{MINIMAL}dependencies: [null]", "cannot load Chart.yaml: Expected `object`"),
    ],
)
def test_what_helm_refuses_is_refused(text: str, said: str) -> None:
    with pytest.raises(ChartError) as caught:
        read(text)
    assert said in str(caught.value)


def test_chart_without_its_file_is_none() -> None:
    with pytest.raises(ChartError, match=r"Chart\.yaml file is missing"):
        metadata.read({"values.yaml": b""})


def test_requirements_of_old_charts_are_their_dependencies() -> None:
    text = "dependencies: [{name: a, version: 1.x, repository: 'https://h'}]"
    (found,) = read(MINIMAL, requirements_yaml=text).dependencies
    assert (found.key, found.version, found.is_local) == ("a", "1.x", False)


@pytest.mark.parametrize(
    ("repository", "is_local"),
    [("", True), ("file://../a", True), ("https://h", False), ("@a", False), ("oci://h", False)],
)
def test_where_a_dependency_comes_from(repository: str, is_local: bool) -> None:
    assert metadata.Dependency(name="a", repository=repository).is_local is is_local


def test_written_file_is_sorted_and_leaves_out_what_is_empty() -> None:
    text = f"{MINIMAL}apiVersion: v2\nhome: ''\ndependencies: [{{name: a, tags: [b]}}]\n"
    assert metadata.write(read(text)) == (
        b'apiVersion: v2\ndependencies:\n- name: a\n  repository: ""\n  tags:\n  - b\n'
        b"name: web\nversion: 1.0.0\n"
    )
    old = metadata.write(read(text.replace("v2", "v1")))
    assert old == b"apiVersion: v1\nname: web\nversion: 1.0.0\n"


def test_lock_keeps_its_time_as_text() -> None:
    text = b"generated: 2026-01-02T03:04:05.123456789Z\ndigest: sha256:0\ndependencies: []\n"
    lock = metadata.read_lock(text, "Chart.lock")
    assert manifests.load(metadata.write(lock)) == {
        "dependencies": [],
        "digest": "sha256:0",
        "generated": "2026-01-02T03:04:05.123456789Z",
    }
    with pytest.raises(ChartError, match=r"cannot load Chart\.lock"):
        metadata.read_lock(b"[]", "Chart.lock")
