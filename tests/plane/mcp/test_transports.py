"""The server over both transports: who is answered, and who goes away in the middle."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import aiohttp
import pytest
from mcp.shared.exceptions import MCPError

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


async def test_client_over_http_without_a_session_is_told_to_name_the_cluster(
    world: World, served: agents.Served
) -> None:
    async with agents.connected(served) as client:
        chosen = await client.call_tool("set_kubeconfig_context", {"name": "home"})
        where = {"kind": "ks", "name": "apps", "namespace": world.namespace}
        unsaid = await client.call_tool("get_tree", where)

    assert chosen.is_error
    assert "no session that could remember it: pass cluster='home'" in text_of(chosen)
    assert text_of(unsaid).startswith("[invalid] say which cluster")


async def test_command_line_leaves_out_what_writes_and_what_is_not_allowed(world: World) -> None:
    async with agents.over_stdio(world.config, "--read-only") as client:
        reading = {each.name for each in (await client.list_tools()).tools}
        refused = await client.call_tool("suspend_flux_reconciliation", {})
    async with agents.over_stdio(world.config, "--tools", "trace, get_tree,") as client:
        allowed = {each.name for each in (await client.list_tools()).tools}

    assert "explain_not_ready" in reading
    assert not {name for name in reading if name.startswith(("reconcile", "apply", "delete"))}
    assert text_of(refused).startswith("[invalid] there is no tool")
    assert allowed == {"trace", "get_tree"}


async def test_prompts_and_documents_come_over_http(served: agents.Served) -> None:
    async with agents.connected(served) as client:
        prompts = {each.name for each in (await client.list_prompts()).prompts}
        given = {"name": "apps", "change": "feature-x"}
        message = (await client.get_prompt("review_change", given)).messages[0]
        page = await client.read_resource("docs://mcp.md")

    assert prompts == {
        "debug_flux_kustomization",
        "debug_flux_helmrelease",
        "debug_cluster",
        "review_change",
        "onboard_repository",
    }
    assert "Review the change feature-x" in message.content.text  # type: ignore[union-attr]
    assert "plan_change" in page.contents[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("docs://nothing.md", "there is no document 'nothing.md'"),
        ("flux://nowhere", "no cluster is named 'nowhere'"),
        ("flux://home/ks", "an object is flux://cluster/kind/namespace/name"),
        ("flux://home/ks/a/b/c", "an object is flux://cluster/kind/namespace/name"),
        ("flux://home/ks/nowhere/apps", "is not there"),
        ("flux://home/ks/%2E%2E/apps", "is no name of anything"),
        ("https://example.com", "is no resource"),
    ],
)
async def test_resource_that_is_none_is_told(world: World, uri: str, message: str) -> None:
    async with agents.inside(world.config) as client:
        with pytest.raises(MCPError, match=re.escape(message)):
            await client.read_resource(uri)
