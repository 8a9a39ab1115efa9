"""What happens to applied objects, seen by watch: what is drift and what is not."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from api.meta import ObjectRef
from kube.apply import ApplyOptions
from kube.changes import Action
from kube.client import JSON_PATCH, MERGE
from kube.fights import FREE_CORRECTIONS, Fights
from kube.judgement import DriftKind
from kube.objects import GVK, ObjectId, Resource
from tests.support import engine

if TYPE_CHECKING:
    from devcluster.access import Access
    from kube.objects import JsonObject

DEPLOYMENTS = Resource(GVK("apps", "v1", "Deployment"), "deployments", is_namespaced=True)


def deployment(namespace: str, name: str = "app") -> JsonObject:
    """A Deployment that leaves its replicas to somebody else."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]},
            },
        },
    }


def cm(namespace: str, name: str) -> ObjectId:
    return ObjectId(namespace, name, "", "ConfigMap")


async def patch(
    plant: engine.Plant,
    namespace: str,
    name: str,
    body: object,
    *,
    manager: str = "editor",
    content_type: str = MERGE,
) -> bytes:
    return await plant.client.patch(
        engine.CONFIG_MAPS,
        namespace,
        name,
        orjson.dumps(body),
        manager=manager,
        content_type=content_type,
    )


async def seen(plant: engine.Plant, raw: bytes, obj: ObjectId) -> None:
    await plant.until_seen(engine.version_of(raw), obj)


async def test_apply_of_a_thousand_objects_causes_no_correction(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 1000)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        states = [plant.tracker.live(engine.id_of(each)) for each in objects]
        last = max(live.resource_version for live in states if live)
        # An unowned write after everything else proves that all events before it were taken in.
        raw = await patch(plant, namespace, "cm-0000", {"data": {"other": "x"}})
        await seen(plant, raw, cm(namespace, "cm-0000"))
        assert engine.version_of(raw) > last
        assert plant.drifts.empty()
        plant.requests()
        assert {change.action for change in await plant.apply(objects)} == {Action.UNCHANGED}
        assert plant.requests() == {}


async def test_edit_is_seen_at_once_and_put_back_with_one_request(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 5)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        await patch(plant, namespace, "cm-0003", {"data": {"key": "edited"}})
        told = await plant.next_drift()
        assert (told.owner, told.id) == (engine.OWNER, cm(namespace, "cm-0003"))
        assert (told.drift.kind, told.drift.who) == (DriftKind.EDITED, "editor")
        plant.requests()
        changes = await plant.apply(objects)
        assert plant.requests() == {"apply": 1}
        assert changes.lines() == f"ConfigMap/{namespace}/cm-0003 configured"
        assert plant.drifts.empty()


async def test_removed_key_is_drift(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply([engine.config_map(namespace, "a", {"k": "1", "l": "1"})])
        await plant.tracker.synced(engine.OWNER)
        await patch(plant, namespace, "a", {"data": {"l": None}})
        assert (await plant.next_drift()).drift.kind is DriftKind.EDITED


async def test_deletion_is_confirmed_by_one_read_and_put_back_with_one_request(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 5)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        plant.requests()
        await plant.client.delete(engine.CONFIG_MAPS, namespace, "cm-0002")
        told = await plant.next_drift()
        assert told.id == cm(namespace, "cm-0002")
        assert told.drift.kind is DriftKind.DELETED
        assert plant.requests() == {"delete": 1, "get": 1}
        changes = await plant.apply(objects)
        assert changes.lines() == f"ConfigMap/{namespace}/cm-0002 created"
        assert plant.requests() == {"apply": 1}


async def test_lost_label_is_told_apart_from_a_deletion_and_put_back(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 2)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        lost = {"metadata": {"labels": {meta.OWNER_NAME: None}}}
        await patch(plant, namespace, "cm-0001", lost)
        told = await plant.next_drift()
        assert (told.id.name, told.drift.kind) == ("cm-0001", DriftKind.UNLABELLED)
        await plant.apply(objects)
        live = await plant.client.get(engine.CONFIG_MAPS, namespace, "cm-0001")
        assert live["metadata"]["labels"][meta.OWNER_NAME] == engine.OWNER.name
        plant.requests()
        await plant.apply(objects)
        assert plant.requests() == {}


async def test_object_that_moves_to_another_owner_is_told_and_not_edited_drift(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply(engine.config_maps(namespace, 1))
        await plant.tracker.synced(engine.OWNER)
        await patch(
            plant, namespace, "cm-0000", {"metadata": {"labels": {meta.OWNER_NAME: "other"}}}
        )
        assert (await plant.next_drift()).drift.kind is DriftKind.MOVED


async def test_fifty_scales_of_a_field_we_do_not_own_cause_no_write(
    cluster: Access, namespace: str
) -> None:
    objects = [deployment(namespace)]
    obj = ObjectId(namespace, "app", "apps", "Deployment")
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        raw = b""
        for replicas in range(50):
            body = orjson.dumps({"spec": {"replicas": replicas % 2 + 1}})
            raw = await plant.client.patch(
                DEPLOYMENTS, namespace, "app", body, subresource="scale", manager="autoscaler"
            )
        assert raw
        live = await plant.client.get(DEPLOYMENTS, namespace, "app")
        await plant.until_seen(int(live["metadata"]["resourceVersion"]), obj)
        assert plant.drifts.empty()
        plant.requests()
        await plant.apply(objects, ApplyOptions(at_interval=True))
        assert plant.requests() == {}


async def test_foreign_apply_under_our_own_name_is_corrected(
    cluster: Access, namespace: str
) -> None:
    objects = [engine.config_map(namespace, "a", {"k": "1"})]
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        live = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        entry = next(e for e in live["metadata"]["managedFields"] if e["operation"] == "Apply")
        await _until_the_next_second(entry["time"])
        (desired,) = plant.manifests.add([engine.config_map(namespace, "a", {"k": "2"})])
        await plant.client.apply(
            engine.CONFIG_MAPS,
            plant.manifests.read(desired),
            namespace,
            "a",
            manager=meta.KUSTOMIZE_MANAGER,
        )
        told = await plant.next_drift()
        assert (told.drift.kind, told.drift.who) == (DriftKind.EDITED, meta.KUSTOMIZE_MANAGER)
        await plant.apply(objects)
        live = await plant.client.get(engine.CONFIG_MAPS, namespace, "a")
        assert live["data"] == {"k": "1"}


async def _until_the_next_second(time: str) -> None:
    """Managed fields carry whole seconds; an apply in the same one is invisible to everybody."""
    then = dt.datetime.fromisoformat(time) + dt.timedelta(seconds=1)
    left = (then - dt.datetime.now(dt.UTC)).total_seconds()
    await asyncio.sleep(max(left, 0) + 0.05)


async def test_rollout_restart_is_not_undone_at_once_but_at_the_interval(
    cluster: Access, namespace: str
) -> None:
    objects = [deployment(namespace)]
    obj = ObjectId(namespace, "app", "apps", "Deployment")
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        await asyncio.to_thread(
            cluster.kubectl, "rollout", "restart", "deployment/app", "-n", namespace
        )
        live = await plant.client.get(DEPLOYMENTS, namespace, "app")
        assert "annotations" in live["spec"]["template"]["metadata"]
        await plant.until_seen(int(live["metadata"]["resourceVersion"]), obj)
        assert plant.drifts.empty()
        plant.requests()
        await plant.apply(objects)
        assert plant.requests() == {}
        await plant.apply(objects, ApplyOptions(at_interval=True))
        live = await plant.client.get(DEPLOYMENTS, namespace, "app")
        assert "annotations" not in live["spec"]["template"]["metadata"]


async def test_request_annotation_on_a_child_is_not_drift(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply(engine.config_maps(namespace, 1))
        await plant.tracker.synced(engine.OWNER)
        await asyncio.to_thread(
            cluster.kubectl, "annotate", "configmap", "cm-0000", "-n", namespace,
            f"{meta.REQUESTED_AT}=now",
        )  # fmt: skip
        live = await plant.client.metadata(engine.CONFIG_MAPS, namespace, "cm-0000")
        await plant.until_seen(int(live.resource_version), cm(namespace, "cm-0000"))
        assert plant.drifts.empty()


async def test_write_of_the_same_value_is_not_drift(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply(engine.config_maps(namespace, 1))
        await plant.tracker.synced(engine.OWNER)
        raw = await patch(plant, namespace, "cm-0000", {"data": {"key": "1", "more": "x"}})
        await seen(plant, raw, cm(namespace, "cm-0000"))
        assert plant.drifts.empty()


async def test_edit_during_an_apply_is_told_after_it(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 2)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        with plant.tracker.processing(engine.OWNER):
            raw = await patch(plant, namespace, "cm-0001", {"data": {"key": "edited"}})
            await seen(plant, raw, cm(namespace, "cm-0001"))
            assert plant.drifts.empty()
        assert (await plant.next_drift()).id == cm(namespace, "cm-0001")


async def test_edit_that_an_apply_has_overwritten_is_never_told(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 2)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        with plant.tracker.processing(engine.OWNER):
            await patch(plant, namespace, "cm-0001", {"data": {"key": "edited"}})
            await plant.apply(engine.config_maps(namespace, 2, "2"))
        raw = await patch(plant, namespace, "cm-0001", {"data": {"unowned": "x"}})
        await seen(plant, raw, cm(namespace, "cm-0001"))
        assert plant.drifts.empty()


async def test_pruned_object_is_not_drift(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 3)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        plant.requests()
        await plant.prune(objects[:2])
        raw = await patch(plant, namespace, "cm-0002", {"data": {"unowned": "x"}})
        await seen(plant, raw, cm(namespace, "cm-0002"))
        assert plant.drifts.empty()
        assert plant.requests() == {"get": 2, "delete": 2, "patch": 1}


async def test_fight_over_a_field_backs_off_and_is_told_once(
    cluster: Access, namespace: str
) -> None:
    objects = [engine.config_map(namespace, "a", {"k": "ours"})]
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        fights, verdicts = Fights(plant.clock), []
        for _ in range(FREE_CORRECTIONS + 3):
            await patch(plant, namespace, "a", {"data": {"k": "theirs"}}, manager="rival")
            told = await plant.next_drift()
            verdicts.append(fights.correct(told.id, told.drift.who))
            await plant.apply(objects)
    assert [verdict.delay_s for verdict in verdicts] == [0, 0, 0, 1, 2, 4]
    assert [verdict.is_news for verdict in verdicts] == [False] * 3 + [True, False, False]


async def test_two_owners_of_one_object_do_not_wake_each_other(
    cluster: Access, namespace: str
) -> None:
    other = ObjectRef("test", "Kustomization", "flux-system", "other")
    objects = engine.config_maps(namespace, 1)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        await plant.apply(objects, owner=other)
        raw = await patch(plant, namespace, "cm-0000", {"data": {"unowned": "x"}})
        await seen(plant, raw, cm(namespace, "cm-0000"))
        assert plant.drifts.empty()
        await patch(plant, namespace, "cm-0000", {"data": {"key": "edited"}})
        assert (await plant.next_drift()).owner == other


@pytest.mark.parametrize("operation", ["Update", "Apply"])
async def test_manager_that_takes_a_field_is_named(
    cluster: Access, namespace: str, operation: str
) -> None:
    async with engine.running(cluster) as plant:
        await plant.apply(engine.config_maps(namespace, 1))
        await plant.tracker.synced(engine.OWNER)
        if operation == "Update":
            steps = [{"op": "replace", "path": "/data/key", "value": "theirs"}]
            await patch(
                plant, namespace, "cm-0000", steps, manager="rival", content_type=JSON_PATCH
            )
        else:
            body = orjson.dumps(engine.config_map(namespace, "cm-0000", {"key": "theirs"}))
            await plant.client.apply(
                engine.CONFIG_MAPS, body, namespace, "cm-0000", manager="rival"
            )
        assert (await plant.next_drift()).drift.who == "rival"
