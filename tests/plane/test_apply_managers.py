"""Whose fields are whose: what others added, what becomes ours, what an apply leaves alone."""

from __future__ import annotations

import asyncio
import copy
import uuid
from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from api.meta import ObjectRef
from kube import errors
from kube.apply import ApplyOptions
from kube.changes import Action
from kube.objects import GVK, ObjectId
from tests.support import api, engine

if TYPE_CHECKING:
    from devcluster.access import Access
    from kube.objects import JsonObject


async def test_if_not_present_creates_once_and_then_leaves_alone(
    cluster: Access, namespace: str
) -> None:
    first = engine.annotated(engine.config_map(namespace, "a", {"k": "1"}), ssa="IfNotPresent")
    second = engine.annotated(engine.config_map(namespace, "a", {"k": "2"}), ssa="IfNotPresent")
    async with engine.running(cluster) as plant:
        assert engine.actions(await plant.apply([first])) == [Action.CREATED]
        plant.requests()
        assert engine.actions(await plant.apply([second])) == [Action.SKIPPED]
        assert await engine.data(plant, namespace, "a") == {"k": "1"}


async def test_if_not_present_leaves_somebody_elses_object_alone_and_costs_nothing_after(
    cluster: Access, namespace: str
) -> None:
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=k=theirs")
    wanted = engine.annotated(engine.config_map(namespace, "a", {"k": "ours"}), ssa="IfNotPresent")
    async with engine.running(cluster) as plant:
        assert engine.actions(await plant.apply([wanted])) == [Action.SKIPPED]
        plant.requests()
        assert engine.actions(await plant.apply([wanted])) == [Action.SKIPPED]
        assert plant.requests() == {}
        assert await engine.data(plant, namespace, "a") == {"k": "theirs"}


@pytest.mark.parametrize("switch", [{"ssa": "Ignore"}, {"reconcile": "disabled"}])
async def test_ignored_object_is_not_applied(
    cluster: Access, namespace: str, switch: dict[str, str]
) -> None:
    wanted = engine.annotated(engine.config_map(namespace, "a", {"k": "v"}), **switch)
    async with engine.running(cluster) as plant:
        assert engine.actions(await plant.apply([wanted])) == [Action.SKIPPED]
        with pytest.raises(errors.NotFound):
            await plant.client.get(engine.CONFIG_MAPS, namespace, "a")


async def test_switch_on_the_live_object_holds_the_apply(cluster: Access, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=k=theirs")
    cluster.kubectl("annotate", "configmap", "a", "-n", namespace, f"{meta.RECONCILE}=disabled")
    async with engine.running(cluster) as plant:
        wanted = engine.config_map(namespace, "a", {"k": "ours"})
        assert engine.actions(await plant.apply([wanted])) == [Action.SKIPPED]
        plant.requests()
        assert engine.actions(await plant.apply([wanted])) == [Action.SKIPPED]
        assert plant.requests() == {}
        assert await engine.data(plant, namespace, "a") == {"k": "theirs"}


async def test_fields_of_kubectl_disappear_with_the_next_apply(
    cluster: Access, namespace: str
) -> None:
    manifest = engine.config_map(namespace, "a", {"ours": "1", "extra": "x"})
    cluster.kubectl("apply", "-f", "-", input=orjson.dumps(manifest).decode())
    async with engine.running(cluster) as plant:
        changes = await plant.apply([engine.config_map(namespace, "a", {"ours": "1"})])
        assert engine.actions(changes) == [Action.CONFIGURED]
        live = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
    assert live["data"] == {"ours": "1"}
    assert "annotations" not in live["metadata"]
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == [
        meta.KUSTOMIZE_MANAGER
    ]


async def test_merge_leaves_fields_of_other_managers(cluster: Access, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=theirs=1")
    async with engine.running(cluster) as plant:
        wanted = engine.annotated(engine.config_map(namespace, "a", {"ours": "1"}), ssa="Merge")
        await plant.apply([wanted])
        assert await engine.data(plant, namespace, "a") == {"ours": "1", "theirs": "1"}
        plant.requests()
        await plant.apply([wanted], engine.AT_INTERVAL)
        assert plant.requests() == {}


async def test_what_kubectl_added_is_absorbed_at_the_interval_and_not_before(
    cluster: Access, namespace: str
) -> None:
    wanted = [engine.config_map(namespace, "a", {"ours": "1"})]
    async with engine.running(cluster) as plant:
        await plant.apply(wanted)
        raw = await engine.patch(plant, namespace, "a", {"data": {"extra": "x"}}, by="kubectl-edit")
        obj = ObjectId(namespace, "a", "", "ConfigMap")
        await plant.until_seen(engine.version_of(raw), obj)
        assert plant.drifts.empty()
        assert engine.actions(await plant.apply(wanted)) == [Action.UNCHANGED]
        assert engine.actions(await plant.apply(wanted, engine.AT_INTERVAL)) == [Action.CONFIGURED]
        assert await engine.data(plant, namespace, "a") == {"ours": "1"}
        plant.requests()
        await plant.apply(wanted, engine.AT_INTERVAL)
        assert plant.requests() == {}


async def test_manager_that_is_overridden_loses_what_it_added_and_others_keep_theirs(
    cluster: Access, namespace: str
) -> None:
    wanted = [engine.config_map(namespace, "a", {"ours": "1"})]
    async with engine.running(cluster, overridden=["meddler"]) as plant:
        await plant.apply(wanted)
        await engine.patch(plant, namespace, "a", {"data": {"bad": "x"}}, by="meddler-v2")
        raw = await engine.patch(plant, namespace, "a", {"data": {"good": "x"}}, by="helper")
        await plant.until_seen(engine.version_of(raw), ObjectId(namespace, "a", "", "ConfigMap"))
        assert engine.actions(await plant.apply(wanted, engine.AT_INTERVAL)) == [Action.CONFIGURED]
        assert await engine.data(plant, namespace, "a") == {"ours": "1", "good": "x"}
        plant.requests()
        await plant.apply(wanted, engine.AT_INTERVAL)
        assert plant.requests() == {}


async def test_field_that_another_controller_added_stays(cluster: Access, namespace: str) -> None:
    wanted = [engine.config_map(namespace, "a", {"ours": "1"})]
    async with engine.running(cluster) as plant:
        await plant.apply(wanted)
        await engine.patch(plant, namespace, "a", {"data": {"theirs": "x"}}, by="some-controller")
        wanted[0]["data"] = {"ours": "2"}
        await plant.apply(wanted, engine.AT_INTERVAL)
        assert await engine.data(plant, namespace, "a") == {"ours": "2", "theirs": "x"}


async def test_removed_field_disappears(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply([engine.config_map(namespace, "a", {"x": "1", "y": "1"})])
        await plant.apply([engine.config_map(namespace, "a", {"x": "1"})])
        assert await engine.data(plant, namespace, "a") == {"x": "1"}


async def test_instance_signs_in_its_own_name_and_absorbs_the_flux_cli(
    cluster: Access, namespace: str
) -> None:
    owner = ObjectRef("test", "FluxInstance", "flux-system", "flux")
    wanted = [engine.config_map(namespace, "a", {"ours": "1"})]
    old = engine.config_map(namespace, "a", {"ours": "1", "old": "1"})
    async with engine.running(cluster) as plant:
        await plant.client.apply(
            engine.CONFIG_MAPS, orjson.dumps(old), namespace, "a", manager="flux"
        )
        assert engine.actions(await plant.apply(wanted, owner=owner)) == [Action.CONFIGURED]
        live = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        assert live["data"] == {"ours": "1"}
        assert live["metadata"]["labels"] == {
            f"{meta.INSTANCE_GROUP}/name": "flux",
            f"{meta.INSTANCE_GROUP}/namespace": "flux-system",
        }
        managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
        assert managers == [meta.INSTANCE_MANAGER]
        await plant.tracker.synced(owner)
        plant.requests()
        await plant.apply(wanted, engine.AT_INTERVAL, owner)
        assert plant.requests() == {}


async def test_take_over_of_an_object_that_changes_meanwhile_is_tried_again(
    cluster: Access, namespace: str
) -> None:
    """Somebody writes between the look and the patch, which is bound to what was looked at."""
    wanted = [engine.config_map(namespace, f"cm-{number}", {"ours": "1"}) for number in range(8)]
    async with engine.running(cluster) as plant:
        await plant.apply(wanted)
        for each in wanted:
            name = each["metadata"]["name"]
            await engine.patch(plant, namespace, name, {"data": {"extra": "x"}}, by="kubectl-edit")
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                for each in wanted:
                    body = {"metadata": {"annotations": {"tick": str(number)}}}
                    name = each["metadata"]["name"]
                    tasks.create_task(engine.patch(plant, namespace, name, body, by="ticker"))
            applied = tasks.create_task(plant.apply(wanted, ApplyOptions(verify=True)))
        assert engine.actions(applied.result()) == [Action.CONFIGURED] * 8
        for each in wanted:
            assert await engine.data(plant, namespace, each["metadata"]["name"]) == {"ours": "1"}


async def test_what_go_writes_by_itself_is_owned_and_unknown_fields_are_not_sent(
    cluster: Access, namespace: str
) -> None:
    container = {"name": "a", "image": "b", "resources": {"limits": {"cpu": "1000m"}}, "typo": 1}
    deployment: JsonObject = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container]},
            },
        },
    }
    service: JsonObject = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "clusterIPs": None},
    }
    async with engine.running(cluster) as plant:
        await plant.apply([deployment, service])
        again = await plant.apply([deployment, service], ApplyOptions(verify=True))
        assert engine.actions(again) == [Action.UNCHANGED, Action.UNCHANGED]
    owned = fields_of(engine.get(cluster, "deployment", namespace, "web"))["f:spec"]
    assert owned["f:strategy"] == {}
    pod = owned["f:template"]["f:spec"]
    assert pod["f:containers"]['k:{"name":"a"}']["f:resources"] == {"f:limits": {"f:cpu": {}}}
    live = engine.get(cluster, "service", namespace, "web")
    assert live["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    ports = fields_of(live)["f:spec"]["f:ports"]
    assert "f:targetPort" in ports['k:{"port":80,"protocol":"TCP"}']


async def test_kind_whose_new_version_gained_a_default_can_still_be_applied(
    cluster: Access, namespace: str
) -> None:
    group = f"{uuid.uuid4().hex[:8]}.example.com"
    crd = engine.definition(group, "Widget")
    (old,) = crd["spec"]["versions"]
    old["name"] = "v1beta1"
    extract = {"type": "object", "properties": {"key": {"type": "string"}}}
    item = {"type": "object", "properties": {"extract": extract}}
    properties = old["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["dataFrom"] = {"type": "array", "items": item}
    widget: JsonObject = {
        "apiVersion": f"{group}/v1beta1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": namespace},
        "spec": {"dataFrom": [{"extract": {"key": "a"}}]},
    }
    old["subresources"] = {"status": {}}
    status = {"type": "object", "properties": {"phase": {"type": "string"}}}
    old["schema"]["openAPIV3Schema"]["properties"]["status"] = status
    async with engine.running(cluster) as plant:
        await plant.apply([crd, widget])
        resource = await plant.discovery.resource(GVK(group, "v1beta1", "Widget"))
        ready = orjson.dumps({"status": {"phase": "Ready"}})
        await plant.client.patch(
            resource, namespace, "w", ready, manager="its-controller", subresource="status"
        )
        new = copy.deepcopy(old) | {"name": "v1"}
        crd["spec"]["versions"] = [new, {**old, "storage": False}]
        widget["apiVersion"] = f"{group}/v1"
        await plant.apply([crd])
        plant.discovery.invalidate(group)
        await plant.apply([crd, widget])
        resource = await plant.discovery.resource(GVK(group, "v1", "Widget"))
        added = new["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        fields = added["dataFrom"]["items"]["properties"]["extract"]["properties"]
        fields["policy"] = {"type": "string", "default": "Ignore"}
        await plant.apply([crd])
        async with asyncio.timeout(api.WAIT_S):  # until the server serves the new schema
            while b"Ignore" not in await plant.client.get_raw(resource.path(namespace, "w")):
                pass
        widget["spec"]["size"] = 2
        changes = await plant.apply([crd, widget], ApplyOptions(verify=True))
        live = await plant.client.get(resource, namespace, "w")
        await plant.prune([widget, crd])
    assert changes.lines() == f"Widget/{namespace}/w configured"
    assert live["spec"] == {"size": 2, "dataFrom": [{"extract": {"key": "a", "policy": "Ignore"}}]}
    assert {entry["apiVersion"] for entry in live["metadata"]["managedFields"]} == {f"{group}/v1"}


def fields_of(obj: JsonObject) -> JsonObject:
    """Return the fields that our own entry has."""
    (entry,) = (
        each
        for each in obj["metadata"]["managedFields"]
        if each["manager"] == meta.KUSTOMIZE_MANAGER
    )
    found: JsonObject = entry["fieldsV1"]
    return found
