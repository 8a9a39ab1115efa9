"""Following a collection on a real API server, through everything that interrupts it."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from kube import crds, errors, watch
from kube.objects import GVK, PartialObject, Resource
from runtime.clock import SystemClock
from tests.support import api
from tests.support.api import CONFIG_MAPS, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from devcluster.cluster import Cluster
    from kube.client import Client

METADATA = watch.Selection(metadata_only=True)


class Strict(meta.Struct, frozen=True):
    """A ConfigMap that must have ``data.k``."""

    class Data(meta.Struct, frozen=True):
        k: str

    metadata: meta.ObjectMeta
    data: Data


class Seen:
    """What a watch told so far, and a way to wait for more."""

    def __init__(self) -> None:
        self.changes: list[object] = []
        self._more = asyncio.Condition()

    async def collect(self, changes: AsyncGenerator[object, None]) -> None:
        async with aclosing(changes):
            async for change in changes:
                async with self._more:
                    self.changes.append(change)
                    self._more.notify_all()

    async def until(self, is_there: Callable[[object], bool]) -> object:
        """Return the first change after the last returned one that is wanted."""
        async with asyncio.timeout(api.WAIT_S), self._more:
            while True:
                while self.changes:
                    change = self.changes.pop(0)
                    if is_there(change):
                        return change
                await self._more.wait()


@asynccontextmanager
async def following(
    client: Client,
    namespace: str,
    *,
    type_: type[watch.HasMeta] = PartialObject,
    clock: ManualClock | SystemClock | None = None,
    **selection: object,
) -> AsyncIterator[Seen]:
    """Watch a namespace's ConfigMaps in the background."""
    options = {"metadata_only": type_ is PartialObject} | selection
    seen = Seen()
    changes = watch.watch(
        client,
        CONFIG_MAPS,
        type_,
        watch.Selection(namespace=namespace, **options),  # type: ignore[arg-type]  # options of a test
        clock=clock or SystemClock(),
        rng=random.Random(1),
    )
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(seen.collect(changes))
        yield seen
        task.cancel()


def named(kind: type, name: str) -> Callable[[object], bool]:
    return lambda change: (
        isinstance(change, kind)
        and isinstance(change, watch.Added | watch.Modified | watch.Deleted)
        and change.object.metadata.name == name
    )


def is_a(kind: type) -> Callable[[object], bool]:
    return lambda change: isinstance(change, kind)


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with api.client(cluster.kubeconfig) as opened:
        yield opened


async def test_list_comes_first_in_pages_and_then_the_changes(
    client: Client, namespace: str
) -> None:
    for name in "abcde":
        await api.put(client, namespace, name)
    async with following(client, namespace, page_size=2) as seen:
        synced = await seen.until(is_a(watch.Synced))
        assert isinstance(synced, watch.Synced)
        names = {name for _, name in synced.keys}
        assert names == set("abcde") | (names & {"kube-root-ca.crt"})
        assert client.requests["list", "configmaps"] == (len(names) + 1) // 2
        await seen.until(is_a(watch.Resumed))
        await api.put(client, namespace, "f", k="1")
        added = await seen.until(named(watch.Added, "f"))
        assert isinstance(added, watch.Added)
        assert watch.version(added.object) > synced.resource_version
        await api.put(client, namespace, "f", k="2")
        await seen.until(named(watch.Modified, "f"))
        await client.delete(CONFIG_MAPS, namespace, "f")
        await seen.until(named(watch.Deleted, "f"))


async def test_metadata_watch_carries_managers(client: Client, namespace: str) -> None:
    async with following(client, namespace) as seen:
        await seen.until(is_a(watch.Resumed))
        await api.put(client, namespace, "a", k="1")
        added = await seen.until(named(watch.Added, "a"))
        assert isinstance(added, watch.Added)
        assert added.object.metadata.managed_fields[0].manager == "test"


async def test_lost_label_arrives_as_deleted(client: Client, namespace: str) -> None:
    await api.put(client, namespace, "a")
    label = b'{"metadata":{"labels":{"x":"y"}}}'
    await client.patch(CONFIG_MAPS, namespace, "a", label, manager="m")
    async with following(client, namespace, label_selector="x=y") as seen:
        await seen.until(is_a(watch.Resumed))
        unlabel = b'{"metadata":{"labels":null}}'
        await client.patch(CONFIG_MAPS, namespace, "a", unlabel, manager="m")
        await seen.until(named(watch.Deleted, "a"))


async def test_watch_survives_the_server_s_restart_and_misses_nothing(
    cluster: Cluster, client: Client, namespace: str
) -> None:
    async with following(client, namespace) as seen:
        await seen.until(is_a(watch.Resumed))
        await api.put(client, namespace, "a")
        await seen.until(named(watch.Added, "a"))
        await asyncio.to_thread(cluster.kill_api)
        interrupted = await seen.until(is_a(watch.Interrupted))
        assert isinstance(interrupted, watch.Interrupted)
        assert isinstance(interrupted.error, errors.Unreachable)
        await asyncio.to_thread(cluster.start_api)
        await api.put(client, namespace, "b")
        await seen.until(named(watch.Added, "b"))


async def test_watch_lists_again_when_that_is_due(client: Client, namespace: str) -> None:
    clock = ManualClock()
    async with following(client, namespace, clock=clock, relist_every_s=(1.0, 1.0)) as seen:
        await seen.until(is_a(watch.Resumed))
        before = client.requests["list", "configmaps"]
        clock.move(2)  # the server ends the watch, which was opened for a second, and a list is due
        await seen.until(is_a(watch.Synced))
        assert client.requests["list", "configmaps"] == before + 1


async def test_object_that_does_not_decode_stops_no_other(client: Client, namespace: str) -> None:
    await api.put(client, namespace, "bad")
    await api.put(client, namespace, "good", k="1")
    async with following(client, namespace, type_=Strict) as seen:
        listed = await seen.until(is_a(watch.Listed))
        assert isinstance(listed, watch.Listed)
        assert [item.metadata.name for item in listed.items] == ["good"]
        malformed = await seen.until(is_a(watch.Malformed))
        assert isinstance(malformed, watch.Malformed)
        synced = await seen.until(is_a(watch.Synced))
        assert isinstance(synced, watch.Synced)
        assert (namespace, "bad") in synced.keys
        await seen.until(is_a(watch.Resumed))
        await api.put(client, namespace, "worse")
        worse = await seen.until(is_a(watch.Malformed))
        assert isinstance(worse, watch.Malformed)
        assert (worse.metadata.name, "data" in worse.message) == ("worse", True)
        await api.put(client, namespace, "better", k="2")
        await seen.until(named(watch.Added, "better"))


async def test_watch_without_rights_ends_with_the_reason(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.user("stranger")) as stranger:
        changes = watch.watch(
            stranger,
            CONFIG_MAPS,
            PartialObject,
            watch.Selection(namespace=namespace),
            clock=SystemClock(),
            rng=random.Random(1),
        )
        async with aclosing(changes):
            with pytest.raises(errors.Forbidden):
                await anext(changes)


async def test_watch_of_a_kind_that_is_not_served_ends(client: Client) -> None:
    ships = Resource(GVK("absent.io", "v1", "Ship"), "ships", is_namespaced=True)
    changes = watch.watch(
        client, ships, PartialObject, METADATA, clock=SystemClock(), rng=random.Random(1)
    )
    async with aclosing(changes):
        with pytest.raises(errors.NotFound):
            await anext(changes)


async def test_large_object_passes_whole(client: Client, namespace: str) -> None:
    async with following(client, namespace, type_=Strict) as seen:
        await seen.until(is_a(watch.Resumed))
        text = "x" * 900_000
        body = orjson.dumps(api.config_map(namespace, "big", k=text))
        await client.create(CONFIG_MAPS, namespace, body, manager="m")
        added = await seen.until(named(watch.Added, "big"))
        assert isinstance(added, watch.Added)
        assert added.object.data.k == text


async def test_closing_a_watch_closes_its_connection(client: Client, namespace: str) -> None:
    async with following(client, namespace) as seen:
        await seen.until(is_a(watch.Resumed))
    assert client._transport._watches is not None
    connector = client._transport._watches.connector
    assert connector is not None
    assert not connector._acquired


async def test_definition_kind_is_watched_by_field(client: Client) -> None:
    changes = watch.watch(
        client,
        crds.RESOURCE,
        PartialObject,
        watch.Selection(field_selector="metadata.name=absent", metadata_only=True),
        clock=SystemClock(),
        rng=random.Random(1),
    )
    async with aclosing(changes):
        assert isinstance(await anext(changes), watch.Listed)
        synced = await anext(changes)
        assert isinstance(synced, watch.Synced)
        assert synced.keys == frozenset()
