"""Objects of a release that somebody changes: put back, told of, or left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from kube import errors, references
from kube.client import JSON_PATCH
from tests.support import helmcharts, releaser
from tests.support.releaser import condition, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

CONFIG_MAPS = references.RESOURCES[references.CONFIG_MAP]
CHART = helmcharts.pack(
    "demo",
    {
        "templates/a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}",
        "templates/s.yaml": "{apiVersion: v1, kind: Secret, metadata: {name: s}, "
        "stringData: {p: x}}",
    },
)


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        await running.push(CHART)
        yield running


async def edit(world: World, name: str = "a", **data: str | None) -> None:
    await world.patch(CONFIG_MAPS, name, {"data": data})


async def data_of(world: World, name: str = "a") -> dict[str, str]:
    found: dict[str, str] = (await world.live("ConfigMap", name))["data"]
    return found


async def until_data(world: World, expected: dict[str, str]) -> None:
    while await data_of(world) != expected:
        world.news.clear()
        await world.news.wait()


async def test_an_edit_is_put_back_and_told(world: World, namespace: str) -> None:
    await world.release("demo", driftDetection={"mode": "enabled"})
    item = await world.until("demo", ready)
    assert condition(item, meta.DRIFTED) == (
        "False",
        "NoDriftDetected",
        "No drift detected against the cluster state",
    )
    await edit(world, k="edited", other="stays")
    found = await world.event("DriftDetected")
    assert found.severity == "error"
    assert found.message == (
        f"Cluster state of release {namespace}/demo.v1 has drifted from the desired state:\n"
        f"ConfigMap/{namespace}/a changed (0 additions, 1 changes, 0 removals)\n"
        '  data.k: "edited", wanted "v"'
    )
    found = await world.event("DriftCorrected")
    assert found.message == (
        f"Cluster state of release {namespace}/demo.v1 has been corrected:\n"
        f"ConfigMap/{namespace}/a configured"
    )
    await world.idle()
    assert await data_of(world) == {"k": "v", "other": "stays"}
    item = world.get("demo")  # type: ignore[assignment]
    assert condition(item, meta.DRIFTED)[0] == "False"
    assert len(item.status.history) == 1


async def test_a_deletion_is_put_back(world: World, namespace: str) -> None:
    await world.release("demo", driftDetection={"mode": "enabled"})
    await world.until("demo", ready)
    await world.context.client.delete(CONFIG_MAPS, namespace, "a")
    await world.event("DriftCorrected", f"ConfigMap/{namespace}/a created")
    found = await world.event("DriftDetected")
    assert found.message.endswith(f"ConfigMap/{namespace}/a removed")
    assert await data_of(world) == {"k": "v"}


async def test_secrets_are_masked(world: World, namespace: str) -> None:
    await world.release("demo", driftDetection={"mode": "enabled"})
    await world.until("demo", ready)
    secrets = references.RESOURCES[references.SECRET]
    await world.patch(secrets, "s", {"stringData": {"p": "leaked"}})
    found = await world.event("DriftDetected", f"Secret/{namespace}/s changed")
    assert "bGVha2Vk" not in found.message
    assert "***" in found.message


async def test_warn_tells_and_leaves(world: World) -> None:
    await world.release("demo", driftDetection={"mode": "warn"})
    await world.until("demo", ready)
    await edit(world, k="edited")
    await world.event("DriftDetected")
    await world.idle()
    item = world.get("demo")
    assert item is not None
    assert condition(item, meta.DRIFTED)[:2] == ("True", "DriftDetected")
    assert condition(item, meta.READY)[0] == "True"
    assert await data_of(world) == {"k": "edited"}
    await edit(world, k="v")
    item = await world.until("demo", releaser.shows(meta.DRIFTED, "False"))
    assert [each.reason for each in world.events].count("DriftDetected") == 1


@pytest.mark.parametrize("spec", [{}, {"driftDetection": {"mode": "disabled"}}])
async def test_without_detection_nothing_happens(world: World, spec: dict[str, Any]) -> None:
    await world.release("demo", **spec)
    item = await world.until("demo", ready)
    before = world.requests()
    await edit(world, k="edited")
    world.engine.wake(item.ref("test"), "interval")
    await world.idle()
    asked = {key: count - before.get(key, 0) for key, count in world.requests().items()}
    assert {key for key, count in asked.items() if count} == {("patch", "configmaps")}
    assert await data_of(world) == {"k": "edited"}
    assert condition(item, meta.DRIFTED) == ("", "", "")


async def test_detection_that_is_switched_off_takes_its_condition_along(world: World) -> None:
    await world.release("demo", driftDetection={"mode": "warn"})
    await world.until("demo", ready)
    await edit(world, k="edited")
    await world.until("demo", releaser.shows(meta.DRIFTED, "True"))
    await world.release("demo", driftDetection={"mode": "disabled"})
    item = await world.until("demo", ready)
    assert condition(item, meta.DRIFTED) == ("", "", "")
    assert await data_of(world) == {"k": "edited"}


async def test_ignored_fields_are_left_alone_and_no_others(world: World) -> None:
    rule = {"paths": ["/data/free"], "target": {"kind": "ConfigMap", "name": "a"}}
    two = {
        "templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
        "data: {k: v, free: x}\n"
    }
    await world.push(helmcharts.pack("demo", two))
    await world.release("demo", driftDetection={"mode": "enabled", "ignore": [rule]})
    await world.until("demo", ready)
    await edit(world, free="mine")
    await edit(world, k="edited")
    await world.event("DriftCorrected")
    await world.idle()
    assert await data_of(world) == {"k": "v", "free": "mine"}


async def test_an_object_that_is_ignored_as_a_whole_is_left_alone(
    world: World, namespace: str
) -> None:
    rule = {"paths": [""], "target": {"kind": "ConfigMap"}}
    await world.release("demo", driftDetection={"mode": "enabled", "ignore": [rule]})
    item = await world.until("demo", ready)
    await edit(world, k="edited")
    await world.context.client.delete(references.RESOURCES[references.SECRET], namespace, "s")
    await world.event("DriftCorrected", f"Secret/{namespace}/s created")
    await world.context.client.delete(CONFIG_MAPS, namespace, "a")
    world.engine.wake(item.ref("test"), "interval")
    await world.idle()
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "a")


async def test_an_object_may_ask_to_be_left_out(world: World, namespace: str) -> None:
    await world.release("demo", driftDetection={"mode": "enabled"})
    await world.until("demo", ready)
    mark = [
        {
            "op": "add",
            "path": "/metadata/annotations/helm.toolkit.fluxcd.io~1driftDetection",
            "value": "Disabled",
        },
        {"op": "replace", "path": "/data/k", "value": "edited"},
    ]
    await world.context.client.patch(
        CONFIG_MAPS, namespace, "a", orjson.dumps(mark), manager="x", content_type=JSON_PATCH
    )
    await world.context.client.delete(references.RESOURCES[references.SECRET], namespace, "s")
    await world.event("DriftCorrected", f"Secret/{namespace}/s created")
    await world.idle()
    assert await data_of(world) == {"k": "edited"}


async def test_drift_while_the_daemon_was_away_is_found(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with releaser.running(cluster, tmp_path, namespace) as world:
        await world.push(CHART)
        await world.release("demo", driftDetection={"mode": "enabled"})
        await world.until("demo", ready)
        await world.engine.stop_kind(releaser.KIND)
        await edit(world, k="edited")
        world.engine.start_kind(releaser.KIND)
        await world.event("DriftCorrected")
        assert await data_of(world) == {"k": "v"}


async def test_an_object_that_another_release_took_over_is_left_to_it(
    world: World, namespace: str
) -> None:
    detection = {"mode": "enabled"}
    await world.release("first", driftDetection=detection)
    await world.until("first", ready)
    await world.release("second", driftDetection=detection)
    await world.until("second", ready)
    await world.idle()
    for name in ("first", "second"):
        world.engine.wake(world.get(name).ref("test"), "somebody")  # type: ignore[union-attr]
    await world.idle()
    found = await world.live("ConfigMap", "a")
    assert found["metadata"]["annotations"][meta.HELM_RELEASE_NAME] == "second"
    assert not [each for each in world.events if each.reason.startswith("Drift")]
    await world.delete("first")
    await world.until("first", releaser.gone)
    assert await world.live("ConfigMap", "a")
    await world.delete("second")
    await world.until("second", releaser.gone)
    await world.until_gone("ConfigMap", "a", namespace)
