"""What an apply knows after a start, and what it asks where it knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from kube import recognise
from kube.apply import ApplyOptions
from kube.changes import Action
from tests.support import engine

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.access import Access


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
    assert engine.actions(changes) == [Action.UNCHANGED] * 2


async def test_cold_start_with_the_baseline_file_sends_nothing(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    objects, file = engine.config_maps(namespace, 50), tmp_path / "state" / "baseline"
    async with engine.running(cluster, file=file) as plant:
        await plant.apply(objects)
    async with engine.running(cluster, file=file) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects, engine.AT_INTERVAL)
        counts = plant.requests()
    assert engine.actions(changes) == [Action.UNCHANGED] * 50
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
    assert engine.actions(changes) == [Action.UNCHANGED] * 50
    assert counts == {}  # one list tells of them all


async def test_cold_start_trusts_the_time_of_an_old_entry_and_reads_nothing(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, recognise.MANY - 1)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await engine.patch(plant, namespace, "cm-0009", {"data": {"key": "edited"}}, by="editor")
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


async def test_edit_made_while_nobody_watched_is_corrected_at_the_start(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    objects, file = engine.config_maps(namespace, 3), tmp_path / "baseline"
    async with engine.running(cluster, file=file) as plant:
        await plant.apply(objects)
    async with engine.running(cluster, file=file) as plant:
        await engine.patch(plant, namespace, "cm-0001", {"data": {"key": "edited"}}, by="editor")
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
    assert engine.actions(changes) == [Action.UNCHANGED] * 10
