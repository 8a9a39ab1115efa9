"""Fields that are not served yet are named, one by one; everything else is served."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api import served
from api.bucket import Bucket
from api.charts import HelmChart, HelmRepository
from api.helm import HelmRelease
from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.notification import Receiver
from api.oci import OCIRepository
from api.source import GitRepository

GIT = {"url": "https://host/repo", "interval": "1m"}
BUCKET = {"bucketName": "b", "endpoint": "host", "interval": "1m"}
SECRET = {"secretRef": {"name": "s"}}
KUSTOMIZATION = {
    "interval": "1m",
    "prune": True,
    "sourceRef": {"kind": "GitRepository", "name": "s"},
}
RECEIVER = {"type": "github", "resources": [{"kind": "GitRepository", "name": "s"}]}
INSTANCE: dict[str, Any] = {
    "distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"},
    "sync": {"kind": "GitRepository", "url": "https://h/r", "ref": "refs/heads/main", "path": "./"},
}


def unserved(kind: Any, base: dict[str, Any], change: dict[str, Any]) -> tuple[str, ...]:
    obj = msgspec.convert({"spec": base | change}, type=kind)
    return served.unserved(obj)


@pytest.mark.parametrize(
    "change",
    [{}, {"url": "ssh://git@host/repo"}, {"provider": "generic"}, {"provider": "github"},
     {"proxySecretRef": {"name": "a"}}, {"secretRef": {"name": "a"}}, {"ref": {"semver": ">1"}},
     {"ignore": ""}, {"suspend": True}, {"include": [{"repository": {"name": "a"}}]},
     {"recurseSubmodules": True}, {"sparseCheckout": ["a"]},
     {"provider": "azure", "serviceAccountName": "a"}, {"provider": "aws"}, {"provider": "azure"},
     {"verify": {"secretRef": {"name": "a"}}}],
)  # fmt: skip
def test_a_git_repository_of_this_version_is_served(change: dict[str, Any]) -> None:
    assert unserved(GitRepository, GIT, change) == ()


@pytest.mark.parametrize(
    "change",
    [{}, SECRET, SECRET | {"provider": "aws"}, SECRET | {"provider": "gcp"}, {"provider": "azure"},
     {"sts": {"provider": "ldap", "endpoint": "https://sts"}}, {"certSecretRef": {"name": "a"}},
     {"proxySecretRef": {"name": "a"}}, {"insecure": True, "region": "r", "prefix": "p"},
     {"provider": "aws"}, {"provider": "gcp"}, {"provider": "azure", "serviceAccountName": "a"},
     {"provider": "aws", "sts": {"provider": "aws", "endpoint": "https://sts"}},
     {"ignore": "*"}, {"suspend": True}],
)  # fmt: skip
def test_a_bucket_of_this_version_is_served(change: dict[str, Any]) -> None:
    assert unserved(Bucket, BUCKET, change) == ()


@pytest.mark.parametrize("kind", ["GitRepository", "OCIRepository", "Bucket", "ExternalArtifact"])
def test_a_kustomization_of_any_source_is_served(kind: str) -> None:
    change = {"sourceRef": {"kind": kind, "name": "s"}}
    assert unserved(Kustomization, KUSTOMIZATION, change) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"deletionPolicy": "WaitForTermination"},
        {"kubeConfig": {"secretRef": {"name": "a"}}, "serviceAccountName": "b"},
        {"healthCheckExprs": [{"apiVersion": "v1", "current": "true"}]},
        {"dependsOn": [{"name": "a"}, {"name": "b", "readyExpr": "true"}]},
    ],
)
def test_a_kustomization_of_this_version_is_served(change: dict[str, Any]) -> None:
    assert not unserved(Kustomization, KUSTOMIZATION, change)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"type": "gitlab"}, "type=gitlab"),
        ({"oidcProviders": [{"issuerURL": "i", "validations": []}]}, "oidcProviders"),
    ],
)
def test_a_receiver_names_what_is_not_served(change: dict[str, Any], path: str) -> None:
    assert unserved(Receiver, RECEIVER, change) == (f"spec.{path}",)


def test_a_receiver_that_filters_is_served() -> None:
    resource = {"kind": "Bucket", "name": "b", "filter": "true"}
    assert not unserved(Receiver, RECEIVER, {"resourceFilter": "true", "resources": [resource]})


@pytest.mark.parametrize("type_", ["github", "generic", "generic-hmac"])
def test_a_receiver_of_these_types_is_served(type_: str) -> None:
    assert unserved(Receiver, RECEIVER, {"type": type_}) == ()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"components": ["source-controller", "source-watcher"]}, "components[1]=source-watcher"),
        ({"sync": INSTANCE["sync"] | {"provider": "gcp"}}, "sync.provider=gcp"),
        ({"sharding": {"shards": ["a"]}}, "sharding"),
        (
            {"cluster": {"multitenantWorkloadIdentity": True}},
            "cluster.multitenantWorkloadIdentity",
        ),
        ({"kustomize": {"patches": [{"patch": "x"}]}}, "kustomize.patches[0]"),
        (
            {"kustomize": {"patches": [{"patch": "x", "target": {"kind": "(Git|OCI)Repository"}}]}},
            "kustomize.patches[0]",
        ),
        (
            {"kustomize": {"patches": [{"patch": "x", "target": {"kind": "["}}]}},
            "kustomize.patches[0]",
        ),
    ],
)
def test_an_instance_names_what_is_not_served(change: dict[str, Any], path: str) -> None:
    assert unserved(FluxInstance, INSTANCE, change) == (f"spec.{path}",)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"components": ["source-controller", "helm-controller"]},
        {"distribution": {"version": "2.x", "registry": "r", "artifact": "oci://a"}},
        {"cluster": {"size": "large", "networkPolicy": False, "type": "openshift"}},
        {"cluster": {"multitenant": True, "tenantDefaultServiceAccount": "a"}},
        {"cluster": {"objectLevelWorkloadIdentity": True}},
        {"storage": {"class": "fast", "size": "1Gi"}},
        {"kustomize": {"patches": [{"patch": "x", "target": {"kind": "Deployment"}}]}},
        {"sync": None},
        {"sync": INSTANCE["sync"] | {"provider": "github"}},
        {"sync": INSTANCE["sync"] | {"provider": "aws"}},
        {"sync": INSTANCE["sync"] | {"kind": "Bucket", "provider": "aws"}},
        {"sync": INSTANCE["sync"] | {"kind": "OCIRepository", "provider": "gcp"}},
    ],
)
def test_what_an_instance_says_of_these_is_served_or_only_a_record(change: dict[str, Any]) -> None:
    assert unserved(FluxInstance, INSTANCE, change) == ()


@pytest.mark.parametrize(
    ("cluster", "opens"),
    [
        (None, False),
        ({}, False),
        ({"size": "small"}, False),
        ({"multitenant": True, "tenantDefaultServiceAccount": "deployer"}, False),
        ({"multitenantWorkloadIdentity": True}, True),
        ({"tenantDefaultDecryptionServiceAccount": "a"}, True),
        ({"tenantDefaultKubeConfigServiceAccount": "a"}, True),
    ],
)
def test_switches_that_keep_tenants_apart_are_told_from_the_rest(
    cluster: dict[str, Any] | None, *, opens: bool
) -> None:
    obj = msgspec.convert({"spec": INSTANCE | {"cluster": cluster}}, type=FluxInstance)
    assert served.opens_tenants(obj) is opens


def test_the_message_names_every_field() -> None:
    assert served.message(("spec.a",)) == (
        "the field is not served by this version of gitopsd: spec.a"
    )
    assert served.message(("spec.a", "spec.b")).endswith(
        "fields are not served by this version of gitopsd: spec.a, spec.b"
    )


@pytest.mark.parametrize("provider", ["generic", "aws", "azure", "gcp"])
def test_a_helm_repository_of_any_cloud_is_served(provider: str) -> None:
    base = {"type": "oci", "url": "oci://h/c"}
    assert unserved(HelmRepository, base, {"provider": provider}) == ()


@pytest.mark.parametrize("provider", ["cosign", "notation"])
@pytest.mark.parametrize("secret", [SECRET, {}])
def test_signatures_of_both_kinds_are_served(provider: str, secret: dict[str, Any]) -> None:
    verify = {"verify": {"provider": provider, **secret}}
    source = {"kind": "HelmRepository", "name": "s"}
    base = {"chart": "c", "interval": "1m", "sourceRef": source}
    assert unserved(HelmChart, base, verify) == ()
    assert unserved(OCIRepository, {"url": "oci://h/c", "interval": "1m"}, verify) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"install": {"serverSideApply": False}},
        {"upgrade": {"serverSideApply": "disabled"}},
        {"rollback": {"serverSideApply": "disabled"}},
    ],
)
def test_a_helm_release_of_this_version_is_served(change: dict[str, Any]) -> None:
    chart = {"kind": "OCIRepository", "name": "chart"}
    assert not unserved(HelmRelease, {"interval": "1h", "chartRef": chart}, change)
