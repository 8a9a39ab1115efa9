"""Ignored fields on a real API server: who may write them, and what an apply does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from api.kustomize import IgnoreRule, Selector
from kube.apply import ApplyOptions
from kube.changes import Action
from kube.ignore import Rules
from kube.objects import GVK, Resource
from tests.support import engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devcluster.access import Access
    from kube.objects import JsonObject
    from tests.support.engine import Plant

DEPLOYMENTS = Resource(GVK("apps", "v1", "Deployment"), "deployments", is_namespaced=True)
PATHS = ("/spec/replicas", "/spec/template/spec/containers/0/image")
IGNORING = ApplyOptions(ignore=Rules([IgnoreRule(paths=PATHS, target=Selector(kind="Deployment"))]))


@pytest.fixture
async def plant(cluster: Access) -> AsyncIterator[Plant]:
    async with engine.running(cluster) as running:
        yield running


def deployment(namespace: str, **spec: object) -> JsonObject:
    containers = [{"name": "app", "image": "a:1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "paused": True,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": containers},
            },
            **spec,
        },
    }


async def live(plant: Plant, namespace: str) -> JsonObject:
    return await plant.client.get(DEPLOYMENTS, namespace, "web")


async def edit(plant: Plant, namespace: str, spec: JsonObject, manager: str, sub: str = "") -> int:
    raw = await plant.client.patch(
        DEPLOYMENTS,
        namespace,
        "web",
        orjson.dumps({"spec": spec}),
        manager=manager,
        subresource=sub,
    )
    return engine.version_of(raw)


async def claim(plant: Plant, namespace: str, spec: JsonObject, manager: str) -> int:
    body = orjson.dumps({**deployment(namespace), "spec": spec})
    answer = await plant.client.apply(DEPLOYMENTS, body, namespace, "web", manager=manager)
    return engine.version_of(answer.raw)


def managers_of_replicas(obj: JsonObject) -> set[str]:
    return {
        entry["manager"]
        for entry in obj["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }


async def test_fifty_scalings_of_an_ignored_field_cause_no_request(
    plant: Plant, namespace: str
) -> None:
    obj = deployment(namespace)
    created = await plant.apply([obj], IGNORING)
    assert [change.action for change in created] == [Action.CREATED]
    version = 0
    for replicas in range(50):
        version = await edit(plant, namespace, {"replicas": replicas % 3}, "scaler", "scale")
    await plant.until_seen(version, engine.id_of(obj))
    plant.requests()
    assert plant.drifts.empty()
    again = await plant.apply([obj], IGNORING)
    assert [change.action for change in again] == [Action.UNCHANGED]
    assert plant.requests() == {}


async def test_other_fields_of_the_object_are_still_put_back(plant: Plant, namespace: str) -> None:
    obj = deployment(namespace)
    await plant.apply([obj], IGNORING)
    await edit(plant, namespace, {"replicas": 2}, "scaler", "scale")
    await edit(plant, namespace, {"paused": False}, "editor")
    told = await plant.next_drift()
    assert told.id == engine.id_of(obj)
    await plant.apply([obj], IGNORING)
    spec = (await live(plant, namespace))["spec"]
    assert (spec["paused"], spec["replicas"]) == (True, 2)


async def test_image_in_a_list_is_ignored_by_the_name_of_its_container(
    plant: Plant, namespace: str
) -> None:
    obj = deployment(namespace)
    await plant.apply([obj], IGNORING)
    containers = [{"name": "app", "image": "a:2"}]
    template = {"spec": {"containers": containers}}
    version = await edit(plant, namespace, {"template": template}, "image-updater")
    await plant.until_seen(version, engine.id_of(obj))
    assert plant.drifts.empty()
    changed = deployment(namespace, minReadySeconds=5)
    assert [change.action for change in await plant.apply([changed], IGNORING)] == [
        Action.CONFIGURED
    ]
    spec = (await live(plant, namespace))["spec"]
    assert spec["minReadySeconds"] == 5
    assert spec["template"]["spec"]["containers"][0]["image"] == "a:2"


async def test_field_that_another_manager_applied_is_handed_over(
    plant: Plant, namespace: str
) -> None:
    await plant.apply([deployment(namespace)], IGNORING)
    await claim(plant, namespace, {"replicas": 3}, "hpa")
    await plant.apply([deployment(namespace, minReadySeconds=5)], IGNORING)
    obj = await live(plant, namespace)
    assert obj["spec"]["replicas"] == 3
    assert managers_of_replicas(obj) == {"hpa"}
    again = await plant.apply([deployment(namespace, minReadySeconds=5)], IGNORING)
    assert [change.action for change in again] == [Action.UNCHANGED]


async def test_field_that_somebody_edited_is_adopted_with_its_value(
    plant: Plant, namespace: str
) -> None:
    await plant.apply([deployment(namespace)], IGNORING)
    await edit(plant, namespace, {"replicas": 3}, "editor")
    await plant.apply([deployment(namespace, minReadySeconds=5)], IGNORING)
    obj = await live(plant, namespace)
    assert obj["spec"]["replicas"] == 3
    assert managers_of_replicas(obj) == {"editor", meta.KUSTOMIZE_MANAGER}


async def test_value_that_kubectl_wrote_survives_its_absorption(
    plant: Plant, namespace: str
) -> None:
    for claimed in (False, True):
        await plant.apply([deployment(namespace)], IGNORING)
        if claimed:
            version = await claim(plant, namespace, {"replicas": 4}, "kubectl")
        else:
            version = await edit(plant, namespace, {"replicas": 3}, "kubectl-edit")
        await plant.until_seen(version, engine.id_of(deployment(namespace)))
        await plant.apply(
            [deployment(namespace)], ApplyOptions(ignore=IGNORING.ignore, at_interval=True)
        )
        obj = await live(plant, namespace)
        assert obj["spec"]["replicas"] == (4 if claimed else 3)
        assert managers_of_replicas(obj) == {meta.KUSTOMIZE_MANAGER}


async def test_rule_that_goes_puts_the_field_back_at_once(plant: Plant, namespace: str) -> None:
    obj = deployment(namespace)
    await plant.apply([obj], IGNORING)
    version = await edit(plant, namespace, {"replicas": 3}, "scaler", "scale")
    await plant.until_seen(version, engine.id_of(obj))
    assert [change.action for change in await plant.apply([obj])] == [Action.CONFIGURED]
    assert (await live(plant, namespace))["spec"]["replicas"] == 0


async def test_rule_that_comes_lets_the_field_be(plant: Plant, namespace: str) -> None:
    obj = deployment(namespace)
    await plant.apply([obj])
    await edit(plant, namespace, {"replicas": 3}, "scaler", "scale")
    await plant.next_drift()
    assert [change.action for change in await plant.apply([obj], IGNORING)] == [Action.UNCHANGED]
    assert (await live(plant, namespace))["spec"]["replicas"] == 3
    version = await edit(plant, namespace, {"replicas": 2}, "scaler", "scale")
    await plant.until_seen(version, engine.id_of(obj))
    assert plant.drifts.empty()


async def test_object_that_was_deleted_is_created_whole(plant: Plant, namespace: str) -> None:
    obj = deployment(namespace, replicas=1)
    await plant.apply([obj], IGNORING)
    await edit(plant, namespace, {"replicas": 3}, "scaler", "scale")
    await plant.client.delete(DEPLOYMENTS, namespace, "web")
    await plant.next_drift()
    assert [change.action for change in await plant.apply([obj], IGNORING)] == [Action.CREATED]
    assert (await live(plant, namespace))["spec"]["replicas"] == 1
