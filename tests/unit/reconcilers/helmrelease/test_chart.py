"""Charts in artifacts: their version, their definitions, and the copy that helm gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconcilers.helmchart import chart as charts
from reconcilers.helmrelease import chart
from tests.support import helmcharts

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "0123456789abcdef" * 4


def definition(name: str) -> str:
    """Return a CustomResourceDefinition, as far as reading goes."""
    return yaml.safe_dump(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
        }
    )


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def loaded(archive: bytes, revision: str = "") -> chart.Chart:
        file = tmp_path / "stored.tgz"
        file.write_bytes(archive)
        return chart.load(file, str(hash(archive)), revision)

    return loaded


def test_a_chart_says_what_it_is(load: Any) -> None:
    found = load(helmcharts.pack("demo", version="1.2.3", appVersion=1.5))
    assert (found.name, found.version, found.app_version) == ("demo", "1.2.3", "1.5")
    assert found.full_name == "demo@1.2.3"
    assert found.oci_digest == ""


@pytest.mark.parametrize(
    ("version", "revision", "wanted"),
    [
        ("1.2.3", f"1.2.3@{DIGEST}", "1.2.3+0123456789ab"),
        ("1.2.3", DIGEST, "1.2.3+0123456789ab"),
        ("1.2.3", f"latest@{DIGEST}", "1.2.3+0123456789ab"),
        ("1.2.3+build", f"1.2.3_build@{DIGEST}", "1.2.3+0123456789ab"),
        ("1.2.3", f"v1.2.3@{DIGEST}", "1.2.3+0123456789ab"),
        ("v1.2.3", f"1.2.3@{DIGEST}", "1.2.3+0123456789ab"),
        ("1.2.3-rc.1", f"1.2.3-rc.1@{DIGEST}", "1.2.3-rc.1+0123456789ab"),
    ],
)
def test_the_version_of_an_oci_artifact_carries_its_digest(
    load: Any, version: str, revision: str, wanted: str
) -> None:
    found = load(helmcharts.pack("demo", version=version), revision)
    assert (found.version, found.oci_digest) == (wanted, DIGEST)


@pytest.mark.parametrize(
    ("archive", "revision", "complaint"),
    [
        (b"no archive", "", "no gzipped archive"),
        (
            helmcharts.pack("demo", version="1.2.3"),
            f"1.2.4@{DIGEST}",
            "artifact revision 1.2.4 does not match chart version 1.2.3",
        ),
        (
            helmcharts.pack("demo", type="library"),
            "",
            "chart demo is a library chart: it can be a dependency",
        ),
        (helmcharts.pack("demo", version="soon"), "", "is invalid"),
    ],
)
def test_what_cannot_be_released_is_refused(
    load: Any, archive: bytes, revision: str, complaint: str
) -> None:
    with pytest.raises(chart.ChartError, match=complaint):
        load(archive, revision)


def test_helm_gets_the_stored_archive_where_nothing_differs(load: Any, tmp_path: Path) -> None:
    found = load(helmcharts.pack("demo"))
    assert chart.place(found, tmp_path) == str(found.file)


def test_helm_gets_a_copy_with_the_version_that_is_released(load: Any, tmp_path: Path) -> None:
    sub = helmcharts.pack("sub", {"values.yaml": "a: 1\n"})
    files: dict[str, str | bytes] = {
        **helmcharts.DEMO,
        "charts/sub-0.1.0.tgz": sub,
        "files/raw.bin": b"\x00\xff",
    }
    found = load(helmcharts.pack("demo", files, version="1.2.3"), DIGEST)
    path = chart.place(found, tmp_path)
    assert path == str(tmp_path / chart.COPY)
    copy = charts.load_archive((tmp_path / chart.COPY).read_bytes())
    assert copy.metadata.version == "1.2.3+0123456789ab"
    assert copy.files["files/raw.bin"] == b"\x00\xff"
    assert [each.name for each in copy.dependencies] == ["sub"]


def test_dependencies_that_a_chart_does_not_hold_are_left_out_for_helm(
    load: Any, tmp_path: Path
) -> None:
    wanted = [{"name": name, "version": "0.1.0", "repository": ""} for name in ("held", "missing")]
    files = {**helmcharts.DEMO, "charts/held/Chart.yaml": "{name: held, version: 0.1.0}\n"}
    found = load(helmcharts.pack("demo", files, dependencies=wanted))
    chart.place(found, tmp_path)
    copy = charts.load_archive((tmp_path / chart.COPY).read_bytes())
    assert [each.name for each in copy.metadata.dependencies] == ["held"]


def nested() -> bytes:
    """Return a chart with definitions at each level, and switches for its subcharts."""
    leaf = helmcharts.pack("leaf", {"crds/l.yaml": definition("leaves")})
    middle = helmcharts.pack(
        "middle",
        {
            "crds/m.yaml": definition("middles"),
            "charts/leaf-0.1.0.tgz": leaf,
            "values.yaml": "leaf: {enabled: true}\n",
        },
        dependencies=[{"name": "leaf", "version": "0.1.0", "condition": "leaf.enabled"}],
    )
    return helmcharts.pack(
        "root",
        {
            "crds/b.yaml": f"{definition('roots')}---\n{definition('middles')}",
            "crds/a.yaml": f"kind: ConfigMap\nmetadata: {{name: x}}\n---\n{definition('firsts')}",
            "crds/README.md": "no YAML: [",
            "charts/middle-0.1.0.tgz": middle,
            "charts/plain/Chart.yaml": "{name: plain, version: 0.1.0}\n",
            "charts/plain/crds/p.yaml": definition("plains"),
            "values.yaml": "tags: {extra: false}\n",
        },
        dependencies=[
            {
                "name": "middle",
                "version": "0.1.0",
                "alias": "one",
                "condition": "one.enabled,global.on",
                "tags": ["extra"],
            },
            {"name": "middle", "version": "0.1.0", "alias": "two", "condition": "two.enabled"},
        ],
    )


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, "firsts roots middles leaves plains"),
        ({"two": {"enabled": False}}, "firsts roots middles plains"),
        (
            {"two": {"enabled": False}, "tags": {"extra": True}},
            "firsts roots middles leaves plains",
        ),
        (
            {"two": {"enabled": False}, "one": {"enabled": True}},
            "firsts roots middles leaves plains",
        ),
        ({"two": {"leaf": {"enabled": False}}}, "firsts roots middles plains"),
        (
            {"two": {"enabled": False}, "one": {"enabled": "yes"}, "global": {"on": True}},
            "firsts roots middles leaves plains",
        ),
    ],
)
def test_definitions_are_those_of_enabled_subcharts(
    load: Any, values: dict[str, Any], names: str
) -> None:
    found = chart.definitions(load(nested()), values)
    assert [each["metadata"]["name"] for each in found] == names.split()


def test_definitions_that_are_no_yaml_are_named(load: Any) -> None:
    with pytest.raises(chart.ChartError, match=r"crds/bad\.yaml: line 2"):
        chart.definitions(load(helmcharts.pack("demo", {"crds/bad.yaml": "a: [\n"})), {})
