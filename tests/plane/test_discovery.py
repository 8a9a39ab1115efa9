"""Kinds and paths, asked of a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from kube import crds, errors
from kube.discovery import RETRY_S, Discovery
from kube.objects import GVK
from tests.support import api
from tests.support.api import ManualClock

if TYPE_CHECKING:
    from devcluster.cluster import Cluster
    from kube.objects import JsonObject


def definition(kind: str, group: str) -> JsonObject:
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }


async def test_kinds_are_found_with_scope_and_verbs(cluster: Cluster) -> None:
    async with api.client(cluster.kubeconfig) as client:
        discovery = Discovery(client, ManualClock())
        deployment = await discovery.resource(GVK("apps", "v1", "Deployment"))
        node = await discovery.resource(GVK("", "v1", "Node"))
    assert (deployment.plural, deployment.is_namespaced) == ("deployments", True)
    assert (node.plural, node.is_namespaced) == ("nodes", False)
    assert {"patch", "watch"} <= deployment.verbs


async def test_group_is_asked_once(cluster: Cluster) -> None:
    async with api.client(cluster.kubeconfig) as client:
        discovery = Discovery(client, ManualClock())
        for kind in ("Deployment", "StatefulSet", "Deployment"):
            await discovery.resource(GVK("apps", "v1", kind))
        assert client.requests.total() == 1


async def test_unserved_kind_is_refused_in_flux_s_words(cluster: Cluster) -> None:
    async with api.client(cluster.kubeconfig) as client:
        discovery = Discovery(client, ManualClock())
        for gvk in (GVK("apps", "v1", "Ship"), GVK("absent.io", "v1", "Ship")):
            with pytest.raises(errors.NoMatch) as caught:
                await discovery.resource(gvk)
            expected = f'no matches for kind "Ship" in version "{gvk.api_version}"'
            assert str(caught.value) == expected


async def test_miss_asks_again_only_after_a_while(cluster: Cluster) -> None:
    clock = ManualClock()
    async with api.client(cluster.kubeconfig) as client:
        discovery = Discovery(client, clock)
        for _ in range(5):
            with pytest.raises(errors.NoMatch):
                await discovery.resource(GVK("absent.io", "v1", "Ship"))
        assert client.requests.total() == 1
        clock.move(RETRY_S)
        with pytest.raises(errors.NoMatch):
            await discovery.resource(GVK("absent.io", "v1", "Ship"))
        assert client.requests.total() == 2


async def test_kind_that_was_just_defined_is_found(cluster: Cluster, namespace: str) -> None:
    group = f"{namespace}.example.org"
    async with api.client(cluster.kubeconfig) as client:
        discovery = Discovery(client, ManualClock())
        with pytest.raises(errors.NoMatch):
            await discovery.resource(GVK(group, "v1", "Ship"))
        await crds.install(client, [definition("Ship", group)])
        discovery.invalidate(group)
        ship = await discovery.resource(GVK(group, "v1", "Ship"))
        assert (ship.plural, ship.is_namespaced) == ("ships", False)
        body = {"apiVersion": f"{group}/v1", "kind": "Ship", "metadata": {"name": "a"}}
        assert (await client.apply(ship, orjson.dumps(body), "", "a", manager="m")).created
        await client.delete(crds.RESOURCE, "", f"ships.{group}")


async def test_kind_is_found_in_the_hinted_version_or_the_preferred_one(cluster: Cluster) -> None:
    async with api.client(cluster.kubeconfig) as client:
        discovery = Discovery(client, ManualClock())
        hinted = await discovery.for_group_kind("autoscaling", "HorizontalPodAutoscaler", "v1")
        assert hinted.gvk.version == "v1"
        other = await discovery.for_group_kind("autoscaling", "HorizontalPodAutoscaler", "v1beta1")
        assert other.gvk.version == "v2"
        core = await discovery.for_group_kind("", "ConfigMap")
        assert core.gvk == GVK("", "v1", "ConfigMap")
        with pytest.raises(errors.NoMatch, match='no matches for kind "Ship" in version "apps/v1"'):
            await discovery.for_group_kind("apps", "Ship", "v1")
        with pytest.raises(errors.NoMatch):
            await discovery.for_group_kind("absent.io", "Ship")


async def test_server_that_is_away_is_not_mistaken_for_a_missing_kind(cluster: Cluster) -> None:
    async with api.client(cluster.user("stranger")) as client:
        discovery = Discovery(client, ManualClock())
        assert (await discovery.resource(GVK("", "v1", "Node"))).plural == "nodes"


async def test_everything_can_be_forgotten(cluster: Cluster) -> None:
    async with api.client(cluster.kubeconfig) as client:
        discovery = Discovery(client, ManualClock())
        await discovery.resource(GVK("apps", "v1", "Deployment"))
        discovery.invalidate()
        await discovery.resource(GVK("apps", "v1", "Deployment"))
        assert client.requests.total() == 2
