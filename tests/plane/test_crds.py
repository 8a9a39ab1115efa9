"""The definitions on a real API server: accepted, and as strict and as generous as Flux's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from devcluster.access import KubectlError
from tests.support import engine, reconciling

if TYPE_CHECKING:
    from devcluster.access import Access

GIT = {"url": "https://host/repo", "interval": "1m"}
KUSTOMIZATION = {
    "interval": "1m",
    "prune": True,
    "sourceRef": {"kind": "GitRepository", "name": "s"},
}
RECEIVER = {
    "type": "github",
    "resources": [{"kind": "GitRepository", "name": "s"}],
    "secretRef": {"name": "token"},
}
INSTANCE = {"distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"}}
SYNC = {"kind": "GitRepository", "url": "https://h/r", "ref": "refs/heads/main", "path": "k8s/"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "GitRepository": ("source.toolkit.fluxcd.io/v1", GIT),
    "Kustomization": ("kustomize.toolkit.fluxcd.io/v1", KUSTOMIZATION),
    "Receiver": ("notification.toolkit.fluxcd.io/v1", RECEIVER),
    "FluxInstance": ("fluxcd.controlplane.io/v1", INSTANCE),
}


@pytest.fixture
async def installed(cluster: Access) -> Access:
    """The cluster with our definitions, which are installed once and found in place afterwards."""
    async with engine.connected(cluster) as client:
        await reconciling.install(client)
    return cluster


def manifest(kind: str, change: dict[str, Any], name: str = "flux") -> str:
    api_version, base = KINDS[kind]
    spec = {key: value for key, value in (base | change).items() if value is not None}
    return json.dumps(
        {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
    )


def create(cluster: Access, namespace: str, text: str, *options: str) -> dict[str, Any]:
    arguments = ("create", "-n", namespace, "-o", "json", "--validate=strict", *options, "-f", "-")
    obj: dict[str, Any] = json.loads(cluster.kubectl(*arguments, input=text))
    return obj


@pytest.mark.parametrize(
    ("kind", "change", "complaint"),
    [
        ("GitRepository", {"url": None}, "spec.url: Required value"),
        ("GitRepository", {"url": "git@host:repo"}, "spec.url in body should match"),
        ("GitRepository", {"interval": "soon"}, "spec.interval in body should match"),
        ("GitRepository", {"timeout": "1h"}, "spec.timeout in body should match"),
        ("GitRepository", {"provider": "gitea"}, "spec.provider: Unsupported value"),
        (
            "GitRepository",
            {"serviceAccountName": "a"},
            "serviceAccountName can only be set when provider is 'azure' or 'aws'",
        ),
        ("GitRepository", {"brunch": "main"}, 'unknown field "spec.brunch"'),
        ("Kustomization", {"prune": None}, "spec.prune: Required value"),
        ("Kustomization", {"sourceRef": {"kind": "Disk", "name": "s"}}, "Unsupported value"),
        ("Kustomization", {"targetNamespace": "n" * 64}, "may not be more than 63"),
        ("Kustomization", {"deletionPolicy": "Forget"}, "Unsupported value"),
        (
            "Kustomization",
            {"kubeConfig": {}},
            "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef",
        ),
        (
            "Kustomization",
            {"kubeConfig": {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}},
            "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef",
        ),
        ("Receiver", {"type": "pigeon"}, "spec.type: Unsupported value"),
        ("Receiver", {"secretRef": None}, "secretRef must be set"),
        ("Receiver", {"type": "generic-oidc"}, "secretRef cannot be set"),
        ("FluxInstance", {"distribution": {"version": "2.x"}}, "registry: Required value"),
        ("FluxInstance", {"components": ["kubelet"]}, "Unsupported value"),
        ("FluxInstance", {"sync": SYNC | {"interval": "x"}}, "should match"),
        ("FluxInstance", {"sync": SYNC | {"name": "n" * 64}}, "may not be more than 63"),
        ("FluxInstance", {"sync": SYNC | {"provider": "gcp"}}, "provider 'gcp' is not supported"),
        (
            "FluxInstance",
            {"cluster": {"multitenantWorkloadIdentity": True}},
            "requires objectLevelWorkloadIdentity",
        ),
        (
            "FluxInstance",
            {"sharding": {"shards": ["a"], "storage": "persistent"}},
            "requires spec.storage",
        ),
    ],
)
def test_what_flux_refuses_is_refused(
    installed: Access, namespace: str, kind: str, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(KubectlError, match=complaint.replace(".", r"\.")):
        create(installed, namespace, manifest(kind, change), "--dry-run=server")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (
            "GitRepository",
            {
                "ref": {"branch": "main", "tag": "v1", "semver": ">1", "name": "x", "commit": "c"},
                "secretRef": {"name": "a"},
                "provider": "azure",
                "serviceAccountName": "sa",
                "verify": {"mode": "head", "secretRef": {"name": "a"}},
                "proxySecretRef": {"name": "a"},
                "ignore": "",
                "suspend": True,
                "recurseSubmodules": True,
                "include": [{"repository": {"name": "a"}, "fromPath": "b", "toPath": "c"}],
                "sparseCheckout": ["a"],
                "timeout": "1m30s",
            },
        ),
        (
            "Kustomization",
            {
                "retryInterval": "1h30m",
                "timeout": "2m",
                "path": "./apps",
                "deletionPolicy": "WaitForTermination",
                "dependsOn": [{"name": "a", "namespace": "b", "readyExpr": "true"}],
                "healthChecks": [{"kind": "Deployment", "name": "a"}],
                "healthCheckExprs": [{"apiVersion": "v1", "kind": "A", "current": "true"}],
                "wait": True,
                "force": True,
                "targetNamespace": "a",
                "namePrefix": "a-",
                "nameSuffix": "-b",
                "commonMetadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                "patches": [{"patch": "x", "target": {"labelSelector": "a=b"}}],
                "images": [{"name": "a", "newName": "b", "newTag": "c", "digest": "d"}],
                "components": ["../a"],
                "ignoreMissingComponents": True,
                "buildMetadata": ["originAnnotations"],
                "postBuild": {
                    "substitute": {"a": "b"},
                    "substituteFrom": [{"kind": "Secret", "name": "a", "optional": True}],
                    "substituteStrategy": "Always",
                },
                "decryption": {"provider": "sops", "secretRef": {"name": "a"}},
                "serviceAccountName": "sa",
                "kubeConfig": {"secretRef": {"name": "a", "key": "b"}},
                "ignore": [{"paths": ["/spec/replicas"], "target": {"kind": "Deployment"}}],
                "suspend": True,
            },
        ),
        (
            "Receiver",
            {
                "type": "generic-oidc",
                "secretRef": None,
                "interval": "1h",
                "events": ["push"],
                "resourceFilter": "true",
                "oidcProviders": [
                    {
                        "issuerURL": "https://i",
                        "variables": [{"name": "a", "expression": "b"}],
                        "validations": [{"expression": "true", "message": "m"}],
                    }
                ],
                "resources": [
                    {
                        "apiVersion": "fluxcd.controlplane.io/v1",
                        "kind": "ResourceSet",
                        "name": "*",
                        "namespace": "a",
                        "matchLabels": {"a": "b"},
                        "filter": "true",
                    }
                ],
            },
        ),
        (
            "FluxInstance",
            {
                "distribution": {
                    "version": "2.8.x",
                    "registry": "r",
                    "variant": "enterprise-alpine",
                    "imagePullSecret": "a",
                    "artifact": "oci://a",
                    "artifactPullSecret": "b",
                },
                "components": ["source-controller", "source-watcher"],
                "commonMetadata": {"labels": {"a": "b"}},
                "cluster": {"type": "openshift", "size": "large", "multitenant": True},
                "sharding": {"shards": ["a"], "storage": "persistent"},
                "storage": {"class": "fast", "size": "1Gi"},
                "kustomize": {"patches": [{"patch": "x"}]},
                "wait": False,
                "sync": SYNC | {"name": "fleet", "pullSecret": "s", "provider": "github"},
            },
        ),
    ],
)
def test_every_field_of_flux_is_accepted(
    installed: Access, namespace: str, kind: str, change: dict[str, Any]
) -> None:
    obj = create(installed, namespace, manifest(kind, change), "--dry-run=server")
    assert {key for key, value in change.items() if value is not None} <= obj["spec"].keys()


def test_defaults_are_those_of_flux(installed: Access, namespace: str) -> None:
    def created(kind: str) -> dict[str, Any]:
        return create(installed, namespace, manifest(kind, {}), "--dry-run=server")

    source = created("GitRepository")
    assert source["spec"]["timeout"] == "60s"
    assert source["status"] == {"observedGeneration": -1}
    assert created("Kustomization")["status"] == {"observedGeneration": -1}
    assert created("Receiver")["spec"]["interval"] == "10m"
    instance = created("FluxInstance")
    assert instance["spec"]["wait"] is True
    assert "status" not in instance


def test_an_instance_has_one_name_and_its_sync_keeps_its_own(
    installed: Access, namespace: str
) -> None:
    with pytest.raises(KubectlError, match="the only accepted name for a FluxInstance is 'flux'"):
        create(installed, namespace, manifest("FluxInstance", {}, name="other"))
    create(installed, namespace, manifest("FluxInstance", {"sync": SYNC | {"name": "a"}}))
    for sync in ({"name": "b"}, {}):
        text = manifest("FluxInstance", {"sync": SYNC | sync})
        with pytest.raises(KubectlError, match="sync name is immutable"):
            installed.kubectl("replace", "-n", namespace, "-f", "-", input=text)
    text = manifest("FluxInstance", {"sync": SYNC | {"name": "a", "path": "./other"}})
    installed.kubectl("replace", "-n", namespace, "-f", "-", input=text)


def test_kubectl_knows_the_short_names_and_columns(installed: Access, namespace: str) -> None:
    create(installed, namespace, manifest("GitRepository", {}))
    create(installed, namespace, manifest("Kustomization", {}))
    sources = installed.kubectl("get", "gitrepo", "-n", namespace).splitlines()
    assert sources[0].split() == ["NAME", "URL", "AGE", "READY", "STATUS"]
    assert "https://host/repo" in sources[1]
    appliers = installed.kubectl("get", "ks", "-n", namespace).splitlines()
    assert appliers[0].split() == ["NAME", "AGE", "READY", "STATUS"]
    everything = installed.kubectl("get", "fluxcd", "-n", namespace)
    assert "gitrepository.source.toolkit.fluxcd.io/flux" in everything
    assert "kustomization.kustomize.toolkit.fluxcd.io/flux" in everything
