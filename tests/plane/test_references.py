"""Watches of referenced ConfigMaps and Secrets: whom they wake, and when there are any."""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from api.meta import ObjectRef
from kube import references
from kube.objects import ObjectId
from kube.references import References
from runtime.clock import SystemClock
from runtime.metrics import Metrics
from tests.support import api, engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from devcluster.cluster import Cluster
    from kube.client import Client
    from kube.references import Version

APPS = ObjectRef("test", "Kustomization", "ns", "apps")
INFRA = ObjectRef("test", "Kustomization", "ns", "infra")


@dataclass
class Plant:
    """References that run, and what they did."""

    client: Client
    references: References
    wakes: list[tuple[ObjectRef, str]] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self, owner: ObjectRef, cause: str) -> None:
        self.wakes.append((owner, cause))
        self.happened.set()

    async def until_woken(self, *owners: ObjectRef) -> None:
        await self.until(lambda: {owner for owner, _ in self.wakes} >= set(owners))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(api.WAIT_S):
            while not is_so():  # noqa: ASYNC110 - what is asked is state, which sets no event
                await asyncio.sleep(0.01)

    async def put(
        self, target: ObjectId, value: str, labels: dict[str, str] | None = None
    ) -> Version:
        """Write a ConfigMap and return its version."""
        body = {
            "apiVersion": "v1",
            "kind": target.kind,
            "metadata": {"name": target.name, "labels": labels or {}},
            "data": {"v": value},
        }
        resource = references.RESOURCES[target.kind]
        applied = await self.client.apply(
            resource, orjson.dumps(body), target.namespace, target.name, manager="test"
        )
        written = orjson.loads(applied.raw)["metadata"]
        return (written["uid"], written["resourceVersion"])

    async def synced(self, *owners: ObjectRef) -> None:
        await self.until(lambda: all(self.references.is_complete(each) for each in owners))


@asynccontextmanager
async def running(
    cluster: Cluster, kubeconfig: Path | None = None, *, is_labelled_only: bool = False
) -> AsyncIterator[Plant]:
    async with engine.connected(cluster, kubeconfig) as client:
        made = References(
            client,
            clock=SystemClock(),
            rng=random.Random(7),
            metrics=Metrics(),
            is_labelled_only=is_labelled_only,
        )
        plant = Plant(client, made)
        made.wake = plant.wake
        task = asyncio.create_task(made.run())
        try:
            yield plant
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
async def plant(cluster: Cluster) -> AsyncIterator[Plant]:
    async with running(cluster) as made:
        yield made


def cm(namespace: str, name: str = "vars") -> ObjectId:
    return ObjectId(namespace, name, "", "ConfigMap")


async def test_change_wakes_everybody_who_refers_to_it_and_nobody_else(
    plant: Plant, namespace: str
) -> None:
    other = ObjectRef("test", "Kustomization", "ns", "other")
    plant.references.refer(APPS, [cm(namespace)])
    plant.references.refer(INFRA, [cm(namespace), cm(namespace, "more")])
    plant.references.refer(other, [cm(namespace, "more")])
    await plant.synced(APPS, INFRA, other)
    await plant.put(cm(namespace), "1")
    await plant.until_woken(APPS, INFRA)
    assert set(plant.wakes) == {
        (APPS, f"ConfigMap/{namespace}/vars"),
        (INFRA, f"ConfigMap/{namespace}/vars"),
    }


async def test_version_that_was_read_wakes_nobody(plant: Plant, namespace: str) -> None:
    version = await plant.put(cm(namespace), "1")
    plant.references.refer(APPS, [cm(namespace)])
    plant.references.note(APPS, cm(namespace), version)
    plant.references.refer(INFRA, [cm(namespace)])
    await plant.synced(APPS)
    assert plant.references.news(APPS) is None
    await plant.put(cm(namespace), "2")
    await plant.until_woken(APPS, INFRA)
    assert plant.references.news(APPS) == cm(namespace)
    assert len(plant.wakes) == 2


async def test_change_between_a_read_and_the_first_list_is_not_missed(
    plant: Plant, namespace: str
) -> None:
    version = await plant.put(cm(namespace), "1")
    await plant.put(cm(namespace), "2")
    plant.references.refer(APPS, [cm(namespace), cm(namespace, "gone")])
    plant.references.note(APPS, cm(namespace), version)
    await plant.until_woken(APPS)


async def test_reading_an_old_version_wakes_at_once(plant: Plant, namespace: str) -> None:
    old = await plant.put(cm(namespace), "1")
    await plant.put(cm(namespace), "2")
    plant.references.refer(APPS, [cm(namespace)])
    await plant.synced(APPS)
    plant.references.note(APPS, cm(namespace), old)
    assert plant.wakes == [(APPS, f"ConfigMap/{namespace}/vars")]


async def test_reading_something_newer_than_the_watch_knows_is_no_news(
    plant: Plant, namespace: str
) -> None:
    uid, version = await plant.put(cm(namespace), "1")
    plant.references.refer(APPS, [cm(namespace)])
    await plant.synced(APPS)
    plant.references.note(APPS, cm(namespace), (uid, str(int(version) + 1)))
    assert plant.references.news(APPS) is None
    assert not plant.wakes


async def test_creation_and_deletion_of_what_was_missing_wake(plant: Plant, namespace: str) -> None:
    plant.references.refer(APPS, [cm(namespace)])
    plant.references.note(APPS, cm(namespace), references.ABSENT)
    await plant.synced(APPS)
    assert not plant.wakes
    version = await plant.put(cm(namespace), "1")
    await plant.until_woken(APPS)
    plant.references.note(APPS, cm(namespace), version)
    plant.wakes.clear()
    resource = references.RESOURCES["ConfigMap"]
    await plant.client.delete(resource, namespace, "vars")
    await plant.until_woken(APPS)
    assert plant.references.news(APPS) == cm(namespace)


async def test_one_watch_per_namespace_and_kind_for_as_long_as_it_is_needed(
    plant: Plant, namespace: str
) -> None:
    secret = ObjectId(namespace, "token", "", "Secret")
    plant.references.refer(APPS, [cm(namespace), cm(namespace, "b"), secret])
    plant.references.refer(INFRA, [cm(namespace)])
    await plant.synced(APPS, INFRA)
    assert sum(n for (verb, _), n in plant.client.requests.items() if verb == "list") == 2
    plant.references.drop(APPS)
    plant.references.refer(INFRA, ())
    plant.references.refer(APPS, [secret])
    await plant.synced(APPS)
    await plant.until(lambda: not plant.references.seen(INFRA))
    await plant.put(cm(namespace), "1")
    await plant.put(secret, "MQ==")
    await plant.until_woken(APPS)
    assert {cause for _, cause in plant.wakes} == {f"Secret/{namespace}/token"}


async def test_with_the_label_alone_nothing_else_counts(cluster: Cluster, namespace: str) -> None:
    async with running(cluster, is_labelled_only=True) as plant:
        plant.references.refer(APPS, [cm(namespace)])
        plant.references.refer(INFRA, [cm(namespace, "labelled")])
        label = {meta.WATCH_LABEL: "Enabled"}
        read = await plant.put(cm(namespace), "1")
        plant.references.note(APPS, cm(namespace), read)
        await plant.put(cm(namespace, "labelled"), "1", label)
        await plant.synced(INFRA)
        assert not plant.references.is_complete(APPS)
        assert plant.references.news(APPS) is None
        await plant.put(cm(namespace), "2")
        plant.wakes.clear()
        await plant.put(cm(namespace, "labelled"), "2", label)
        await plant.until_woken(INFRA)
        await plant.put(cm(namespace, "labelled"), "2")
        await plant.until(lambda: not plant.references.is_complete(INFRA))
        assert {owner for owner, _ in plant.wakes} == {INFRA}


async def test_where_watching_is_forbidden_nothing_counts_as_known(
    cluster: Cluster, namespace: str
) -> None:
    user = cluster.user(f"u-{uuid.uuid4().hex[:8]}")
    async with running(cluster, user) as plant:
        plant.references.refer(APPS, [cm(namespace)])
        await plant.until(lambda: plant.client.requests.total() > 0)
        assert not plant.references.is_complete(APPS)
        assert plant.references.news(APPS) is None


async def test_owner_without_references_needs_nothing(plant: Plant) -> None:
    assert plant.references.is_complete(APPS)
    assert plant.references.seen(APPS) == ()
