"""Server-side apply against a real API server."""

from __future__ import annotations

import asyncio
import copy
import uuid
from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from api.meta import ObjectRef
from kube import auth, errors, recognise
from kube.apply import ApplyError, ApplyOptions
from kube.changes import Action
from kube.client import Client
from kube.objects import GVK, ObjectId, Resource
from tests.support import api, engine

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.access import Access
    from kube.changes import ChangeSet
    from kube.objects import JsonObject

AT_INTERVAL = ApplyOptions(at_interval=True)


def actions(changes: ChangeSet) -> list[Action]:
    return [change.action for change in changes]


def annotated(obj: JsonObject, **annotations: str) -> JsonObject:
    keys = {
        "ssa": meta.SSA,
        "reconcile": meta.RECONCILE,
        "force": meta.FORCE,
    }
    obj["metadata"]["annotations"] = {keys[key]: value for key, value in annotations.items()}
    return obj


def definition(group: str, kind: str) -> JsonObject:
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {"size": {"type": "integer"}},
                                }
                            },
                        }
                    },
                }
            ],
        },
    }


async def patch(
    plant: engine.Plant, namespace: str, name: str, body: object, *, manager: str
) -> bytes:
    return await plant.client.patch(
        engine.CONFIG_MAPS, namespace, name, orjson.dumps(body), manager=manager
    )


async def data(plant: engine.Plant, namespace: str, name: str) -> dict[str, str]:
    live = await plant.client.get(engine.CONFIG_MAPS, namespace, name)
    found: dict[str, str] = live.get("data", {})
    return found


async def test_first_apply_costs_a_dry_run_and_an_apply_for_each_object(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 60)
    async with engine.running(cluster) as plant:
        changes = await plant.apply(objects)
        counts = plant.requests()
    assert actions(changes) == [Action.CREATED] * 60
    assert counts == {"dry-run": 59, "apply": 60}


async def test_nothing_to_do_sends_nothing(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 60)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        changes = await plant.apply(objects, AT_INTERVAL)
        assert plant.requests() == {}
    assert actions(changes) == [Action.UNCHANGED] * 60


async def test_change_of_one_object_is_one_request(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 20)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        objects[7]["data"] = {"key": "other"}
        changes = await plant.apply(objects)
        assert plant.requests() == {"apply": 1}
        assert changes.lines() == f"ConfigMap/{namespace}/cm-0007 configured"
        assert await data(plant, namespace, "cm-0007") == {"key": "other"}


async def test_change_of_many_objects_is_tried_before_any_is_written(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 20)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        changes = await plant.apply(engine.config_maps(namespace, 20, "2"))
        assert plant.requests() == {"dry-run": 20, "apply": 20}
    assert actions(changes) == [Action.CONFIGURED] * 20


async def test_two_changes_in_the_same_second_are_both_applied(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        for value in ("1", "2", "3"):
            await plant.apply(engine.config_maps(namespace, 3, value))
            assert await data(plant, namespace, "cm-0002") == {"key": value}


async def test_object_applied_by_flux_is_adopted_without_a_write(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 2)
    for desired, body in zip(
        (plain := engine.Manifests()).add(objects), map(plain.read, plain.add(objects)), strict=True
    ):
        assert desired.id.namespace == namespace
        flags = ("--server-side", f"--field-manager={meta.KUSTOMIZE_MANAGER}")
        cluster.kubectl("apply", *flags, "-f", "-", input=body.decode())
    async with engine.running(cluster) as plant:
        changes = await plant.apply(objects)
        assert "apply" not in plant.requests()
    assert actions(changes) == [Action.UNCHANGED] * 2


async def test_refusals_of_a_stage_are_told_together_and_nothing_is_written(
    cluster: Access, namespace: str
) -> None:
    good = engine.config_map(namespace, "good", {"k": "v"})
    number = engine.config_map(namespace, "number", {"k": 1})
    nowhere = engine.config_map("no-such-namespace", "lost", {"k": "v"})
    homeless = engine.config_map("", "homeless", {"k": "v"})
    unknown = {
        "apiVersion": "example.com/v1",
        "kind": "Nothing",
        "metadata": {"name": "x", "namespace": namespace},
    }
    async with engine.running(cluster) as plant:
        with pytest.raises(ApplyError) as caught:
            await plant.apply([good, number, nowhere, homeless, unknown])
        assert "apply" not in plant.requests()
    first, second, third, fourth = caught.value.texts
    assert first == (
        "ConfigMap/homeless namespace not specified: "
        "the server could not find the requested resource"
    )
    assert second == (
        'ConfigMap/no-such-namespace/lost not found: namespaces "no-such-namespace" not found'
    )
    assert third.startswith(
        f"ConfigMap/{namespace}/number dry-run failed: failed to create typed patch object"
    )
    assert fourth == (
        f"Nothing/{namespace}/x dry-run failed: "
        'no matches for kind "Nothing" in version "example.com/v1"'
    )
    assert caught.value.reason == meta.RECONCILIATION_FAILED


async def test_single_change_that_is_refused_reads_like_a_dry_run(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply([engine.config_map(namespace, "a", {"k": "v"})])
        with pytest.raises(ApplyError, match=f"^ConfigMap/{namespace}/a dry-run failed"):
            await plant.apply([engine.config_map(namespace, "a", {"k": 1})])
        assert await data(plant, namespace, "a") == {"k": "v"}


async def test_definition_and_its_resource_are_applied_in_one_go(
    cluster: Access, namespace: str
) -> None:
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    crd = definition(group, "Widget")
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": namespace},
        "spec": {"size": 3},
    }
    async with engine.running(cluster) as plant:
        changes = await plant.apply([widget, crd])
        assert changes.lines() == (
            f"CustomResourceDefinition/widgets.{group} created\nWidget/{namespace}/w created"
        )
        await plant.tracker.synced(engine.OWNER)
        plant.requests()
        await plant.apply([widget, crd])
        assert plant.requests() == {}
        await plant.prune([crd, widget])


async def test_kind_that_is_no_longer_served_is_told_as_such(
    cluster: Access, namespace: str
) -> None:
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    crd = definition(group, "Widget")
    widget: JsonObject = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": namespace},
    }
    name = crd["metadata"]["name"]
    async with engine.running(cluster) as plant:
        await plant.apply([widget, crd])
        await asyncio.to_thread(cluster.kubectl, "delete", "crd", name, "--wait=true")
        text = f'dry-run failed: no matches for kind "Widget" in version "{group}/v1"'
        with pytest.raises(ApplyError, match=text):
            await plant.apply([widget | {"spec": {"size": 4}}])


async def test_failed_stage_tells_what_the_stages_before_it_did(
    cluster: Access, namespace: str
) -> None:
    name = f"{namespace}-b"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    bad = engine.config_map(name, "bad", {"k": 1})
    async with engine.running(cluster) as plant:
        with pytest.raises(ApplyError) as caught:
            await plant.apply([bad, space])
        await plant.prune([space])
    assert caught.value.message.endswith(f"\nNamespace/{name} created")
    assert [str(change) for change in caught.value.changes] == [f"Namespace/{name} created"]


async def test_namespace_on_a_cluster_scoped_object_is_the_servers_to_strip(
    cluster: Access, namespace: str
) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"role-{namespace}", "namespace": namespace},
        "rules": [],
    }
    async with engine.running(cluster) as plant:
        changes = await plant.apply([role])
        assert [change.id.namespace for change in changes] == [""]
        await plant.prune([{**role, "metadata": {"name": f"role-{namespace}"}}])


async def test_if_not_present_creates_once_and_then_leaves_alone(
    cluster: Access, namespace: str
) -> None:
    first = annotated(engine.config_map(namespace, "a", {"k": "1"}), ssa="IfNotPresent")
    second = annotated(engine.config_map(namespace, "a", {"k": "2"}), ssa="IfNotPresent")
    async with engine.running(cluster) as plant:
        assert actions(await plant.apply([first])) == [Action.CREATED]
        plant.requests()
        assert actions(await plant.apply([second])) == [Action.SKIPPED]
        assert await data(plant, namespace, "a") == {"k": "1"}


async def test_if_not_present_leaves_somebody_elses_object_alone_and_costs_nothing_after(
    cluster: Access, namespace: str
) -> None:
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=k=theirs")
    wanted = annotated(engine.config_map(namespace, "a", {"k": "ours"}), ssa="IfNotPresent")
    async with engine.running(cluster) as plant:
        assert actions(await plant.apply([wanted])) == [Action.SKIPPED]
        plant.requests()
        assert actions(await plant.apply([wanted])) == [Action.SKIPPED]
        assert plant.requests() == {}
        assert await data(plant, namespace, "a") == {"k": "theirs"}


@pytest.mark.parametrize("switch", [{"ssa": "Ignore"}, {"reconcile": "disabled"}])
async def test_ignored_object_is_not_applied(
    cluster: Access, namespace: str, switch: dict[str, str]
) -> None:
    wanted = annotated(engine.config_map(namespace, "a", {"k": "v"}), **switch)
    async with engine.running(cluster) as plant:
        assert actions(await plant.apply([wanted])) == [Action.SKIPPED]
        with pytest.raises(errors.NotFound):
            await plant.client.get(engine.CONFIG_MAPS, namespace, "a")


async def test_switch_on_the_live_object_holds_the_apply(cluster: Access, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=k=theirs")
    cluster.kubectl("annotate", "configmap", "a", "-n", namespace, f"{meta.RECONCILE}=disabled")
    async with engine.running(cluster) as plant:
        wanted = engine.config_map(namespace, "a", {"k": "ours"})
        assert actions(await plant.apply([wanted])) == [Action.SKIPPED]
        plant.requests()
        assert actions(await plant.apply([wanted])) == [Action.SKIPPED]
        assert plant.requests() == {}
        assert await data(plant, namespace, "a") == {"k": "theirs"}


async def test_fields_of_kubectl_disappear_with_the_next_apply(
    cluster: Access, namespace: str
) -> None:
    manifest = engine.config_map(namespace, "a", {"ours": "1", "extra": "x"})
    cluster.kubectl("apply", "-f", "-", input=orjson.dumps(manifest).decode())
    async with engine.running(cluster) as plant:
        changes = await plant.apply([engine.config_map(namespace, "a", {"ours": "1"})])
        assert actions(changes) == [Action.CONFIGURED]
        live = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
    assert live["data"] == {"ours": "1"}
    assert "annotations" not in live["metadata"]
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == [
        meta.KUSTOMIZE_MANAGER
    ]


async def test_merge_leaves_fields_of_other_managers(cluster: Access, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=theirs=1")
    async with engine.running(cluster) as plant:
        wanted = annotated(engine.config_map(namespace, "a", {"ours": "1"}), ssa="Merge")
        await plant.apply([wanted])
        assert await data(plant, namespace, "a") == {"ours": "1", "theirs": "1"}
        plant.requests()
        await plant.apply([wanted], AT_INTERVAL)
        assert plant.requests() == {}


async def test_what_kubectl_added_is_absorbed_at_the_interval_and_not_before(
    cluster: Access, namespace: str
) -> None:
    wanted = [engine.config_map(namespace, "a", {"ours": "1"})]
    async with engine.running(cluster) as plant:
        await plant.apply(wanted)
        raw = await patch(plant, namespace, "a", {"data": {"extra": "x"}}, manager="kubectl-edit")
        obj = ObjectId(namespace, "a", "", "ConfigMap")
        await plant.until_seen(engine.version_of(raw), obj)
        assert plant.drifts.empty()
        assert actions(await plant.apply(wanted)) == [Action.UNCHANGED]
        assert actions(await plant.apply(wanted, AT_INTERVAL)) == [Action.CONFIGURED]
        assert await data(plant, namespace, "a") == {"ours": "1"}
        plant.requests()
        await plant.apply(wanted, AT_INTERVAL)
        assert plant.requests() == {}


async def test_manager_that_is_overridden_loses_what_it_added_and_others_keep_theirs(
    cluster: Access, namespace: str
) -> None:
    wanted = [engine.config_map(namespace, "a", {"ours": "1"})]
    async with engine.running(cluster, overridden=["meddler"]) as plant:
        await plant.apply(wanted)
        await patch(plant, namespace, "a", {"data": {"bad": "x"}}, manager="meddler-v2")
        raw = await patch(plant, namespace, "a", {"data": {"good": "x"}}, manager="helper")
        await plant.until_seen(engine.version_of(raw), ObjectId(namespace, "a", "", "ConfigMap"))
        assert actions(await plant.apply(wanted, AT_INTERVAL)) == [Action.CONFIGURED]
        assert await data(plant, namespace, "a") == {"ours": "1", "good": "x"}
        plant.requests()
        await plant.apply(wanted, AT_INTERVAL)
        assert plant.requests() == {}


async def test_field_that_another_controller_added_stays(cluster: Access, namespace: str) -> None:
    wanted = [engine.config_map(namespace, "a", {"ours": "1"})]
    async with engine.running(cluster) as plant:
        await plant.apply(wanted)
        await patch(plant, namespace, "a", {"data": {"theirs": "x"}}, manager="some-controller")
        wanted[0]["data"] = {"ours": "2"}
        await plant.apply(wanted, AT_INTERVAL)
        assert await data(plant, namespace, "a") == {"ours": "2", "theirs": "x"}


async def test_removed_field_disappears(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply([engine.config_map(namespace, "a", {"x": "1", "y": "1"})])
        await plant.apply([engine.config_map(namespace, "a", {"x": "1"})])
        assert await data(plant, namespace, "a") == {"x": "1"}


@pytest.mark.parametrize("by", ["option", "annotation"])
async def test_force_recreates_an_object_whose_immutable_field_changes(
    cluster: Access, namespace: str, by: str
) -> None:
    switch = {"force": "enabled"} if by == "annotation" else {}
    old = annotated(engine.config_map(namespace, "a", {"k": "1"}), **switch)
    new = annotated(engine.config_map(namespace, "a", {"k": "2"}), **switch)
    old["immutable"] = new["immutable"] = True
    async with engine.running(cluster) as plant:
        await plant.apply([old])
        before = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        changes = await plant.apply([new], ApplyOptions(force=by == "option"))
        after = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        assert actions(changes) == [Action.CREATED]
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
        assert actions(changes) == [Action.CREATED, Action.CREATED]
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
        await patch(plant, namespace, "a", held, manager="holder")
        async with asyncio.TaskGroup() as tasks:
            applied = tasks.create_task(plant.apply([new], ApplyOptions(force=True)))
            await plant.until(
                lambda: (live := plant.tracker.live(engine.id_of(new))) and live.is_deleting
            )
            assert not applied.done()
            free = {"metadata": {"finalizers": None}}
            await patch(plant, namespace, "a", free, manager="holder")
        assert actions(applied.result()) == [Action.CREATED]
        assert await data(plant, namespace, "a") == {"k": "2"}


async def test_before_write_runs_once_and_only_when_something_is_written(
    cluster: Access, namespace: str
) -> None:
    calls: list[int] = []

    async def note() -> None:
        calls.append(len(calls))

    async with engine.running(cluster) as plant:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-w"}}
        objects = [space, engine.config_map(namespace, "a", {"k": "1"})]
        await plant.apply(objects, ApplyOptions(before_write=note))
        assert calls == [0]
        await plant.apply(objects, ApplyOptions(before_write=note))
        assert calls == [0]
        await plant.prune([space])


async def test_cold_start_with_the_baseline_file_sends_nothing(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    objects, file = engine.config_maps(namespace, 50), tmp_path / "state" / "baseline"
    async with engine.running(cluster, file=file) as plant:
        await plant.apply(objects)
    async with engine.running(cluster, file=file) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects, AT_INTERVAL)
        counts = plant.requests()
    assert actions(changes) == [Action.UNCHANGED] * 50
    assert counts == {}


async def test_cold_start_without_the_file_writes_nothing(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 50)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
    async with engine.running(cluster) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects)
        counts = plant.requests()
        await plant.apply(objects)
        assert plant.requests() == {}
    assert actions(changes) == [Action.UNCHANGED] * 50
    assert counts == {}  # one list tells of them all


async def test_cold_start_trusts_the_time_of_an_old_entry_and_reads_nothing(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, recognise.MANY - 1)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await patch(plant, namespace, "cm-0009", {"data": {"key": "edited"}}, manager="editor")
    async with engine.running(cluster, clock=engine.LaterClock()) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects)
        assert plant.requests() == {"dry-run": recognise.MANY - 1, "get": 1, "apply": 1}
    assert changes.lines() == f"ConfigMap/{namespace}/cm-0009 configured"


async def test_change_while_the_daemon_was_down_is_found_by_the_dry_run(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply(engine.config_maps(namespace, 5))
    objects = engine.config_maps(namespace, 5)
    objects[3]["data"] = {"another": "1"}
    async with engine.running(cluster, clock=engine.LaterClock()) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects)
    assert changes.lines() == f"ConfigMap/{namespace}/cm-0003 configured"


async def test_server_that_is_away_is_told_once(cluster: Access, namespace: str) -> None:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
    }
    objects = engine.config_maps(namespace, 100)
    nowhere = await auth.from_dict(config)
    async with engine.running(cluster) as plant, Client(nowhere, cluster="away") as away:
        applier, desired = plant.applier.using(away), plant.manifests.add(objects)
        with pytest.raises(ApplyError) as caught:
            await applier.apply(engine.OWNER, desired, plant.manifests)
    assert len(caught.value.texts) <= 32


async def test_edit_made_while_nobody_watched_is_corrected_at_the_start(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    objects, file = engine.config_maps(namespace, 3), tmp_path / "baseline"
    async with engine.running(cluster, file=file) as plant:
        await plant.apply(objects)
    async with engine.running(cluster, file=file) as plant:
        await patch(plant, namespace, "cm-0001", {"data": {"key": "edited"}}, manager="editor")
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects)
    assert changes.lines() == f"ConfigMap/{namespace}/cm-0001 configured"


async def test_verify_asks_about_every_object_and_writes_none(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 10)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        changes = await plant.apply(objects, ApplyOptions(verify=True))
        counts = plant.requests()
    assert counts["dry-run"] == 10
    assert "apply" not in counts
    assert actions(changes) == [Action.UNCHANGED] * 10


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
        assert actions(await plant.apply(wanted, owner=owner)) == [Action.CONFIGURED]
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
        await plant.apply(wanted, AT_INTERVAL, owner)
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
            await patch(plant, namespace, name, {"data": {"extra": "x"}}, manager="kubectl-edit")
        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                for each in wanted:
                    body = {"metadata": {"annotations": {"tick": str(number)}}}
                    name = each["metadata"]["name"]
                    tasks.create_task(patch(plant, namespace, name, body, manager="ticker"))
            applied = tasks.create_task(plant.apply(wanted, ApplyOptions(verify=True)))
        assert actions(applied.result()) == [Action.CONFIGURED] * 8
        for each in wanted:
            assert await data(plant, namespace, each["metadata"]["name"]) == {"ours": "1"}


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
        assert actions(again) == [Action.UNCHANGED, Action.UNCHANGED]
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
    crd = definition(group, "Widget")
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


async def test_kinds_of_the_custom_stage_come_before_the_others(
    cluster: Access, namespace: str
) -> None:
    account = engine.config_map(namespace, "a", {}) | {"kind": "ServiceAccount"}
    del account["data"]
    objects = [account, engine.config_map(namespace, "b", {"k": "1"})]
    async with engine.running(cluster) as plant:
        changes = await plant.apply(objects, ApplyOptions(custom_stages=frozenset({"ConfigMap"})))
    assert [change.id.kind for change in changes] == ["ConfigMap", "ServiceAccount"]


def fields_of(obj: JsonObject) -> JsonObject:
    """Return the fields that our own entry has."""
    (entry,) = (
        each
        for each in obj["metadata"]["managedFields"]
        if each["manager"] == meta.KUSTOMIZE_MANAGER
    )
    found: JsonObject = entry["fieldsV1"]
    return found


async def test_lone_object_that_nobody_knows_is_created_by_one_request(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        changes = await plant.apply(engine.config_maps(namespace, 1))
        assert [change.action for change in changes] == [Action.CREATED]
        assert plant.requests() == {"apply": 1}


async def test_lone_object_that_is_there_already_is_not_touched_before_it_was_looked_at(
    cluster: Access, namespace: str
) -> None:
    (obj,) = objects = engine.config_maps(namespace, 1)
    kept = obj["metadata"]["name"]
    cluster.kubectl("create", "configmap", kept, "-n", namespace, "--from-literal=mine=1")
    disabled = f"{meta.KUSTOMIZE_GROUP}/reconcile=disabled"
    cluster.kubectl("annotate", "configmap", kept, "-n", namespace, disabled)
    async with engine.running(cluster) as plant:
        changes = await plant.apply(objects)
        assert [change.action for change in changes] == [Action.SKIPPED]
    found = cluster.kubectl("get", "configmap", kept, "-n", namespace, "-o", "jsonpath={.data}")
    assert found == '{"mine":"1"}'


async def test_first_object_that_is_refused_leaves_its_stage_untouched_and_reads_like_a_dry_run(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 3)
    objects[0]["metadata"]["labels"] = {"bad": "not a label value!"}
    async with engine.running(cluster) as plant:
        with pytest.raises(ApplyError, match=r"dry-run failed \(Invalid\)"):
            await plant.apply(objects)
    left = cluster.kubectl("get", "configmap", "-n", namespace, "-o", "name").split()
    assert [name for name in left if "/cm-" in name] == []
