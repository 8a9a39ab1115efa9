"""What force does where a field cannot be changed, and what it never does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kube.apply import ApplyError, ApplyOptions
from kube.changes import Action
from kube.objects import GVK, Resource
from tests.support import engine

if TYPE_CHECKING:
    from devcluster.access import Access
    from kube.objects import JsonObject


@pytest.mark.parametrize("by", ["option", "annotation"])
async def test_force_recreates_an_object_whose_immutable_field_changes(
    cluster: Access, namespace: str, by: str
) -> None:
    switch = {"force": "enabled"} if by == "annotation" else {}
    old = engine.annotated(engine.config_map(namespace, "a", {"k": "1"}), **switch)
    new = engine.annotated(engine.config_map(namespace, "a", {"k": "2"}), **switch)
    old["immutable"] = new["immutable"] = True
    async with engine.running(cluster) as plant:
        await plant.apply([old])
        before = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        changes = await plant.apply([new], ApplyOptions(force=by == "option"))
        after = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        assert engine.actions(changes) == [Action.CREATED]
        assert after["data"] == {"k": "2"}
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        plant.requests()
        await plant.apply([new])
        assert plant.requests() == {}
        assert plant.drifts.empty()


def bound(name: str, namespace: str, role: str) -> JsonObject:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "ada"}],
    }


def stored(name: str, provisioner: str) -> JsonObject:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
    }


async def test_force_recreates_bindings_and_classes_too(cluster: Access, namespace: str) -> None:
    old = [bound("b", namespace, "view"), stored(namespace, "example.com/old")]
    new = [bound("b", namespace, "edit"), stored(namespace, "example.com/new")]
    async with engine.running(cluster) as plant:
        await plant.apply(old)
        with pytest.raises(ApplyError, match=r"StorageClass/.* dry-run failed"):
            await plant.apply(new)
        changes = await plant.apply(new, ApplyOptions(force=True))
        assert engine.actions(changes) == [Action.CREATED, Action.CREATED]
        await plant.prune(new)


async def test_immutable_field_without_force_is_refused(cluster: Access, namespace: str) -> None:
    old, new = (engine.config_map(namespace, "a", {"k": value}) for value in "12")
    old["immutable"] = new["immutable"] = True
    async with engine.running(cluster) as plant:
        await plant.apply([old])
        with pytest.raises(ApplyError, match=r"dry-run failed \(Invalid\): .*immutable"):
            await plant.apply([new])


async def test_force_keeps_an_object_whose_manifest_is_merely_invalid(
    cluster: Access, namespace: str
) -> None:
    service: JsonObject = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "s"}},
    }
    resource = Resource(GVK("", "v1", "Service"), "services", is_namespaced=True)
    async with engine.running(cluster) as plant:
        await plant.apply([service])
        before = await plant.client.get(resource, namespace, "s")
        bad = {**service, "spec": {**service["spec"], "ports": [{"port": 800000}]}}
        with pytest.raises(ApplyError, match=r"dry-run failed \(Invalid\)"):
            await plant.apply([bad], ApplyOptions(force=True))
        after = await plant.client.get(resource, namespace, "s")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_force_keeps_the_old_object_when_the_new_one_would_be_refused(
    cluster: Access, namespace: str
) -> None:
    old = engine.config_map(namespace, "a", {"k": "1"})
    old["immutable"] = True
    other = engine.config_map(namespace, "other", {"k": "1"})
    new = engine.config_map(namespace, "a", {"k": "2", "not/a/key": "x"})
    new["immutable"] = True
    async with engine.running(cluster) as plant:
        await plant.apply([old, other])
        before = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        with pytest.raises(ApplyError, match="dry-run failed"):
            await plant.apply([new, other], ApplyOptions(force=True))
        after = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_force_puts_the_old_object_back_when_the_new_one_cannot_be_created(
    cluster: Access, namespace: str
) -> None:
    """An address outside the cluster's range: no other name can be tried for a Service."""
    service: JsonObject = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "s"}},
    }
    resource = Resource(GVK("", "v1", "Service"), "services", is_namespaced=True)
    async with engine.running(cluster) as plant:
        await plant.apply([service])
        before = await plant.client.get(resource, namespace, "s")
        bad = {**service, "spec": {**service["spec"], "clusterIP": "192.0.2.1"}}
        with pytest.raises(ApplyError, match="the previous object was restored"):
            await plant.apply([bad], ApplyOptions(force=True))
        after = await plant.client.get(resource, namespace, "s")
        assert after["spec"] == before["spec"]
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        await plant.apply([service])
        live = await plant.client.get(resource, namespace, "s")
    assert live["spec"] == before["spec"]


async def test_force_waits_for_finalizers_of_the_old_object(
    cluster: Access, namespace: str
) -> None:
    old, new = (engine.config_map(namespace, "a", {"k": value}) for value in "12")
    old["immutable"] = new["immutable"] = True
    async with engine.running(cluster) as plant:
        await plant.apply([old])
        held = {"metadata": {"finalizers": ["example.com/hold"]}}
        await engine.patch(plant, namespace, "a", held, by="holder")
        async with asyncio.TaskGroup() as tasks:
            applied = tasks.create_task(plant.apply([new], ApplyOptions(force=True)))
            await plant.until(
                lambda: (live := plant.tracker.live(engine.id_of(new))) and live.is_deleting
            )
            assert not applied.done()
            free = {"metadata": {"finalizers": None}}
            await engine.patch(plant, namespace, "a", free, by="holder")
        assert engine.actions(applied.result()) == [Action.CREATED]
        assert await engine.data(plant, namespace, "a") == {"k": "2"}
