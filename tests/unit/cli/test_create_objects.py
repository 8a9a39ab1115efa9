from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cli import create, create_objects
from daemon import kinds
from inspection import failure
from kube import manifests

if TYPE_CHECKING:
    from pathlib import Path


def built(*argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    create.configure(parser)
    return create_objects.build(parser.parse_args(argv))


def test_source_has_what_its_options_say() -> None:
    found = built(
        "source", "git", "fleet", "--url", "https://example.com/x", "--branch", "main",
        "--secret-ref", "deploy", "--interval", "5m", "--label", "team=a",
    )  # fmt: skip

    assert (found["apiVersion"], found["kind"]) == (
        "source.toolkit.fluxcd.io/v1",
        "GitRepository",
    )
    assert found["metadata"]["labels"] == {"team": "a"}
    assert found["spec"] == {
        "interval": "5m",
        "url": "https://example.com/x",
        "ref": {"branch": "main"},
        "secretRef": {"name": "deploy"},
    }


def test_kustomization_names_its_source_and_dependencies() -> None:
    found = built(
        "kustomization", "apps", "--source", "git/fleet.infra", "--path", "./apps", "--prune",
        "--depends-on", "db,infra/crds",
    )  # fmt: skip

    assert found["spec"] == {
        "interval": "1m",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": "fleet", "namespace": "infra"},
        "path": "./apps",
        "dependsOn": [{"name": "db"}, {"name": "crds", "namespace": "infra"}],
    }


def test_values_are_merged_from_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("replicas: 2\nimage: {tag: '1'}\n")
    (tmp_path / "b.yaml").write_text("replicas: 3\n")
    files = f"{tmp_path}/a.yaml,{tmp_path}/b.yaml"

    found = create_objects._value("values", files, argparse.Namespace())

    assert found == {"replicas": 3, "image": {"tag": "1"}}
    (tmp_path / "b.yaml").write_text("- no mapping\n")
    with pytest.raises(failure.UsageError, match="values are one mapping"):
        create_objects._value("values", files, argparse.Namespace())


def test_export_prints_what_would_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    create.configure(parser)
    argv = ["kustomization", "apps", "--source", "git/fleet", "--export"]

    assert create.execute(parser.parse_args(argv)) == 0
    assert manifests.load(capsys.readouterr().out)["spec"]["sourceRef"]["name"] == "fleet"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["ks", "apps"], "give --source too"),
        (["source", "git", "a"], "give --url too"),
        (["source", "oci", "a", "--tag", "1"], "give --url too"),
        (["source", "helm", "a"], "give --url too"),
        (["source", "bucket", "a"], "give --bucket-name and --endpoint too"),
        (["source", "chart", "a", "--chart", "web"], "give --source too"),
        (["hr", "a"], "give --chart and --source KIND/NAME, or --chart-ref KIND/NAME"),
        (["hr", "a", "--chart", "web"], "give --source too"),
        (["hr", "a", "--source", "helmrepo/charts"], "give --chart too"),
        (["ks", "apps", "--source", "fleet"], "is no KIND/NAME"),
        (["ks", "apps", "--source", "gti/fleet"], "did you mean"),
        (["source", "git", "a", "--url", "https://x", "--label", "x"], "write KEY=VALUE"),
    ],
)
def test_option_that_says_nothing_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(failure.UsageError, match=message):
        built(*argv)


@pytest.mark.parametrize("kind", [kind for kind in create_objects.FIELDS if kind in kinds.BY_NAME])
def test_every_option_fills_a_field_that_its_kind_has(kind: str) -> None:
    types = {each.name: each.type for each in msgspec.structs.fields(kinds.BY_NAME[kind].type)}
    spec = {each.encode_name for each in msgspec.structs.fields(types["spec"])}

    options = {**create_objects.FIELDS[kind], **create_objects._COMMON}
    assert {path.split(".")[0] for path, _ in options.values()} <= spec
