"""A start that has lost every cache, on a real API server: what is in place is only listed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from api import meta
from kube import recognise
from kube.changes import Action
from tests.support import engine

if TYPE_CHECKING:
    from devcluster.access import Access
    from kube.objects import JsonObject
    from tests.support.engine import Plant


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a list for cheaper than two dry runs."""
    monkeypatch.setattr(recognise, "MANY", 2)


def objects_of(kind: str, version: str, namespace: str, **spec: object) -> list[JsonObject]:
    """Return two objects of a kind."""
    return [
        {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": f"{kind.lower()}-{name}", "namespace": namespace},
            **spec,
        }
        for name in "ab"
    ]


def fleet(namespace: str) -> list[JsonObject]:
    """Return objects whose fields come in every shape: maps, keyed lists, sets, quantities."""
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": "example.com/web:1",
        "args": ["-v", "-x"],
        "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 90, "name": "m"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    return [
        *objects_of("ConfigMap", "v1", namespace, data={"a": "1", "b": "yes"}),
        *objects_of("Secret", "v1", namespace, data={"a": "aGk="}, type="Opaque"),
        *objects_of("ServiceAccount", "v1", namespace),
        *objects_of("Role", "rbac.authorization.k8s.io/v1", namespace, rules=rules),
        *objects_of(
            "Service",
            "v1",
            namespace,
            spec={"selector": labels, "ports": [{"port": 80, "targetPort": "http", "name": "h"}]},
        ),
        *objects_of(
            "Deployment",
            "apps/v1",
            namespace,
            spec={"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        ),
    ]


async def lost(plant: Plant, objects: list[JsonObject]) -> dict[str, int]:
    """Apply what is in the inventory already, on a plant that knows nothing; count requests."""
    plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
    await plant.tracker.synced(engine.OWNER)
    plant.requests()
    changes = await plant.apply(objects)
    assert {change.action for change in changes} == {Action.UNCHANGED}
    return plant.requests()


async def test_what_is_in_place_costs_neither_dry_run_nor_write(
    cluster: Access, namespace: str
) -> None:
    objects = fleet(namespace)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
    async with engine.running(cluster) as plant:
        assert await lost(plant, objects) == {}
        # From now on it is known as if it had been applied by this process.
        await plant.apply(objects)
        assert plant.requests() == {}


async def test_what_differs_is_told_from_what_does_not(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 6)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        for name, body in (("cm-0001", b'{"data": {"key": "2"}}'), ("cm-0003", b'{"data": null}')):
            await plant.client.patch(engine.CONFIG_MAPS, namespace, name, body, manager="robot")
        await plant.client.delete(engine.CONFIG_MAPS, namespace, "cm-0004")
    wanted = [*objects[:5], engine.config_map(namespace, "cm-0005", {"key": "new"})]
    async with engine.running(cluster) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(wanted)
        found = {change.id.name: change.action for change in changes}
    assert found == {
        "cm-0000": Action.UNCHANGED,
        "cm-0001": Action.CONFIGURED,
        "cm-0002": Action.UNCHANGED,
        "cm-0003": Action.CONFIGURED,
        "cm-0004": Action.CREATED,
        "cm-0005": Action.CONFIGURED,
    }


async def test_apply_by_somebody_under_our_name_is_seen_by_the_values(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 3)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        (forged,) = plant.manifests.add([engine.config_map(namespace, "cm-0001", {"key": "2"})])
        await plant.client.apply(
            engine.CONFIG_MAPS,
            plant.manifests.read(forged),
            namespace,
            "cm-0001",
            manager=meta.KUSTOMIZE_MANAGER,
        )
    async with engine.running(cluster) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects)
    assert changes.lines() == f"ConfigMap/{namespace}/cm-0001 configured"


async def test_leftovers_of_kubectl_are_still_absorbed(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 2)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await asyncio.to_thread(
            *(cluster.kubectl, "patch", "configmap", "cm-0000", "-n", namespace),
            *("-p", '{"data": {"more": "x"}}', "--field-manager=kubectl-patch"),
        )
    async with engine.running(cluster) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        await plant.apply(objects)
    live = await asyncio.to_thread(engine.get, cluster, "configmap", namespace, "cm-0000")
    assert live["data"] == {"key": "1"}
