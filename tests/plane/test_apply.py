"""Server-side apply against a real API server."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest

from api import meta
from kube import auth
from kube.apply import ApplyError, ApplyOptions
from kube.changes import Action
from kube.client import Client
from tests.support import engine

if TYPE_CHECKING:
    from devcluster.access import Access
    from kube.objects import JsonObject


async def test_first_apply_costs_a_dry_run_and_an_apply_for_each_object(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 60)
    async with engine.running(cluster) as plant:
        changes = await plant.apply(objects)
        counts = plant.requests()
    assert engine.actions(changes) == [Action.CREATED] * 60
    assert counts == {"dry-run": 59, "apply": 60}


async def test_nothing_to_do_sends_nothing(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 60)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        changes = await plant.apply(objects, engine.AT_INTERVAL)
        assert plant.requests() == {}
    assert engine.actions(changes) == [Action.UNCHANGED] * 60


async def test_change_of_one_object_is_one_request(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 20)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        objects[7]["data"] = {"key": "other"}
        changes = await plant.apply(objects)
        assert plant.requests() == {"apply": 1}
        assert changes.lines() == f"ConfigMap/{namespace}/cm-0007 configured"
        assert await engine.data(plant, namespace, "cm-0007") == {"key": "other"}


async def test_change_of_many_objects_is_tried_before_any_is_written(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 20)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        changes = await plant.apply(engine.config_maps(namespace, 20, "2"))
        assert plant.requests() == {"dry-run": 20, "apply": 20}
    assert engine.actions(changes) == [Action.CONFIGURED] * 20


async def test_two_changes_in_the_same_second_are_both_applied(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        for value in ("1", "2", "3"):
            await plant.apply(engine.config_maps(namespace, 3, value))
            assert await engine.data(plant, namespace, "cm-0002") == {"key": value}


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
        assert await engine.data(plant, namespace, "a") == {"k": "v"}


async def test_definition_and_its_resource_are_applied_in_one_go(
    cluster: Access, namespace: str
) -> None:
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    crd = engine.definition(group, "Widget")
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
    crd = engine.definition(group, "Widget")
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


async def test_kinds_of_the_custom_stage_come_before_the_others(
    cluster: Access, namespace: str
) -> None:
    account = engine.config_map(namespace, "a", {}) | {"kind": "ServiceAccount"}
    del account["data"]
    objects = [account, engine.config_map(namespace, "b", {"k": "1"})]
    async with engine.running(cluster) as plant:
        changes = await plant.apply(objects, ApplyOptions(custom_stages=frozenset({"ConfigMap"})))
    assert [change.id.kind for change in changes] == ["ConfigMap", "ServiceAccount"]


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
