"""What a connection lent to a program passes on, on a real API server."""

from __future__ import annotations

import asyncio
import base64
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from kube import references
from kube.helm import relay
from kube.helm.relay import Move
from tests.support import api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.cluster import Cluster
    from kube.client import Client

SECRETS = references.RESOURCES[references.SECRET]


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with api.client(cluster.kubeconfig) as opened:
        yield opened


@asynccontextmanager
async def lent(client: Client, move: Move) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Lend a connection to this test; yields a session and the server's address."""
    async with relay.lending(client, move) as server, aiohttp.ClientSession() as session:
        yield session, server


async def ask(client: Client, move: Move, path: str) -> tuple[int, str]:
    """Return how a lent connection answers."""
    async with lent(client, move) as (session, server):
        answer = await session.get(server + path)
        return answer.status, await answer.text()


def secret(name: str, type_: str) -> dict[str, Any]:
    data = {"release": base64.b64encode(b"x").decode()}
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "data": data}


async def test_a_watch_is_passed_on_as_it_happens(client: Client, namespace: str) -> None:
    async with lent(client, Move(namespace, namespace)) as (session, server):
        path = f"{server}/api/v1/namespaces/{namespace}/configmaps"
        async with session.get(path, params={"watch": "true"}) as answer:
            assert answer.status == 200
            await api.put(client, namespace, "made-meanwhile", a="1")
            async with asyncio.timeout(api.WAIT_S):
                while True:
                    event = orjson.loads(await answer.content.readline())
                    if event["object"]["metadata"]["name"] == "made-meanwhile":
                        break
            assert event["type"] == "ADDED"


async def test_a_refusal_is_passed_on_as_it_is(client: Client, namespace: str) -> None:
    user = f"system:serviceaccount:{namespace}:nobody"
    path = f"/api/v1/namespaces/{namespace}/configmaps/none"
    status, told = await ask(client, Move(namespace, namespace), path)
    assert (status, orjson.loads(told)["reason"]) == (404, "NotFound")
    status, told = await ask(client.impersonating(user), Move(namespace, namespace), path)
    assert status == 403
    assert user in orjson.loads(told)["message"]


async def test_records_are_written_where_they_are_kept(client: Client, namespace: str) -> None:
    async with lent(client, Move("default", namespace)) as (session, server):
        path = f"{server}/api/v1/namespaces/default/secrets"
        name = "sh.helm.release.v1.moved.v1"
        async with session.post(path, json=secret(name, "helm.sh/release.v1")) as answer:
            assert answer.status == 201, await answer.text()
        async with session.get(f"{path}/{name}") as answer:
            assert (await answer.json())["metadata"]["namespace"] == namespace
        found = await client.get(SECRETS, namespace, name)
        assert found["type"] == "helm.sh/release.v1"
        async with session.delete(f"{path}/{name}") as answer:
            assert answer.status == 200


async def test_a_body_of_two_mebibytes_gets_through(client: Client, namespace: str) -> None:
    large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    async with lent(client, Move(namespace, namespace)) as (session, server):
        path = f"{server}/api/v1/namespaces/{namespace}/configmaps"
        body = io.BytesIO(orjson.dumps(large | {"data": {"a": "x" * 2 * 1024 * 1024}}))
        kind = {"Content-Type": "application/json"}
        async with session.post(path, data=body, headers=kind) as answer:
            assert answer.status == 422  # the API server has seen it, and finds it too long
            assert "Too long" in (await answer.json())["message"]


async def test_a_server_that_is_away_is_a_bad_gateway(tmp_path: Path) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c"}}
    config = {"clusters": [cluster], "contexts": [context], "current-context": "c"}
    file = tmp_path / "kubeconfig"
    await asyncio.to_thread(file.write_bytes, orjson.dumps(config))
    async with api.client(file) as client:
        status, told = await ask(client, Move("a", "a"), "/version")
    assert status == 502
    assert "cannot connect to http://127.0.0.1:1" in told
