"""Deletion by inventory against a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from api.meta import ObjectRef
from kube import errors
from kube import prune as pruning
from kube.changes import Action, ChangeSet
from kube.prune import PruneError
from tests.support import engine

if TYPE_CHECKING:
    from devcluster.access import Access
    from kube.objects import JsonObject


def actions(changes: ChangeSet) -> list[Action]:
    return [change.action for change in changes]


async def exists(plant: engine.Plant, namespace: str, name: str) -> bool:
    try:
        await plant.client.metadata(engine.CONFIG_MAPS, namespace, name)
    except errors.NotFound:
        return False
    return True


async def relabel(plant: engine.Plant, namespace: str, name: str, metadata: JsonObject) -> None:
    body = orjson.dumps({"metadata": metadata})
    await plant.client.patch(engine.CONFIG_MAPS, namespace, name, body, manager="editor")


async def test_prune_deletes_in_reverse_order_and_costs_two_requests_an_object(
    cluster: Access, namespace: str
) -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "sa", "namespace": namespace},
    }
    objects = [account, *engine.config_maps(namespace, 3)]
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        plant.requests()
        changes = await plant.prune(objects)
        assert plant.requests() == {"get": 4, "delete": 4}
    assert changes.lines(everything=True).splitlines() == [
        f"ConfigMap/{namespace}/cm-0002 deleted",
        f"ConfigMap/{namespace}/cm-0001 deleted",
        f"ConfigMap/{namespace}/cm-0000 deleted",
        f"ServiceAccount/{namespace}/sa deleted",
    ]


async def test_prune_counts_what_is_gone_already_as_deleted(
    cluster: Access, namespace: str
) -> None:
    objects = engine.config_maps(namespace, 1)
    async with engine.running(cluster) as plant:
        assert actions(await plant.prune(objects)) == [Action.DELETED]


async def test_prune_counts_a_kind_that_is_gone_as_deleted(cluster: Access, namespace: str) -> None:
    lost = {
        "apiVersion": "gone.example.com/v1",
        "kind": "Lost",
        "metadata": {"name": "x", "namespace": namespace},
    }
    async with engine.running(cluster) as plant:
        assert actions(await plant.prune([lost])) == [Action.DELETED]


async def test_prune_keeps_object_that_names_another_owner(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 1)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await relabel(plant, namespace, "cm-0000", {"labels": {meta.OWNER_NAME: "other"}})
        assert actions(await plant.prune(objects)) == [Action.SKIPPED]
        assert await exists(plant, namespace, "cm-0000")


@pytest.mark.parametrize(
    ("key", "value"),
    [(meta.PRUNE, "disabled"), (meta.RECONCILE, "disabled"), (meta.SSA, "Ignore")],
)
async def test_prune_keeps_object_that_forbids_it(
    cluster: Access, namespace: str, key: str, value: str
) -> None:
    objects = engine.config_maps(namespace, 1)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await relabel(plant, namespace, "cm-0000", {"annotations": {key: value}})
        assert actions(await plant.prune(objects)) == [Action.SKIPPED]
        assert await exists(plant, namespace, "cm-0000")


async def test_prune_hands_over_object_that_another_inventory_still_names(
    cluster: Access, namespace: str
) -> None:
    other = ObjectRef("test", "Kustomization", "flux-system", "other")
    objects = engine.config_maps(namespace, 1)
    async with engine.running(cluster) as plant:
        await plant.apply(objects, owner=other)
        await plant.apply(objects)
        changes = await plant.prune(objects)
        assert actions(changes) == [Action.SKIPPED]
        assert changes.handed_over == [(engine.id_of(objects[0]), other)]
        plant.tracker.drop_owner(engine.OWNER)
        after = await plant.apply(objects, owner=other)
        assert actions(after) == [Action.CONFIGURED]
        live = await plant.client.get(engine.CONFIG_MAPS, namespace, "cm-0000")
        assert live["metadata"]["labels"][meta.OWNER_NAME] == "other"


async def test_prune_does_not_wait_for_finalizers(cluster: Access, namespace: str) -> None:
    objects = engine.config_maps(namespace, 1)
    async with engine.running(cluster) as plant:
        await plant.apply(objects)
        await relabel(plant, namespace, "cm-0000", {"finalizers": ["example.com/hold"]})
        assert actions(await plant.prune(objects)) == [Action.DELETED]
        assert await exists(plant, namespace, "cm-0000")
        await relabel(plant, namespace, "cm-0000", {"finalizers": None})


async def test_prune_tells_every_failure_and_deletes_the_rest(
    cluster: Access, namespace: str
) -> None:
    """A user who may delete in one namespace alone."""
    elsewhere = f"{namespace}-x"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere}}
    here, there = engine.config_maps(namespace, 1)[0], engine.config_maps(elsewhere, 1)[0]
    cluster.kubectl("create", "role", "all", "-n", namespace, "--verb=*", "--resource=configmaps")
    cluster.kubectl(
        "create", "rolebinding", "all", "-n", namespace, "--role=all", f"--user=u-{namespace}"
    )
    async with engine.running(cluster) as plant:
        await plant.apply([space, here, there])
        limited = plant.client.impersonating(f"u-{namespace}")
        entries = engine.entries([here, there])
        with pytest.raises(PruneError) as caught:
            await pruning.prune(limited, plant.discovery, plant.tracker, engine.OWNER, entries)
        assert not await exists(plant, namespace, "cm-0000")
        assert await exists(plant, elsewhere, "cm-0000")
        await plant.prune([space])
    assert caught.value.reason == meta.PRUNE_FAILED
    assert caught.value.message.startswith(
        f"delete failed, errors: ConfigMap/{elsewhere}/cm-0000 query failed: configmaps"
    )
    assert caught.value.message.endswith(";")
    assert {str(change) for change in caught.value.changes} == {
        f"ConfigMap/{elsewhere}/cm-0000 unknown",
        f"ConfigMap/{namespace}/cm-0000 deleted",
    }


async def test_prune_finds_an_object_in_a_version_that_is_still_served(
    cluster: Access, namespace: str
) -> None:
    async with engine.running(cluster) as plant:
        objects = engine.config_maps(namespace, 1)
        await plant.apply(objects)
        obj = engine.id_of(objects[0])
        with plant.tracker.processing(engine.OWNER):
            changes = await pruning.prune(
                plant.client, plant.discovery, plant.tracker, engine.OWNER, [(obj, "v0alpha1")]
            )
        assert actions(changes) == [Action.DELETED]
        assert not await exists(plant, namespace, "cm-0000")
