"""The main job of a HelmRelease on a real API server, with the real helm as the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api import meta
from kube import errors
from tests.support import helmcharts, releaser
from tests.support.releaser import at_revision, condition, gone, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        yield running


async def test_a_release_is_installed_upgraded_and_uninstalled(
    world: World, namespace: str
) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.put("ConfigMap", "extra", **{"values.yaml": "more: 1\n"})
    await world.release(
        "demo",
        values={"text": "one"},
        valuesFrom=[{"kind": "ConfigMap", "name": "extra"}],
        commonMetadata={"labels": {"team": "a"}},
    )
    item = await world.until("demo", ready)
    chart = item.status.last_attempted_revision
    told = f"Helm install succeeded for release {namespace}/demo.v1 with chart demo@{chart}"
    assert condition(item, meta.READY) == ("True", "InstallSucceeded", told)
    assert condition(item, meta.RELEASED) == ("True", "InstallSucceeded", told)
    assert condition(item, meta.RECONCILING) == ("", "", "")
    assert item.status.storage_namespace == namespace
    assert [each.id for each in item.status.inventory.entries] == [f"{namespace}_demo__ConfigMap"]  # type: ignore[union-attr]
    live = await world.live("ConfigMap", "demo")
    assert live["data"] == {"text": "one", "revision": "1"}
    assert live["metadata"]["labels"] == {
        meta.MANAGED_BY: "Helm",
        meta.HELM_OWNER_NAME: "demo",
        meta.HELM_OWNER_NAMESPACE: namespace,
        "team": "a",
    }
    assert live["metadata"]["annotations"] == {
        meta.HELM_RELEASE_NAME: "demo",
        meta.HELM_RELEASE_NAMESPACE: namespace,
    }
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["helm-controller"]
    assert world.history("demo") == [(1, "deployed")]

    await world.put("ConfigMap", "extra", **{"values.yaml": "more: 2\n"})
    item = await world.until("demo", at_revision(2))
    assert condition(item, meta.READY)[1] == "UpgradeSucceeded"
    assert [(each.version, each.status, each.action) for each in item.status.history] == [
        (2, "deployed", "upgrade"),
        (1, "superseded", ""),
    ]
    assert world.history("demo") == [(1, "superseded"), (2, "deployed")]
    got = world.helm.run("get", "values", "demo", "-n", namespace, "-o", "json")
    assert got.strip() == '{"more":2,"text":"one"}'
    listed = world.helm.run("list", "-n", namespace, "-o", "json")
    assert '"name":"demo"' in listed
    assert '"revision":"2"' in listed

    await world.delete("demo")
    await world.until("demo", gone)
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "demo")
    assert world.history("demo") == []
    reasons = [each.reason for each in world.events]
    assert reasons == ["InstallSucceeded", "UpgradeSucceeded", "UninstallSucceeded"]


async def test_nothing_to_do_asks_nothing(world: World) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("demo", driftDetection={"mode": "enabled"})
    item = await world.until("demo", ready)
    before = world.requests()
    for cause in ("interval", "start", "somebody"):
        world.engine.wake(item.ref("test"), cause)
        await world.idle()
    assert world.requests() == before
    assert world.get("demo") is item


async def test_what_a_chart_has_no_longer_is_deleted_unless_it_is_to_be_kept(
    world: World, namespace: str
) -> None:
    keep = "  annotations: {helm.sh/resource-policy: keep}\n"
    files = {
        "templates/a.yaml": config_map("a"),
        "templates/b.yaml": config_map("b"),
        "templates/c.yaml": config_map("c") + keep,
    }
    await world.push(helmcharts.pack("demo", files))
    await world.release("demo")
    await world.until("demo", ready)
    await world.push(
        helmcharts.pack("demo", {"templates/a.yaml": config_map("a")}, version="2.0.0")
    )
    item = await world.until("demo", at_revision(2))
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "b")
    assert await world.live("ConfigMap", "c")
    assert [each.id for each in item.status.inventory.entries] == [f"{namespace}_a__ConfigMap"]  # type: ignore[union-attr]


async def test_another_target_namespace_takes_the_old_objects_along(
    world: World, namespace: str
) -> None:
    first, second = f"{namespace}-a", f"{namespace}-b"
    spec = {"releaseName": "demo", "install": {"createNamespace": True}}
    await world.push(helmcharts.pack("demo"))
    await world.release("demo", targetNamespace=first, **spec)
    await world.until("demo", ready)
    assert await world.live("ConfigMap", "demo", first)
    await world.release("demo", targetNamespace=second, **spec)
    item = await world.until(
        "demo",
        lambda item: ready(item) and item.status.history[0].namespace == second,  # type: ignore[union-attr]
    )
    assert item.status.history[0].version == 1
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "demo", first)
    assert await world.live("ConfigMap", "demo", second)


async def test_a_missing_target_namespace_is_created_where_that_is_asked_for(
    world: World, namespace: str
) -> None:
    await world.push(helmcharts.pack("demo"))
    target = f"{namespace}-new"
    await world.release("demo", targetNamespace=target, install={"createNamespace": True})
    item = await world.until("demo", ready)
    assert item.status.history[0].name == f"{target}-demo"
    assert await world.live("ConfigMap", f"{target}-demo", target)
    await world.delete("demo")
    await world.until("demo", gone)


async def test_suspended_is_left_alone_even_by_a_deletion(world: World, namespace: str) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("demo")
    await world.until("demo", ready)
    await world.suspend("demo")
    await world.delete("demo")
    await world.until("demo", gone)
    assert await world.live("ConfigMap", "demo")
    assert world.history("demo", namespace) == [(1, "deployed")]


async def test_dependencies_come_first_and_wake_their_dependants(world: World) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("web", dependsOn=[{"name": "base"}])
    item = await world.until("web", releaser.unready("DependencyNotReady"))
    assert condition(item, meta.READY)[2].startswith("unable to get '")
    await world.release("base")
    await world.until("web", ready)
    assert world.get("base") is not None


async def test_force_and_reset_count_with_the_request_they_come_with(world: World) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("demo")
    await world.until("demo", ready)
    await world.annotate("demo", requestedAt="1", forceAt="other")
    item = await world.until("demo", lambda each: each.status.last_handled_reconcile_at == "1")  # type: ignore[union-attr]
    assert item.status.history[0].version == 1
    assert item.status.last_handled_force_at == "other"
    await world.annotate("demo", requestedAt="2", forceAt="2")
    item = await world.until("demo", at_revision(2))
    assert (item.status.last_handled_reconcile_at, item.status.last_handled_force_at) == ("2", "2")


def config_map(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\ndata: {{k: v}}\nmetadata:\n  name: {name}\n"


async def test_a_spec_that_changes_in_the_middle_of_a_run_is_released_too(world: World) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("demo", values={"text": "one"})
    await world.until("demo", ready)
    await world.release("demo", values={"text": "two"})
    await world.until_shown("demo", releaser.shows(meta.RECONCILING, "True"))
    await world.release("demo", values={"text": "three"})
    await world.until("demo", ready)
    assert (await world.live("ConfigMap", "demo"))["data"]["text"] == "three"
