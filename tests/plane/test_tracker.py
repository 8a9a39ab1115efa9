"""The watches behind the books: what they need, what they survive, what they cost."""

from __future__ import annotations

import asyncio
import tracemalloc
import uuid
from typing import TYPE_CHECKING

import orjson
import pytest

from kube import tracker, watch
from kube.apply import ApplyOptions
from kube.changes import Action
from kube.judgement import DriftKind
from kube.objects import ObjectId
from kube.tracker import CONFIRMATIONS, Mode, Scope
from tests.support import api, engine

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.access import Access
    from devcluster.cluster import Cluster


def cm(namespace: str, name: str) -> ObjectId:
    return ObjectId(namespace, name, "", "ConfigMap")


async def edit(plant: engine.Plant, namespace: str, name: str, value: str = "edited") -> bytes:
    body = orjson.dumps({"data": {"key": value}})
    return await plant.client.patch(engine.CONFIG_MAPS, namespace, name, body, manager="editor")


def user(cluster: Cluster, namespace: str, *, namespaced: bool) -> Path:
    """A user who may watch one namespace, or nothing at all."""
    name = f"u-{uuid.uuid4().hex[:8]}"
    if namespaced:
        verbs = "--verb=get,list,watch"
        cluster.kubectl("create", "role", name, "-n", namespace, verbs, "--resource=configmaps")
        cluster.kubectl(
            "create", "rolebinding", name, "-n", namespace, f"--role={name}", f"--user={name}"
        )
    return cluster.user(name)


async def test_synced_returns_once_the_list_is_in(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 3)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
    async with engine.running(cluster) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        assert plant.tracker.live(cm(namespace, "cm-0001")) is None
        await plant.tracker.synced(engine.OWNER)
        assert plant.tracker.live(cm(namespace, "cm-0001")) is not None


async def test_inventory_that_comes_after_the_list_finds_its_objects(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 4)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
    async with engine.running(cluster) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects[:1]))
        await plant.tracker.synced(engine.OWNER)
        other = engine.OWNER._replace(name="late")
        plant.tracker.set_inventory(other, engine.entries(objects[1:]))
        await plant.tracker.synced(other)
        assert plant.tracker.live(cm(namespace, "cm-0003")) is not None


async def test_kind_that_is_not_served_keeps_nobody_waiting(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        lost = ObjectId(namespace, "x", "gone.example.com", "Lost")
        plant.tracker.set_inventory(engine.OWNER, [(lost, "v1")])
        async with asyncio.timeout(api.WAIT_S):
            await plant.tracker.synced(engine.OWNER)


async def test_watch_ends_when_nobody_needs_it(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        objects = engine.config_maps(namespace, 1)
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        assert len(plant.tracker.modes()) == 1
        plant.tracker.drop_owner(engine.OWNER)
        async with asyncio.timeout(api.WAIT_S):
            while plant.tracker.modes():  # noqa: ASYNC110 - the end of a watch tells nobody
                await asyncio.sleep(0)


async def test_kind_that_is_claimed_while_its_watch_ends_is_watched_anew(
    cluster: Access, namespace: str
) -> None:
    """Between any two steps of the end of a watch somebody may want it back."""
    async with engine.running(cluster) as plant:
        objects = engine.config_maps(namespace, 1)
        for turns in range(6):
            await plant.apply(objects)
            await plant.tracker.synced(engine.OWNER)
            plant.tracker.drop_owner(engine.OWNER)
            for _ in range(turns):
                await asyncio.sleep(0)
            plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
            await plant.apply(objects)
            await edit(plant, namespace, "cm-0000", f"edited after {turns} turns")
            assert (await plant.next_drift()).drift.kind is DriftKind.EDITED


async def test_user_without_the_right_to_watch_the_cluster_watches_namespaces(
    cluster: Cluster, namespace: str
) -> None:
    kubeconfig = user(cluster, namespace, namespaced=True)
    objects = engine.config_maps(namespace, 2)
    async with engine.running(cluster, kubeconfig=kubeconfig) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        assert plant.tracker.mode(cm(namespace, "cm-0000")) is Mode.NAMESPACE
        await edit(plant, namespace, "cm-0000")
        assert (await plant.next_drift()).drift.kind is DriftKind.EDITED


async def test_objects_that_nobody_may_watch_are_asked_about_at_the_interval(
    cluster: Cluster, namespace: str
) -> None:
    kubeconfig = user(cluster, namespace, namespaced=False)
    objects = engine.config_maps(namespace, 2)
    async with engine.running(cluster, kubeconfig=kubeconfig) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        assert plant.tracker.mode(cm(namespace, "cm-0000")) is Mode.POLL
        await edit(plant, namespace, "cm-0000")
        assert {change.action for change in await plant.apply(objects)} == {Action.UNCHANGED}
        changes = await plant.apply(objects, ApplyOptions(at_interval=True))
        assert changes.lines() == f"ConfigMap/{namespace}/cm-0000 configured"


@pytest.mark.parametrize("given", ["rolebinding", "clusterrolebinding"])
async def test_right_to_watch_that_is_given_later_is_made_use_of(
    cluster: Cluster, namespace: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "FORBIDDEN_S", (0.1, 0.2))
    name = f"u-{uuid.uuid4().hex[:8]}"
    kubeconfig = await asyncio.to_thread(cluster.user, name)
    objects = engine.config_maps(namespace, 2)
    async with engine.running(cluster, kubeconfig=kubeconfig) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        assert plant.tracker.mode(cm(namespace, "cm-0000")) is Mode.POLL
        await edit(plant, namespace, "cm-0000")
        where = ("-n", namespace) if given == "rolebinding" else ()
        arguments = (given, name, "--clusterrole=cluster-admin", f"--user={name}")
        await asyncio.to_thread(cluster.kubectl, "create", *arguments, *where)
        assert (await plant.next_drift()).drift.kind is DriftKind.EDITED
        wanted = Mode.NAMESPACE if where else Mode.WATCH
        async with asyncio.timeout(api.WAIT_S):  # that of the namespace may be tried first
            while plant.tracker.mode(cm(namespace, "cm-0000")) is not wanted:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
        await plant.apply(objects)
        await edit(plant, namespace, "cm-0001")
        assert (await plant.next_drift()).drift.kind is DriftKind.EDITED
        if not where:
            await asyncio.to_thread(cluster.kubectl, "delete", given, name)


async def test_deletion_of_everything_while_nobody_watched_is_found_by_the_list(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    objects, file = engine.config_maps(namespace, 3), tmp_path / "baseline"
    async with engine.running(cluster, file=file) as plant:
        await plant.apply(objects)
        await plant.client.delete(engine.CONFIG_MAPS, namespace, "cm-0001")
    async with engine.running(cluster, file=file) as plant:
        plant.tracker.set_inventory(engine.OWNER, engine.entries(objects))
        await plant.tracker.synced(engine.OWNER)
        changes = await plant.apply(objects)
    assert changes.lines() == f"ConfigMap/{namespace}/cm-0001 created"


async def test_baseline_file_that_cannot_be_written_is_written_once_it_can(
    cluster: Access, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "SAVE_DELAY_S", 0.0)
    folder = tmp_path / "state"
    folder.write_text("in the way of a folder")
    async with engine.running(cluster, file=folder / "baseline") as plant:
        await plant.apply(engine.config_maps(namespace, 1))
        async with asyncio.timeout(api.WAIT_S):
            while plant.tracker.changed.is_set():  # noqa: ASYNC110 - until the first try
                await asyncio.sleep(0)
            await asyncio.to_thread(folder.unlink)
            while not await asyncio.to_thread((folder / "baseline").exists):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0)


async def test_baseline_file_of_a_damaged_disk_is_the_same_as_none(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    objects, file = engine.config_maps(namespace, 3), tmp_path / "baseline"
    file.write_bytes(b"gitopsd-baseline\0\2" + b"x" * 100)
    async with engine.running(cluster, file=file) as plant:
        changes = await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
    assert {change.action for change in changes} == {Action.CREATED}
    assert len(file.read_bytes()) > 3 * 48


async def test_health_wait_hears_of_a_status_change(cluster: Access, namespace: str) -> None:
    async with engine.running(cluster) as plant:
        objects = engine.config_maps(namespace, 2)
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        waited = cm(namespace, "cm-0001")
        async with asyncio.TaskGroup() as tasks:
            changed = tasks.create_task(plant.tracker.wait_change([waited]))
            await asyncio.sleep(0)
            await edit(plant, namespace, "cm-0000")
            await edit(plant, namespace, "cm-0001")
        assert changed.result() == {waited}


async def test_relist_finds_what_the_watch_missed(cluster: Access, namespace: str) -> None:
    """A watch that tells nothing, as behind a proxy that swallows events, is mended by the list."""
    async with engine.running(cluster) as plant:
        objects = engine.config_maps(namespace, 2)
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
        gone = watch.Synced(2**62, frozenset({(namespace, "cm-0000")}))
        await plant.client.delete(engine.CONFIG_MAPS, namespace, "cm-0001")
        plant.tracker._take(*_scope(plant), gone)
        assert (await plant.next_drift()).drift.kind is DriftKind.DELETED


def _scope(plant: engine.Plant) -> tuple[Scope, str]:
    (scope,) = plant.tracker.modes()
    return scope, ""


async def test_objects_that_may_not_be_read_keep_no_other_from_being_looked_at(
    cluster: Cluster, namespace: str
) -> None:
    name = f"u-{uuid.uuid4().hex[:8]}"
    cluster.kubectl(
        *("create", "clusterrole", name, "--verb=list,watch", "--resource=configmaps,secrets")
    )
    cluster.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--user={name}")
    rights = ("create", "role", name, "-n", namespace, "--verb=get", "--resource=secrets")
    cluster.kubectl(*rights)
    cluster.kubectl(
        *("create", "rolebinding", name, "-n", namespace, f"--role={name}", f"--user={name}")
    )
    secret = {"apiVersion": "v1", "kind": "Secret"} | {
        "metadata": {"name": "z", "namespace": namespace}
    }
    unread = engine.config_maps(namespace, CONFIRMATIONS)
    async with engine.running(cluster, kubeconfig=cluster.user(name)) as plant:
        await plant.apply([*unread, secret])
        await plant.tracker.synced(engine.OWNER)
        with plant.tracker.processing(engine.OWNER):
            for each in (*unread, secret):
                obj, live = ObjectId.of(each), plant.tracker.live(ObjectId.of(each))
                assert live
                cluster.kubectl("delete", obj.kind.lower(), obj.name, "-n", namespace)
                plant.tracker.suspect(obj, live.resource_version)
        assert (await plant.next_drift()).id == ObjectId.of(secret)


async def test_what_is_remembered_of_an_object_is_less_than_a_kilobyte(
    cluster: Access, namespace: str
) -> None:
    number = 1000
    objects = engine.config_maps(namespace, number)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await plant.tracker.synced(engine.OWNER)
    async with engine.running(cluster) as plant:
        inventory = engine.entries(objects)
        tracemalloc.start()
        plant.tracker.set_inventory(engine.OWNER, inventory)
        await plant.tracker.synced(engine.OWNER)
        used = sum(
            trace.size
            for trace in tracemalloc.take_snapshot()
            .filter_traces(
                [
                    tracemalloc.Filter(True, "*/kube/ledger.py"),
                    tracemalloc.Filter(True, "*/kube/ownership.py"),
                ]
            )
            .statistics("filename")
        )
        tracemalloc.stop()
    assert used / number < 1024
