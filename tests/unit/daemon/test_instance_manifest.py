from __future__ import annotations

import msgspec

from api.instance import FluxInstance
from daemon import instance_manifest, settings

SYNC = settings.Sync(url="https://example.org/fleet.git", path="clusters/home")


def test_cluster_that_says_nothing_leaves_its_instance_alone() -> None:
    assert instance_manifest.build(settings.Cluster(name="home")) is None


def test_sync_becomes_the_instance_that_kubectl_would_apply() -> None:
    manifest = instance_manifest.build(settings.Cluster(name="home", sync=SYNC))

    assert manifest == {
        "apiVersion": "fluxcd.controlplane.io/v1",
        "kind": "FluxInstance",
        "metadata": {"name": "flux", "namespace": "flux-system"},
        "spec": {
            "distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"},
            "components": [
                "source-controller",
                "kustomize-controller",
                "helm-controller",
                "notification-controller",
            ],
            "sync": {
                "kind": "GitRepository",
                "url": "https://example.org/fleet.git",
                "ref": "refs/heads/main",
                "path": "clusters/home",
                "interval": "1m",
            },
        },
    }


def test_pull_secret_is_named_only_where_there_is_one() -> None:
    sync = msgspec.structs.replace(SYNC, pull_secret="flux-system")

    manifest = instance_manifest.build(settings.Cluster(name="home", sync=sync))

    assert manifest is not None
    assert manifest["spec"]["sync"]["pullSecret"] == "flux-system"


def test_components_alone_make_an_instance_without_sync() -> None:
    cluster = settings.Cluster(name="home", components=("source-controller",))

    manifest = instance_manifest.build(cluster)

    assert manifest is not None
    assert manifest["spec"]["components"] == ["source-controller"]
    assert "sync" not in manifest["spec"]


def test_manifest_is_what_the_typed_model_reads() -> None:
    manifest = instance_manifest.build(settings.Cluster(name="home", sync=SYNC))

    instance = msgspec.convert(manifest, FluxInstance)

    assert instance.spec.sync is not None
    assert instance.spec.sync.url == SYNC.url
    assert instance.metadata.name == instance_manifest.NAME


def test_provider_is_named_only_where_there_is_one() -> None:
    sync = msgspec.structs.replace(SYNC, provider="github")
    manifest = instance_manifest.build(settings.Cluster(name="home", sync=sync))
    assert manifest is not None
    assert manifest["spec"]["sync"]["provider"] == "github"
    plain = instance_manifest.build(settings.Cluster(name="home", sync=SYNC))
    assert plain is not None
    assert "provider" not in plain["spec"]["sync"]
