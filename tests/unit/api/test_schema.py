"""The CRDs: written from the types, structural, and with the names that other tools rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from api import crds, schema
from api.charts import HelmChart, HelmRepository
from api.helm import HelmRelease
from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.notification import Receiver
from api.source import GitRepository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from api.meta import CustomObject

KINDS = pytest.mark.parametrize("kind", schema.KINDS, ids=lambda kind: kind.KIND)


def _properties(kind: type[CustomObject]) -> dict[str, Any]:
    (version,) = schema.definition(kind)["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return found


def _walk(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from _walk(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from _walk(node[key], f"{path}[]")


def test_the_files_are_what_the_types_say() -> None:
    stored = {path.name: path.read_text("utf-8") for path in schema.DIRECTORY.glob("*.yaml")}
    assert stored == schema.files(), "run `make crds`"


def test_writing_removes_the_file_of_a_kind_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "DIRECTORY", tmp_path)
    (tmp_path / "gone.yaml").write_text("")
    assert schema.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == schema.files().keys()


def test_the_package_data_are_the_definitions() -> None:
    loaded = [yaml.safe_load(text) for text in crds.load()]
    wanted = [schema.definition(kind) for kind in schema.KINDS]
    assert sorted(loaded, key=_name) == sorted(wanted, key=_name)


def _name(definition: dict[str, Any]) -> str:
    return str(definition["metadata"]["name"])


@KINDS
def test_every_field_has_a_type_and_a_description(kind: type[CustomObject]) -> None:
    for root in ("spec", "status"):
        for path, node in _walk(_properties(kind)[root], root):
            assert "type" in node or node["x-kubernetes-preserve-unknown-fields"], path
            assert node.get("description") or path.endswith("[]"), path


@KINDS
def test_a_definition_carries_the_names_that_tools_look_for(kind: type[CustomObject]) -> None:
    definition = schema.definition(kind)
    metadata, spec = definition["metadata"], definition["spec"]
    assert metadata["name"] == f"{kind.PLURAL}.{kind.GROUP}"
    assert metadata["labels"]["app.kubernetes.io/part-of"] == "flux"
    assert metadata["annotations"] == {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    assert spec["scope"] == "Namespaced"
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == (kind.VERSION, True, True)
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize("kind", [GitRepository, Kustomization, HelmRelease, Receiver])
def test_a_status_starts_with_a_generation_nobody_observed(kind: type[CustomObject]) -> None:
    assert _properties(kind)["status"]["default"] == {"observedGeneration": -1}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (GitRepository, ("gitrepo", "URL Age Ready Status", "all fluxcd fluxcd-sources")),
        (Kustomization, ("ks", "Age Ready Status", "all fluxcd fluxcd-appliers")),
        (HelmRelease, ("hr", "Age Ready Status", "all fluxcd fluxcd-appliers")),
        (Receiver, ("", "Age Ready Status", "all fluxcd fluxcd-notifications")),
        (HelmRepository, ("helmrepo", "URL Age Ready Status", "all fluxcd fluxcd-sources")),
        (
            HelmChart,
            (
                "hc",
                "Chart Version Source Kind Source Name Age Ready Status",
                "all fluxcd fluxcd-sources",
            ),
        ),
        (FluxInstance, ("", "Age Ready Status Revision", "fluxcd fluxcd-appliers")),
    ],
)
def test_kubectl_shows_what_it_shows_with_flux(
    kind: type[CustomObject], names: tuple[str, str, str]
) -> None:
    spec = schema.definition(kind)["spec"]
    columns = [column["name"] for column in spec["versions"][0]["additionalPrinterColumns"]]
    shorts = spec["names"].get("shortNames", [])
    shown = " ".join(shorts), " ".join(columns), " ".join(spec["names"]["categories"])
    assert shown == names


def test_the_fields_of_a_git_repository_are_flux_s() -> None:
    spec = _properties(GitRepository)["spec"]
    assert spec["required"] == ["url", "interval"]
    assert set(spec["properties"]) == {
        "url", "interval", "timeout", "secretRef", "provider", "serviceAccountName", "ref",
        "verify", "proxySecretRef", "ignore", "suspend", "recurseSubmodules", "include",
        "sparseCheckout",
    }  # fmt: skip
    assert spec["properties"]["timeout"]["default"] == "60s"
    assert spec["properties"]["timeout"]["pattern"] == r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$"
    assert spec["properties"]["verify"]["properties"]["mode"]["default"] == "HEAD"


def test_the_fields_of_a_kustomization_are_flux_s() -> None:
    spec = _properties(Kustomization)["spec"]
    assert spec["required"] == ["interval", "sourceRef", "prune"]
    assert set(spec["properties"]) == {
        "interval", "retryInterval", "timeout", "sourceRef", "path", "prune", "deletionPolicy",
        "dependsOn", "healthChecks", "healthCheckExprs", "wait", "force", "targetNamespace",
        "namePrefix", "nameSuffix", "commonMetadata", "patches", "images", "components",
        "ignoreMissingComponents", "buildMetadata", "postBuild", "decryption",
        "serviceAccountName", "kubeConfig", "ignore", "suspend",
    }  # fmt: skip
    assert "default" not in spec["properties"]["deletionPolicy"]


def test_the_fields_of_a_receiver_are_flux_s() -> None:
    spec = _properties(Receiver)["spec"]
    assert spec["required"] == ["type", "resources"]
    assert set(spec["properties"]) == {
        "type", "interval", "events", "resources", "resourceFilter", "secretRef",
        "oidcProviders", "suspend",
    }  # fmt: skip
    kinds = spec["properties"]["resources"]["items"]["properties"]["kind"]["enum"]
    assert {"FluxInstance", "ResourceSet", "ResourceSetInputProvider"} <= set(kinds)


def test_the_fields_of_an_instance_are_the_operator_s() -> None:
    spec = _properties(FluxInstance)["spec"]
    assert set(spec["properties"]) == {
        "distribution", "components", "commonMetadata", "cluster", "sharding", "storage",
        "kustomize", "wait", "migrateResources", "sync",
    }  # fmt: skip
    assert set(spec["properties"]["storage"]["properties"]) == {"class", "size"}
    assert spec["properties"]["wait"]["default"] is True
    assert spec["properties"]["sync"]["properties"]["interval"]["default"] == "1m"
    assert "default" not in spec["properties"]["components"]


def test_a_type_that_has_no_schema_is_refused() -> None:
    class Odd(msgspec.Struct):
        """Has a field that no structural schema can describe."""

        ratio: float

    with pytest.raises(TypeError, match="no structural schema"):
        schema._struct(Odd)


def test_the_fields_of_helm_repositories_and_charts_are_flux_s() -> None:
    repository, chart = _properties(HelmRepository)["spec"], _properties(HelmChart)["spec"]
    assert repository["required"] == ["url"]
    assert set(repository["properties"]) == {
        "url", "type", "interval", "timeout", "secretRef", "certSecretRef", "passCredentials",
        "insecure", "provider", "suspend", "accessFrom",
    }  # fmt: skip
    assert repository["properties"]["provider"]["default"] == "generic"
    assert "default" not in repository["properties"]["type"]
    assert chart["required"] == ["chart", "sourceRef", "interval"]
    assert set(chart["properties"]) == {
        "chart", "version", "sourceRef", "interval", "reconcileStrategy", "valuesFiles",
        "ignoreMissingValuesFiles", "suspend", "verify",
    }  # fmt: skip
    assert chart["properties"]["version"]["default"] == "*"
    assert chart["properties"]["reconcileStrategy"]["default"] == "ChartVersion"
    (rule,) = chart["x-kubernetes-validations"]
    assert rule["message"].startswith("spec.verify is only supported when")
