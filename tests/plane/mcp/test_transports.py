"""The server over both transports: who is answered, and who goes away in the middle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from tests.support import agents, api
from tests.support.agents import text_of
from tests.support.mcpworld import World, named

if TYPE_CHECKING:
    from mcp.client import Client


async def test_agent_works_over_standard_input(world: World) -> None:
    async with agents.over_stdio(world.config) as client:
        await see_it_work(world, client)


async def test_agent_works_over_http(world: World, served: agents.Served) -> None:
    async with agents.connected(served) as client:
        await see_it_work(world, client)


async def see_it_work(world: World, client: Client) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    clusters = await client.call_tool("list_clusters", {})
    tree = await client.call_tool("get_tree", named(world, "ks", "apps"))
    arguments = named(world, "ks", "apps")
    waited = await client.call_tool("wait_for", arguments, progress_callback=hear)
    page = await client.read_resource(f"flux://home/ks/{world.namespace}/apps")

    found = (clusters.structured_content or {})["clusters"]
    assert [each["isReachable"] for each in found] == [True, False]
    assert f"Deployment/{world.namespace}/web" in text_of(tree)
    assert (waited.structured_content or {})["isMet"]
    assert heard
    assert "kind: Kustomization" in page.contents[0].text  # type: ignore[union-attr]


async def test_nobody_is_answered_over_http_without_the_token(served: agents.Served) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"Accept": "application/json, text/event-stream"}
    known = accept | {"Authorization": f"Bearer {served.token}"}
    asked = {
        "none": accept,
        "wrong": accept | {"Authorization": "Bearer guess"},
        "page": known | {"Origin": "https://evil.example"},
        "rebound": known | {"Host": "evil.example"},
    }
    answers = {}
    async with aiohttp.ClientSession() as session:
        for name, headers in asked.items():
            async with session.post(served.url, json=ping, headers=headers) as answer:
                answers[name] = answer.status

    assert answers == {"none": 401, "wrong": 401, "page": 403, "rebound": 421}


async def test_client_that_goes_away_in_the_middle_of_a_wait_harms_nobody(
    world: World, served: agents.Served
) -> None:
    heard = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        heard.set()

    async def leave() -> None:
        async with agents.connected(served) as client:
            arguments = named(world, "ks", "nothing", timeout="10m")
            await client.call_tool("wait_for", arguments, progress_callback=hear)

    task = asyncio.get_running_loop().create_task(leave())
    async with asyncio.timeout(api.WAIT_S):
        await heard.wait()
    task.cancel()
    await asyncio.wait([task])

    async with agents.connected(served) as client:
        result = await client.call_tool("get_tree", named(world, "ks", "apps"))
    assert not result.is_error
