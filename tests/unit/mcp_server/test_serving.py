"""The server by the official client, without a cluster: what it offers and how it refuses."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ToolAnnotations

from daemon import settings as daemon_settings
from mcp_server import catalogue, prompts, serving
from mcp_server.audit import Audit
from mcp_server.desk import Desk
from runtime import clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOOLS_OF_THE_OPERATORS_SERVER = {
    "get_flux_instance": [],
    "get_kubernetes_api_versions": [],
    "get_kubernetes_resources": ["apiVersion", "kind", "name", "namespace", "selector", "limit"],
    "get_kubernetes_logs": ["pod_name", "container_name", "pod_namespace", "limit", "previous"],
    "get_kubernetes_metrics": ["pod_namespace", "pod_name", "pod_selector", "limit"],
    "search_flux_docs": ["query", "limit", "format"],
    "get_kubeconfig_contexts": [],
    "set_kubeconfig_context": ["name"],
    "reconcile_flux_source": ["kind", "name", "namespace"],
    "reconcile_flux_kustomization": ["name", "namespace", "with_source"],
    "reconcile_flux_helmrelease": ["name", "namespace", "with_source"],
    "reconcile_flux_resourceset": ["name", "namespace"],
    "suspend_flux_reconciliation": ["apiVersion", "kind", "name", "namespace"],
    "resume_flux_reconciliation": ["apiVersion", "kind", "name", "namespace"],
    "apply_kubernetes_manifest": ["yaml_content", "overwrite"],
    "delete_kubernetes_resource": ["apiVersion", "kind", "name", "namespace"],
    "install_flux_instance": ["instance_url", "timeout"],
}
REQUIRED_THERE = {
    "get_kubernetes_resources": {"apiVersion", "kind"},
    "get_kubernetes_logs": {"pod_name", "container_name", "pod_namespace"},
    "get_kubernetes_metrics": {"pod_namespace"},
    "search_flux_docs": {"query"},
    "apply_kubernetes_manifest": {"yaml_content"},
    "install_flux_instance": {"instance_url"},
}
SETTINGS = """
[daemon]
data_dir = "{folder}/data"
[[clusters]]
name = "home"
kubeconfig = "{folder}/nowhere"
[[clusters]]
name = "work"
kubeconfig = "{folder}/nowhere"
context = "admin@work"
"""


@asynccontextmanager
async def served(folder: Path, **options: Any) -> AsyncIterator[Client]:
    """A client of a server with two clusters that cannot be reached."""
    loaded = daemon_settings.parse(SETTINGS.format(folder=folder), "config.toml")
    audit = Audit(folder / "audit.log", clock.SystemClock())
    offer = serving.Offer(Desk(folder / "config.toml", loaded, audit), catalogue.offered(**options))
    async with Client(offer.server()) as client:
        yield client


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def test_every_tool_of_the_operators_server_is_there_by_its_name(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        tools = {each.name: each for each in (await client.list_tools()).tools}

    for name, arguments in TOOLS_OF_THE_OPERATORS_SERVER.items():
        schema = tools[name].input_schema
        assert {*arguments, "cluster"} <= schema["properties"].keys()
        assert set(schema.get("required", ())) <= REQUIRED_THERE.get(name, {*arguments})


async def test_every_tool_tells_how_it_behaves_and_what_it_returns(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        tools = (await client.list_tools()).tools

    for each in tools:
        assert each.description
        assert each.title
        assert each.annotations
        assert each.annotations.read_only_hint is not None
        for schema in (each.input_schema, each.output_schema):
            assert schema is not None
            assert schema["type"] == "object"
    hints = {each.name: each.annotations or ToolAnnotations() for each in tools}
    writing = {name for name, each in hints.items() if not each.read_only_hint}
    destroying = {name for name, each in hints.items() if each.destructive_hint}
    assert destroying == {"apply_kubernetes_manifest", "delete_kubernetes_resource"}
    assert destroying < writing


async def test_read_only_server_offers_nothing_that_writes(tmp_path: Path) -> None:
    async with served(tmp_path, read_only=True) as client:
        tools = (await client.list_tools()).tools
        refused = await client.call_tool("delete_kubernetes_resource", {})

    assert all(each.annotations and each.annotations.read_only_hint for each in tools)
    assert refused.is_error
    assert "there is no tool" in text_of(refused)


async def test_only_allowed_tools_are_offered(tmp_path: Path) -> None:
    async with served(tmp_path, allowed=["trace", "list_clusters"]) as client:
        assert {each.name for each in (await client.list_tools()).tools} == {
            "trace",
            "list_clusters",
        }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allowed": ["trase"]}, "did you mean trace?"),
        ({"allowed": ["delete_kubernetes_resource"], "read_only": True}, "--read-only forbids"),
    ],
)
def test_wrong_allow_list_is_refused_at_the_start(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        catalogue.offered(**options)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("trace", {"kind": "ks"}, "missing required field `name`"),
        ("trace", {"kind": "ks", "nmae": "a"}, "there is no argument 'nmae', did you mean 'name'?"),
        ("get_kubernetes_logs", {"pod_name": 5}, "get_kubernetes_logs takes [cluster] pod_name"),
        ("get_tree", {"kind": "pods", "name": "a", "cluster": "home"}, "forbidden"),
        ("trace", {"kind": "ks", "name": "a"}, "say which cluster with the argument cluster"),
        ("trace", {"kind": "ks", "name": "a", "cluster": "hom"}, "no cluster is named 'hom'"),
        ("trase", {}, "there is no tool 'trase'; there are: "),
    ],
)
async def test_wrong_call_is_answered_with_what_to_do(
    tmp_path: Path, tool: str, arguments: dict[str, Any], message: str
) -> None:
    async with served(tmp_path) as client:
        result = await client.call_tool(tool, arguments)

    assert result.is_error
    assert message in text_of(result)
    assert text_of(result).startswith("[")


async def test_cluster_that_is_away_is_told_beside_the_others(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        result = await client.call_tool("list_clusters", {})

    found = (result.structured_content or {})["clusters"]
    assert [each["name"] for each in found] == ["home", "work"]
    assert not any(each["isReachable"] for each in found)
    assert "NOT REACHABLE" in text_of(result)


async def test_context_is_chosen_by_either_name_for_this_session_alone(tmp_path: Path) -> None:
    async with served(tmp_path) as one, served(tmp_path) as other:
        chosen = await one.call_tool("set_kubeconfig_context", {"name": "admin@work"})
        seen = [
            (await each.call_tool("get_kubeconfig_contexts", {})).structured_content or {}
            for each in (one, other)
        ]

    assert text_of(chosen) == "Context changed to work"
    current = [[each["current"] for each in found["contexts"]] for found in seen]
    assert current == [[False, True], [False, False]]


async def test_docs_are_searched_by_field_names(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        result = await client.call_tool("search_flux_docs", {"query": "dependsOn", "limit": 3})
        nothing = await client.call_tool("search_flux_docs", {"query": "xylophone"})

    pages = (result.structured_content or {})["pages"]
    assert any(each["url"] == "docs://crd/Kustomization" for each in pages)
    assert nothing.is_error
    assert "No documents found" in text_of(nothing)


async def test_documents_can_be_read_as_resources(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        listed = {str(each.uri) for each in (await client.list_resources()).resources}
        page = await client.read_resource("docs://flux.md")
        templates = (await client.list_resource_templates()).resource_templates
        with pytest.raises(MCPError, match="there is no document"):
            await client.read_resource("docs://nothing.md")

    assert {"flux://home", "flux://work", "docs://flux.md", "docs://crd/Kustomization"} <= listed
    assert "Flux" in page.contents[0].text  # type: ignore[union-attr]
    assert "flux://{cluster}/{kind}/{namespace}/{name}" in {each.uri_template for each in templates}


async def test_prompts_of_the_operators_server_take_the_same_arguments(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        found = {each.name: each for each in (await client.list_prompts()).prompts}
        given = {"name": "apps", "namespace": "flux-system"}
        message = await client.get_prompt("debug_flux_kustomization", given)
        with pytest.raises(MCPError, match="needs the argument 'namespace'"):
            await client.get_prompt("debug_flux_helmrelease", {"name": "web"})

    for name in ("debug_flux_kustomization", "debug_flux_helmrelease"):
        arguments = {each.name: each.required for each in found[name].arguments or ()}
        assert arguments == {"name": True, "namespace": True, "cluster": False}
    assert len(found) == 5
    text = message.messages[0].content.text  # type: ignore[union-attr]
    assert "apps in namespace flux-system on the current cluster" in text


@pytest.mark.parametrize("prompt", prompts.PROMPTS, ids=lambda each: each.name)
def test_prompt_names_only_tools_that_exist(prompt: prompts.Prompt) -> None:
    given = {each.name: "x" for each in prompt.arguments}
    words = {word.strip(".,:;()") for word in prompt.render(given).split()}
    tools = {each.name for each in catalogue.ALL}
    named = {word for word in words if "_" in word}
    assert named <= tools


async def test_write_that_fails_is_noted_with_its_arguments_masked(tmp_path: Path) -> None:
    manifest = "kind: Secret\nstringData: {password: geheim}"
    async with served(tmp_path) as client:
        await client.call_tool(
            "apply_kubernetes_manifest", {"yaml_content": manifest, "cluster": "home"}
        )
        await client.call_tool("list_clusters", {})

    (line,) = (tmp_path / "audit.log").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["tool"], entry["cluster"], entry["outcome"]) == (
        "apply_kubernetes_manifest",
        "home",
        "failed",
    )
    assert "geheim" not in line
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_schemas_are_those_that_calls_are_decoded_by() -> None:
    for each in catalogue.ALL:
        described = serving.described(each)
        fields = {field.encode_name for field in msgspec.structs.fields(each.arguments)}
        assert set(described.input_schema["properties"]) == fields
        assert described.input_schema["additionalProperties"] is False
