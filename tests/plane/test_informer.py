"""The typed copy of a kind, on a real API server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import orjson
import pytest

from api import meta
from kube.informer import Informer
from tests.support import api
from tests.support.api import CONFIG_MAPS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devcluster.cluster import Cluster
    from kube.client import Client


class ConfigMap(meta.Struct, frozen=True):
    metadata: meta.ObjectMeta
    data: dict[str, str] = msgspec.field(default_factory=dict)


Change = tuple[ConfigMap | None, ConfigMap | None]


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with api.client(cluster.kubeconfig) as opened:
        yield opened


@asynccontextmanager
async def running(informer: Informer[ConfigMap]) -> AsyncIterator[asyncio.Queue[Change]]:
    """Run an informer and yield its changes from the first list on."""
    changes: asyncio.Queue[Change] = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(informer.run())
        async with asyncio.timeout(api.WAIT_S):
            await informer.synced.wait()
        informer.subscribe(lambda old, new: changes.put_nowait((old, new)))
        yield changes
        task.cancel()


async def following(changes: asyncio.Queue[Change]) -> Change:
    async with asyncio.timeout(api.WAIT_S):
        return await changes.get()


def data(obj: ConfigMap | None) -> dict[str, str] | None:
    return None if obj is None else obj.data


async def test_copy_is_complete_once_it_is_synced(client: Client, namespace: str) -> None:
    for name in "abc":
        await api.put(client, namespace, name, k=name)
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)
    assert informer.get(namespace, "a") is None
    async with running(informer):
        assert data(informer.get(namespace, "b")) == {"k": "b"}
        assert {obj.metadata.name for obj in informer.items()} >= set("abc")
        assert len(informer) == len(list(informer.items()))
        assert informer.error is None


async def test_handlers_get_the_states_before_and_after(client: Client, namespace: str) -> None:
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)
    async with running(informer) as changes:
        await api.put(client, namespace, "a", k="1")
        assert [data(each) for each in await following(changes)] == [None, {"k": "1"}]
        await api.put(client, namespace, "a", k="2")
        assert [data(each) for each in await following(changes)] == [{"k": "1"}, {"k": "2"}]
        await client.delete(CONFIG_MAPS, namespace, "a")
        assert [data(each) for each in await following(changes)] == [{"k": "2"}, None]


async def test_own_write_is_seen_at_once_and_told_once(client: Client, namespace: str) -> None:
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)
    async with running(informer) as changes:
        written = await api.put(client, namespace, "a", k="1")
        assert informer.observe(orjson.dumps(written)).data == {"k": "1"}
        assert data(informer.get(namespace, "a")) == {"k": "1"}
        await api.put(client, namespace, "z", k="after")
        told = [await following(changes), await following(changes)]
        assert [data(new) for _, new in told] == [{"k": "1"}, {"k": "after"}]


async def test_older_state_never_replaces_a_newer_one(client: Client, namespace: str) -> None:
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)
    async with running(informer) as changes:
        old = await api.put(client, namespace, "a", k="1")
        await following(changes)
        await api.put(client, namespace, "a", k="2")
        await following(changes)
        informer.observe(orjson.dumps(old))
        assert data(informer.get(namespace, "a")) == {"k": "2"}
        assert changes.empty()


async def test_late_answer_does_not_revive_what_is_deleted(client: Client, namespace: str) -> None:
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)
    async with running(informer) as changes:
        late = await api.put(client, namespace, "a", k="1")
        await following(changes)
        await client.delete(CONFIG_MAPS, namespace, "a")
        await following(changes)
        informer.observe(orjson.dumps(late))
        assert informer.get(namespace, "a") is None
        again = await api.put(client, namespace, "a", k="2")
        informer.observe(orjson.dumps(again))
        assert data(informer.get(namespace, "a")) == {"k": "2"}


async def test_answer_that_takes_the_last_finalizer_is_the_end_of_an_object(
    client: Client, namespace: str
) -> None:
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)

    async def hold(*finalizers: str) -> bytes:
        body = orjson.dumps({"metadata": {"finalizers": finalizers or None}})
        return await client.patch(CONFIG_MAPS, namespace, "a", body, manager="test")

    await api.put(client, namespace, "a", k="1")
    await hold("example.com/held")
    await client.delete(CONFIG_MAPS, namespace, "a")
    doomed = await client.get_raw(CONFIG_MAPS.path(namespace, "a"))
    informer.observe(doomed)
    assert informer.get(namespace, "a") is not None
    informer.observe(await hold())
    assert informer.get(namespace, "a") is None
    informer.observe(doomed)
    assert informer.get(namespace, "a") is None


async def test_what_vanished_during_an_interruption_is_told(client: Client, namespace: str) -> None:
    for name in "ab":
        await api.put(client, namespace, name)
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)
    async with running(informer):
        pass
    gone: list[str] = []
    informer.subscribe(lambda old, new: gone.append(old.metadata.name) if old and not new else None)
    await client.delete(CONFIG_MAPS, namespace, "a")
    informer.synced.clear()
    async with running(informer):
        assert gone == ["a"]
        assert informer.get(namespace, "b") is not None


async def test_handler_can_leave(client: Client, namespace: str) -> None:
    informer = Informer(client, CONFIG_MAPS, ConfigMap, namespace=namespace)
    called: list[object] = []
    leave = informer.subscribe(lambda old, new: called.append(new))
    leave()
    async with running(informer) as changes:
        await api.put(client, namespace, "a")
        await following(changes)
    assert called == []


async def test_object_that_does_not_decode_is_reported_until_it_is_mended(
    client: Client, namespace: str
) -> None:
    class Strict(meta.Struct, frozen=True):
        metadata: meta.ObjectMeta
        data: dict[str, str]

    await api.put(client, namespace, "a")
    informer = Informer(client, CONFIG_MAPS, Strict, namespace=namespace)
    mended = asyncio.Event()
    informer.subscribe(lambda old, new: mended.set() if new and new.data.get("k") else None)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(informer.run())
        async with asyncio.timeout(api.WAIT_S):
            await informer.synced.wait()
            assert "data" in informer.malformed[namespace, "a"]
            await api.put(client, namespace, "a", k="1")
            await mended.wait()
        assert informer.malformed == {}
        task.cancel()
