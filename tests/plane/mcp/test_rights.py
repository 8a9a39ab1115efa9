"""What agents are told whose user may do little, and of clusters that do not answer."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import agents
from tests.support.agents import text_of
from tests.support.mcpworld import call, named, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.mcpworld import World

pytestmark = pytest.mark.blocking("a plan is built in this process, by the daemon's own code")
READER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "mcp-kustomizations-alone"},
    "rules": [
        {
            "apiGroups": ["kustomize.toolkit.fluxcd.io"],
            "resources": ["kustomizations"],
            "verbs": ["get", "list"],
        }
    ],
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "mcp-kustomizations-alone"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "mcp-kustomizations-alone",
    },
    "subjects": [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mcp-some"},
    ],
}
KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"


@pytest.fixture(scope="module")
def nobody(world: World) -> World:
    """The world as a user who may do nothing."""
    return world.configured("nobody", home=world.cluster.user("mcp-nobody"))


@pytest.fixture(scope="module")
def some(world: World) -> World:
    """The world as a user who may read Kustomizations and nothing else."""
    for each in (READER, BINDING):
        world.cluster.kubectl("apply", "-f", "-", input=json.dumps(each))
    return world.configured("some", home=world.cluster.user("mcp-some"))


def kubeconfig(folder: Path, name: str, server: str) -> Path:
    """A kubeconfig of a server that nobody may ask, or that is not there."""
    file = folder / name
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file.write_text(json.dumps(content))
    return file


@contextmanager
def closed_port() -> Iterator[str]:
    """The address of a port that nobody listens at, and nobody else gets meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


# No rights --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_kubernetes_api_versions", {}),
        ("get_kubernetes_resources", {"apiVersion": KUSTOMIZE, "kind": "Kustomization"}),
        ("get_kubernetes_resources", {"apiVersion": "v1", "kind": "Secret", "name": "db"}),
        ("get_events", {}),
        ("get_tree", {"kind": "ks", "name": "apps"}),
        ("trace", {"kind": "ks", "name": "apps"}),
        ("explain_not_ready", {"kind": "ks", "name": "sick"}),
        ("rollback_hint", {"name": "apps"}),
        ("wait_for", {"kind": "ks", "name": "apps", "timeout": "20s"}),
        ("plan_change", {"name": "apps"}),
        ("reconcile_flux_kustomization", {"name": "apps"}),
        ("reconcile_flux_source", {"kind": "GitRepository", "name": "fleet"}),
        ("reconcile_flux_helmrelease", {"name": "web"}),
        (
            "suspend_flux_reconciliation",
            {"apiVersion": KUSTOMIZE, "kind": "Kustomization", "name": "apps"},
        ),
        (
            "resume_flux_reconciliation",
            {"apiVersion": KUSTOMIZE, "kind": "Kustomization", "name": "apps"},
        ),
        ("delete_kubernetes_resource", {"apiVersion": "v1", "kind": "ConfigMap", "name": "a"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_tool_tells_what_the_user_may_not_do(
    nobody: World, tool: str, arguments: dict[str, Any]
) -> None:
    everywhere = {"get_kubernetes_api_versions"}
    where = {} if tool in everywhere else {"namespace": nobody.namespace}

    text = await refused(nobody, tool, **arguments, **where)

    assert "mcp-nobody" in text, text
    assert re.search(r"cannot (get|list|patch|delete|watch|create)", text), text


async def test_manifest_of_a_user_without_rights_changes_nothing(nobody: World) -> None:
    manifest = (
        f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: z, namespace: {nobody.namespace}}}\n"
    )

    text = await refused(nobody, "apply_kubernetes_manifest", yaml_content=manifest)

    assert text.startswith("[forbidden]")
    assert "mcp-nobody" in text


async def test_cluster_of_a_user_without_rights_is_reachable_and_empty(nobody: World) -> None:
    text, found = await call(nobody, "list_clusters")

    (line,) = found["clusters"]
    assert line["isReachable"]
    assert "states" not in line
    assert "nothing that may be seen; cannot be listed: FluxInstance" in text
    assert "mcp-nobody" in line["unread"]["Kustomization"]


async def test_kinds_that_may_not_be_listed_are_noted_beside_the_answer(some: World) -> None:
    text, found = await call(some, "get_tree", **named(some, "ks", "apps"))

    assert f"Deployment/{some.namespace}/web" in text
    assert found["children"]
    assert "GitRepository cannot be listed in home: " in text


async def test_object_is_shown_without_what_may_not_be_read_besides(some: World) -> None:
    _, found = await call(
        some,
        "get_kubernetes_resources",
        apiVersion=KUSTOMIZE,
        kind="Kustomization",
        name="apps",
        namespace=some.namespace,
    )

    (item,) = found["items"]
    assert item["status"]["conditions"]
    assert not item["status"].keys() & {"source", "events"}


async def test_source_that_may_not_be_read_is_not_said_to_be_missing(some: World) -> None:
    _, found = await call(some, "explain_not_ready", **named(some, "ks", "infra"))

    assert found["isReady"]


async def test_refused_write_is_noted_as_failed(some: World) -> None:
    arguments = {"cluster": "home", "name": "apps", "namespace": some.namespace}
    async with agents.over_stdio(some.config) as client:
        result = await client.call_tool("reconcile_flux_kustomization", arguments)

    assert text_of(result).startswith("[forbidden]")
    log = some.config.parent / "data" / "mcp-audit.log"
    line = json.loads((await asyncio.to_thread(log.read_text)).splitlines()[-1])
    assert (line["tool"], line["cluster"], line["outcome"]) == (
        "reconcile_flux_kustomization",
        "home",
        "failed",
    )
    assert line["result"].startswith("[forbidden]")


# Clusters that do not answer --------------------------------------------------------------------


async def test_one_cluster_of_three_answers_and_the_others_are_told(
    world: World, tmp_path: Path
) -> None:
    with closed_port() as server:
        three = world.configured(
            "three",
            home=world.cluster.kubeconfig,
            closed=kubeconfig(tmp_path, "closed", server),
            missing=tmp_path / "nowhere",
        )
        async with agents.inside(three.config) as client:
            clusters = await client.call_tool("list_clusters", {})
            asked = {
                name: await client.call_tool("trace", named(world, "ks", "apps", cluster=name))
                for name in ("home", "closed", "missing")
            }

    found = (clusters.structured_content or {})["clusters"]
    assert [(each["name"], each["isReachable"]) for each in found] == [
        ("home", True),
        ("closed", False),
        ("missing", False),
    ]
    assert text_of(clusters).count("NOT REACHABLE") == 2
    assert not asked["home"].is_error
    assert text_of(asked["closed"]).startswith("[unreachable] ")
    assert "list_clusters tells which clusters answer" in text_of(asked["closed"])
    assert "nowhere" in text_of(asked["missing"])


async def test_credentials_that_are_not_accepted_are_told(world: World, tmp_path: Path) -> None:
    server = json.loads(world.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    file = kubeconfig(tmp_path, "stranger", server)
    content = json.loads(file.read_text())
    content["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    file.write_text(json.dumps(content))
    stranger = world.configured("stranger", home=file)

    text = await refused(stranger, "get_events", namespace=world.namespace)

    assert text.startswith("[forbidden]")
    assert "credentials in the kubeconfig are not accepted" in text


async def test_wait_for_something_in_a_cluster_that_is_away_ends_at_once(
    world: World, tmp_path: Path
) -> None:
    away = world.configured("away", home=tmp_path / "nowhere")

    text = await refused(away, "wait_for", **named(away, "ks", "apps", timeout="10m"))

    assert "nowhere" in text
