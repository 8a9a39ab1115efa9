"""What people do to the objects of a Kustomization by hand, and how it is put right."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from kube import errors, fights
from kube.client import JSON_PATCH
from kube.objects import GVK, ObjectId, Resource
from tests.support import api, kustomizer
from tests.support.kustomizer import applied, config_map

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import World

CONFIG_MAPS = Resource(GVK("", "v1", "ConfigMap"), "configmaps", is_namespaced=True)


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        await running.push(
            {f"{n}.yaml": config_map(f"cm{n}", namespace, k="git") for n in range(5)}
        )
        await running.kustomize("apps")
        await running.until("apps", applied(running.revision))
        await running.context.tracker.synced(running.ref("apps"))
        yield running


async def edit(world: World, name: str, value: str, manager: str = "kubectl-edit") -> bytes:
    body = orjson.dumps({"data": {"k": value}})
    return await world.context.client.patch(
        CONFIG_MAPS, world.namespace, name, body, manager=manager
    )


async def until_data(world: World, name: str, expected: dict[str, str]) -> None:
    async with asyncio.timeout(api.WAIT_S):
        while True:
            with world.context.tracker.feed.subscribe([kustomizer_id(world, name)]) as changes:
                with contextlib.suppress(errors.NotFound):  # it may be gone for a moment
                    if (await world.live("configmaps", name))["data"] == expected:
                        return
                await changes.wait()


def kustomizer_id(world: World, name: str) -> ObjectId:
    return ObjectId(world.namespace, name, "", "ConfigMap")


async def test_edit_is_put_right_by_one_request_and_an_event_that_names_who(world: World) -> None:
    before = world.requests()
    await edit(world, "cm1", "hand", manager="robot")
    event = await world.until_event("DriftCorrected")
    assert event.message == f"ConfigMap/{world.namespace}/cm1 was edited by robot; corrected"
    assert (await world.live("configmaps", "cm1"))["data"] == {"k": "git"}
    await world.idle("apps")
    after = world.requests()
    assert after[("apply", "configmaps")] == before[("apply", "configmaps")] + 1
    assert after.get(("dry-run", "configmaps")) == before.get(("dry-run", "configmaps"))
    assert after[("patch", "kustomizations")] == before[("patch", "kustomizations")]


async def test_deleted_object_is_created_again(world: World) -> None:
    await world.context.client.delete(CONFIG_MAPS, world.namespace, "cm2")
    event = await world.until_event("cm2 was deleted")
    assert event.severity == "info"
    await until_data(world, "cm2", {"k": "git"})


async def test_lost_label_is_put_back(world: World) -> None:
    body = orjson.dumps({"metadata": {"labels": {meta.OWNER_NAME: None}}})
    await world.context.client.patch(
        CONFIG_MAPS, world.namespace, "cm3", body, manager="kubectl-label"
    )
    await world.until_event("cm3 was unlabelled")
    live = await world.live("configmaps", "cm3")
    assert live["metadata"]["labels"][meta.OWNER_NAME] == "apps"


async def test_field_of_somebody_else_is_left_alone(world: World) -> None:
    body = orjson.dumps([{"op": "add", "path": "/data/theirs", "value": "x"}])
    before = world.requests()
    await world.context.client.patch(
        CONFIG_MAPS, world.namespace, "cm1", body, manager="robot", content_type=JSON_PATCH
    )
    await edit(world, "cm2", "hand")
    await until_data(world, "cm2", {"k": "git"})
    assert (await world.live("configmaps", "cm1"))["data"] == {"k": "git", "theirs": "x"}
    applied_now = world.requests()[("apply", "configmaps")]
    assert applied_now == before[("apply", "configmaps")] + 1


async def test_fight_backs_off_and_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fights, "FIRST_DELAY_S", 0.2)
    took = []
    for _ in range(fights.FREE_CORRECTIONS + 2):
        began = time.monotonic()
        await edit(world, "cm1", "robot", manager="robot")
        await until_data(world, "cm1", {"k": "git"})
        took.append(time.monotonic() - began)
    await world.idle("apps")
    assert took[-2] >= 0.2
    assert took[-1] >= 0.4
    corrections = [event for event in world.events if event.reason == "DriftCorrected"]
    assert len(corrections) == len(took)
    assert sum("keep changing it" in event.message for event in corrections) == 1


async def test_drift_of_a_suspended_kustomization_stays(world: World) -> None:
    await world.patch("apps", {"spec": {"suspend": True}})
    await world.idle("apps")
    await edit(world, "cm1", "hand")
    await world.until_woken("drift")
    await world.idle("apps")
    assert (await world.live("configmaps", "cm1"))["data"] == {"k": "hand"}
    await world.patch("apps", {"spec": {"suspend": False}})
    await until_data(world, "cm1", {"k": "git"})


async def test_apply_of_many_objects_causes_one_run_and_no_correction(
    world: World, namespace: str
) -> None:
    await world.push({f"{n}.yaml": config_map(f"cm{n}", namespace, k="2") for n in range(300)})
    world.wakes.clear()
    await world.until("apps", applied(world.revision))
    assert not [cause for _, cause in world.wakes if cause.startswith("drift")]
    assert not [event for event in world.events if event.reason == "DriftCorrected"]
