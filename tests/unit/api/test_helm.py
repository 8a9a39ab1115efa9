"""The HelmRelease: its fields are Flux's, its values are kept as the text they came in."""

from __future__ import annotations

from typing import Any

import msgspec

from api import schema
from api.helm import HelmRelease, HelmReleaseSpec, Snapshot


def properties(*path: str) -> dict[str, Any]:
    """Return the properties of the schema at a path."""
    (version,) = schema.definition(HelmRelease)["spec"]["versions"]
    node: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    for name in path:
        node = node["properties"][name]
        node = node.get("items", node)
    found: dict[str, Any] = node["properties"]
    return found


def test_the_fields_of_a_helm_release_are_flux_s() -> None:
    assert set(properties("spec")) == {
        "interval", "chart", "chartRef", "kubeConfig", "suspend", "releaseName",
        "targetNamespace", "storageNamespace", "dependsOn", "timeout", "maxHistory",
        "serviceAccountName", "persistentClient", "driftDetection", "install", "upgrade", "test",
        "rollback", "uninstall", "valuesFrom", "values", "commonMetadata", "postRenderers",
        "postRenderStrategy", "waitStrategy", "healthCheckExprs",
    }  # fmt: skip
    assert set(properties("spec", "chart", "spec")) == {
        "chart", "version", "sourceRef", "interval", "reconcileStrategy", "valuesFiles",
        "ignoreMissingValuesFiles", "verify",
    }  # fmt: skip


def test_the_fields_of_each_action_are_flux_s() -> None:
    both = {
        "timeout", "strategy", "remediation", "disableTakeOwnership", "disableWait",
        "disableWaitForJobs", "disableHooks", "disableOpenAPIValidation",
        "disableSchemaValidation", "crds", "serverSideApply",
    }  # fmt: skip
    assert set(properties("spec", "install")) == both | {"replace", "skipCRDs", "createNamespace"}
    assert set(properties("spec", "upgrade")) == both | {
        "force", "preserveValues", "cleanupOnFail", "chartNameChangeStrategy",
    }  # fmt: skip
    assert set(properties("spec", "rollback")) == {
        "timeout", "disableWait", "disableWaitForJobs", "disableHooks", "recreate", "force",
        "cleanupOnFail", "serverSideApply",
    }  # fmt: skip
    assert set(properties("spec", "uninstall")) == {
        "timeout", "disableHooks", "keepHistory", "disableWait", "deletionPropagation",
    }  # fmt: skip
    assert set(properties("spec", "test")) == {"enable", "timeout", "ignoreFailures", "filters"}


def test_the_fields_of_a_status_are_flux_s() -> None:
    assert set(properties("status")) == {
        "observedGeneration", "conditions", "helmChart", "storageNamespace", "history",
        "inventory", "lastAttemptedGeneration", "lastAttemptedRevision",
        "lastAttemptedRevisionDigest", "lastAttemptedConfigDigest", "lastAttemptedValuesChecksum",
        "lastAttemptedReleaseAction", "lastAttemptedReleaseActionDuration", "lastReleaseRevision",
        "failures", "installFailures", "upgradeFailures", "observedPostRenderersDigest",
        "observedCommonMetadataDigest", "lastHandledReconcileAt", "lastHandledForceAt",
        "lastHandledResetAt",
    }  # fmt: skip
    assert set(properties("status", "history")) == {
        "apiVersion", "digest", "name", "namespace", "version", "status", "action", "chartName",
        "chartVersion", "appVersion", "configDigest", "firstDeployed", "lastDeployed", "deleted",
        "testHooks", "ociDigest",
    }  # fmt: skip


def test_values_may_hold_anything() -> None:
    values = properties("spec")["values"]
    assert values["x-kubernetes-preserve-unknown-fields"] is True
    assert "type" not in values


def test_values_are_kept_as_they_came() -> None:
    text = b'{"big":12345678901234567890,"half":0.50}'
    raw = b'{"metadata":{"name":"a"},"spec":{"interval":"1m","values":%b}}' % text
    obj = msgspec.json.decode(raw, type=HelmRelease)
    assert bytes(obj.spec.values) == text
    assert text in msgspec.json.encode(obj)


def test_a_manifest_has_the_values_as_an_object() -> None:
    spec = HelmReleaseSpec(interval="1m", values=msgspec.Raw(b'{"a": {"b": 1}}'))
    assert HelmRelease.manifest({}, spec)["spec"] == {"interval": "1m", "values": {"a": {"b": 1}}}


def test_releases_without_values_are_equal() -> None:
    assert HelmReleaseSpec(interval="1m") == HelmReleaseSpec(interval="1m")
    assert "values" not in HelmRelease.manifest({}, HelmReleaseSpec(interval="1m"))["spec"]


def test_tests_that_found_no_hooks_differ_from_tests_that_were_not_run() -> None:
    facts = {
        "digest": "sha256:0", "name": "a", "namespace": "n", "version": 1, "status": "deployed",
        "chartName": "c", "chartVersion": "1", "configDigest": "sha256:1",
        "firstDeployed": "2026-01-01T00:00:00Z", "lastDeployed": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    untested = msgspec.convert(facts, Snapshot)
    tested = msgspec.convert(facts | {"testHooks": {}}, Snapshot)
    assert "testHooks" not in msgspec.to_builtins(untested)
    assert msgspec.to_builtins(tested)["testHooks"] == {}
