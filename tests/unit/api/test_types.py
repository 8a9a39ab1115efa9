"""Decoding and encoding of the kinds."""

from __future__ import annotations

import msgspec
import pytest

from api.instance import DEFAULT_COMPONENTS, Distribution, FluxInstance, FluxInstanceSpec
from api.kustomize import Kustomization, KustomizationSpec, SourceReference
from api.meta import Condition, LocalReference, ObjectMeta, ObjectRef
from api.notification import Receiver
from api.source import GitRef, GitRepository, GitRepositorySpec


def test_an_object_as_an_api_server_sends_it_decodes() -> None:
    raw = b"""{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
      "metadata": {"name": "apps", "namespace": "team", "uid": "u", "generation": 3,
        "resourceVersion": "17", "managedFields": [{"manager": "kubectl"}],
        "annotations": {"reconcile.fluxcd.io/requestedAt": "now"}, "someday": 1},
      "spec": {"interval": "5m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"},
        "dependsOn": [{"name": "infra"}], "fieldOfTomorrow": {"a": 1}},
      "status": {"observedGeneration": 2,
        "inventory": {"entries": [{"id": "a_b__ConfigMap", "v": "v1"}]}}}"""
    obj = msgspec.json.decode(raw, type=Kustomization)
    assert obj.ref("home") == ObjectRef("home", "Kustomization", "team", "apps")
    assert obj.requested_at == "now"
    assert [each.name for each in obj.spec.depends_on] == ["infra"]
    assert obj.status.inventory is not None
    assert obj.status.inventory.entries[0].id == "a_b__ConfigMap"
    assert obj.metadata.generation == 3


def test_an_object_without_a_status_has_one_that_nobody_observed() -> None:
    raw = b'{"metadata": {"name": "a"}, "spec": {"url": "https://h/r", "interval": "1m"}}'
    obj = msgspec.json.decode(raw, type=GitRepository)
    assert obj.status.observed_generation == -1
    assert obj.spec.timeout == "60s"
    assert obj.spec.ignore is None


def test_an_empty_ignore_differs_from_an_absent_one() -> None:
    raw = b'{"spec": {"url": "https://h/r", "interval": "1m", "ignore": ""}}'
    assert msgspec.json.decode(raw, type=GitRepository).spec.ignore == ""


def test_a_value_that_a_newer_definition_allows_still_decodes() -> None:
    raw = b'{"spec": {"type": "carrier-pigeon", "resources": [{"kind": "Loft", "name": "*"}]}}'
    assert msgspec.json.decode(raw, type=Receiver).spec.type == "carrier-pigeon"


def test_a_manifest_has_no_field_that_was_not_set() -> None:
    spec = GitRepositorySpec(url="https://h/r", interval="1m", ref=GitRef(name="refs/heads/main"))
    assert GitRepository.manifest({"name": "a"}, spec) == {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "a"},
        "spec": {"url": "https://h/r", "interval": "1m", "ref": {"name": "refs/heads/main"}},
    }


def test_a_required_field_is_written_also_when_it_is_false() -> None:
    source = SourceReference(kind="GitRepository", name="s")
    spec = KustomizationSpec(interval="1m", source_ref=source, prune=False)
    assert msgspec.to_builtins(spec)["prune"] is False


def test_a_condition_is_written_whole() -> None:
    condition = Condition(
        type="Ready", status="True", reason="Succeeded", message="", last_transition_time="t"
    )
    assert msgspec.to_builtins(condition) == {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": "t",
        "observedGeneration": 0,
    }


def test_names_with_unusual_spelling_keep_it_on_the_wire() -> None:
    raw = b"""{"spec": {"type": "generic-oidc", "resources": [],
      "oidcProviders": [{"issuerURL": "https://i", "validations": []}]}}"""
    (provider,) = msgspec.json.decode(raw, type=Receiver).spec.oidc_providers
    assert provider.issuer_url == "https://i"
    assert provider.audience == "notification-controller"


def test_an_instance_without_components_has_the_default_four() -> None:
    spec = FluxInstanceSpec(distribution=Distribution(version="2.x", registry="r"))
    assert spec.enabled == frozenset(DEFAULT_COMPONENTS)
    assert spec.wait


def test_the_types_are_immutable() -> None:
    reference = LocalReference(name="a")
    with pytest.raises(AttributeError):
        reference.name = "b"  # type: ignore[misc]  # what the test is about


def test_a_reference_prints_as_messages_name_it() -> None:
    assert str(ObjectRef("home", "Kustomization", "team", "apps")) == "Kustomization/team/apps"
    assert str(ObjectRef("home", "Namespace", "", "team")) == "Namespace/team"


def test_an_instance_is_named_by_its_kind() -> None:
    spec = FluxInstanceSpec(distribution=Distribution(version="2.x", registry="r"))
    obj = FluxInstance(metadata=ObjectMeta(name="flux", namespace="flux-system"), spec=spec)
    assert str(obj.ref("home")) == "FluxInstance/flux-system/flux"
    assert FluxInstance.api_version() == "fluxcd.controlplane.io/v1"
