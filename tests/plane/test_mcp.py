"""The MCP server against a real API server: what agents see, do, and are kept from doing."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest

from daemon import kinds
from inspection import podlogs, requests
from tests.support import agents, api, fluxobjects, reconciling
from tests.support.agents import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcp.client import Client

    from devcluster.cluster import Cluster
    from inspection.flux import FluxObject

LABELS = {
    "kustomize.toolkit.fluxcd.io/name": "apps",
    "kustomize.toolkit.fluxcd.io/namespace": "{namespace}",
}


class World(NamedTuple):
    """A namespace with a source, a Kustomization, and what it applied."""

    namespace: str
    config: Path
    cluster: Cluster

    def objects(self, *names: str) -> dict[str, Any]:
        """What is in the cluster."""
        found: dict[str, Any] = json.loads(
            self.cluster.kubectl("get", "-n", self.namespace, *names, "-o", "json")
        )
        return found


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests of this file; what a test changes has a name of its own."""
    reconciling.prepare(cluster)
    namespace = f"agents-{uuid.uuid4().hex[:8]}"
    folder = tmp_path_factory.mktemp("mcp")
    cluster.kubectl("create", "namespace", namespace)
    config = folder / "config.toml"
    config.write_text(
        f'[daemon]\ndata_dir = "{folder}/data"\n'
        f'[[clusters]]\nname = "home"\nkubeconfig = "{cluster.kubeconfig}"\n'
        f'[[clusters]]\nname = "away"\nkubeconfig = "{folder}/nowhere"\n'
    )
    made = World(namespace, config, cluster)
    asyncio.run(fill(made))
    yield made
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[agents.Served]:
    """The server over HTTP, as a process."""
    with agents.listening(world.config) as found:
        yield found


async def fill(world: World) -> None:
    """Make the objects, and the status that a reconciler would have written."""
    namespace = world.namespace
    labels = {key: value.format(namespace=namespace) for key, value in LABELS.items()}
    web = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "registry.invalid/app:1"}]},
            },
        },
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "labels": labels},
        "data": {"password": base64.b64encode(b"geheim").decode()},
    }
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": labels},
        "data": {"k": "1"},
    }
    everything = {"apiVersion": "v1", "kind": "List", "items": [web, secret, owned]}
    world.cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(everything))
    entries = [
        f"{namespace}_web_apps_Deployment",
        f"{namespace}_db__Secret",
        f"{namespace}_a__ConfigMap",
    ]
    spec = {"interval": "1h", "prune": True, "dependsOn": [{"name": "infra"}]}
    flux = [
        fluxobjects.git(namespace=namespace),
        fluxobjects.kustomization("infra", namespace=namespace, spec=spec | {"dependsOn": []}),
        fluxobjects.kustomization("apps", *entries, namespace=namespace, spec=spec),
        fluxobjects.kustomization(
            "sick",
            entries[0],
            namespace=namespace,
            spec=spec | {"dependsOn": []},
            ready="False",
            reason="HealthCheckFailed",
            message="health check failed after 30s: timeout waiting for: "
            f"[Deployment/{namespace}/web status: 'InProgress']",
        ),
        fluxobjects.kustomization(
            "waiting",
            namespace=namespace,
            spec=spec | {"dependsOn": [{"name": "sick"}]},
            ready="False",
            reason="DependencyNotReady",
            message=f"dependency '{namespace}/sick' is not ready",
        ),
    ]
    async with api.client(world.cluster.kubeconfig) as client:
        for each in flux:
            await put(client, each)


async def put(client: Any, each: FluxObject) -> None:
    """Create an object with its status."""
    resource = kinds.BY_NAME[each.kind].resource
    status = each.raw["status"]
    artifact = {"digest": f"sha256:{'0' * 64}", "lastUpdateTime": "2026-01-02T12:00:00Z"}
    artifact |= {"path": "x", "url": "http://127.0.0.1:1/x"}
    if "artifact" in status:
        status["artifact"] |= artifact
    body = json.dumps(each.raw).encode()
    await client.create(resource, each.namespace, body, manager="test")
    patch = json.dumps({"status": status}).encode()
    await client.patch(
        resource, each.namespace, each.name, patch, manager="test", subresource="status"
    )


def named(world: World, kind: str, name: str, **more: Any) -> dict[str, Any]:
    """Arguments that name an object."""
    return {"cluster": "home", "kind": kind, "name": name, "namespace": world.namespace} | more


async def call(world: World, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Call a tool in this process; it must not fail."""
    async with agents.inside(world.config) as client:
        result = await client.call_tool(tool, {"cluster": "home"} | arguments)
    assert not result.is_error, text_of(result)
    return text_of(result), result.structured_content or {}


async def refused(world: World, tool: str, **arguments: Any) -> str:
    """Call a tool in this process; it must fail."""
    async with agents.inside(world.config) as client:
        result = await client.call_tool(tool, {"cluster": "home"} | arguments)
    assert result.is_error
    return text_of(result)


# Both transports --------------------------------------------------------------------------------


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


async def pod_of(world: World) -> str:
    """The name of the Deployment's pod, once there is one."""
    async with asyncio.timeout(api.WAIT_S):
        while True:
            found = await asyncio.to_thread(world.objects, "pods", "-l", "app=web")
            if found["items"]:
                return str(found["items"][0]["metadata"]["name"])


async def as_kubelet(world: World, pod: str, **waiting: str) -> None:
    """Say of a pod's container what a kubelet would."""
    required = {"image": "x", "imageID": "", "ready": False, "restartCount": 0}
    container = required | {"name": "app", "state": {"waiting": waiting}}
    status = {"containerStatuses": [container]}
    async with api.client(world.cluster.kubeconfig) as client:
        patch = json.dumps({"status": status}).encode()
        await client.patch(
            podlogs.PODS, world.namespace, pod, patch, manager="kubelet", subresource="status"
        )


# Reading ----------------------------------------------------------------------------------------


async def test_trace_leads_from_a_pod_to_the_commit(world: World) -> None:
    _, found = await call(world, "trace", **named(world, "Pod", await pod_of(world)))

    assert [(step["role"], step["kind"]) for step in found["steps"]] == [
        ("object", "Pod"),
        ("controller", "ReplicaSet"),
        ("controller", "Deployment"),
        ("applier", "Kustomization"),
        ("source", "GitRepository"),
    ]
    assert found["isManaged"]
    assert found["commit"]["sha"] == fluxobjects.SHA
    assert found["steps"][-1]["url"] == "https://example.com/fleet.git"


async def test_trace_of_an_unmanaged_object_says_so(world: World) -> None:
    text, found = await call(world, "trace", **named(world, "ConfigMap", "kube-root-ca.crt"))

    assert not found["isManaged"]
    assert "not managed by Flux" in text


async def test_cause_is_found_through_a_dependency_down_to_the_pod(world: World) -> None:
    message = 'Back-off pulling image "registry.invalid/app:1"'
    await as_kubelet(world, await pod_of(world), reason="ImagePullBackOff", message=message)

    text, found = await call(world, "explain_not_ready", **named(world, "ks", "waiting"))

    assert found["cause"] == "image-pull", text
    assert [link["id"].split("/")[0] for link in found["chain"]] == [
        "Kustomization",
        "Kustomization",
        "Deployment",
        "Pod",
    ]
    assert message in text


async def test_what_is_ready_needs_no_explanation(world: World) -> None:
    text, found = await call(world, "explain_not_ready", **named(world, "ks", "infra"))

    assert found["isReady"]
    assert "is ready" in text


async def test_graph_shows_sources_and_dependencies(world: World) -> None:
    text, found = await call(
        world, "dependency_graph", **named(world, "ks", "waiting", format="mermaid")
    )

    relations = {(edge["source"].split("/")[-1], edge["relation"]) for edge in found["edges"]}
    assert relations == {("fleet", "source"), ("sick", "dependsOn")}
    assert text.startswith("flowchart LR")


async def test_list_is_short_and_comes_in_pages(world: World) -> None:
    query = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
    query |= {"namespace": world.namespace}

    text, first = await call(world, "get_kubernetes_resources", **query, limit=2)
    _, rest = await call(
        world, "get_kubernetes_resources", **query, limit=5, page=first["nextPage"]
    )

    names = [each["metadata"]["name"] for each in (*first["items"], *rest["items"])]
    assert names == ["apps", "infra", "sick", "waiting"]
    assert first["items"][0]["status"]["inventory"] == {"count": 3}
    assert "there are more" in text
    assert "nextPage" not in rest


async def test_fields_can_be_chosen(world: World) -> None:
    _, found = await call(
        world,
        "get_kubernetes_resources",
        apiVersion="apps/v1",
        kind="Deployment",
        namespace=world.namespace,
        fields=["spec.template.spec.containers.image"],
    )

    assert found["items"][0]["spec.template.spec.containers.image"] == ["registry.invalid/app:1"]


async def test_values_of_secrets_never_leave(world: World) -> None:
    for fields in ((), ("data",)):
        text, found = await call(
            world,
            "get_kubernetes_resources",
            apiVersion="v1",
            kind="Secret",
            namespace=world.namespace,
            full=True,
            fields=list(fields),
        )
        assert base64.b64encode(b"geheim").decode() not in text + json.dumps(found)
        assert "***" in text


async def test_kind_that_is_not_served_is_answered_with_where_to_look(world: World) -> None:
    text = await refused(world, "get_kubernetes_resources", apiVersion="v1", kind="deploy")

    assert 'no matches for kind "deploy"' in text
    assert "get_kubernetes_api_versions" in text


async def test_custom_kinds_are_listed_with_their_version(world: World) -> None:
    _, found = await call(world, "get_kubernetes_api_versions")

    assert {
        "group": "kustomize.toolkit.fluxcd.io",
        "kind": "Kustomization",
        "version": "v1",
    } in found["versions"]


async def test_instance_report_works_without_a_daemon(world: World) -> None:
    text, found = await call(world, "get_flux_instance")

    counts = {each["kind"]: each for each in found["reconcilers"]}
    assert counts["Kustomization"]["failing"] >= 2
    assert "daemon" not in found
    assert "no gitopsd answers" in text


async def test_metrics_without_a_server_for_them_say_what_is_missing(world: World) -> None:
    text = await refused(world, "get_kubernetes_metrics", pod_namespace=world.namespace)

    assert "Is metrics-server installed?" in text


async def test_cluster_is_not_compared_with_one_that_is_away(world: World) -> None:
    assert (await refused(world, "compare_clusters", left="home", right="away")).startswith("[")


async def test_cluster_is_the_same_as_itself(world: World) -> None:
    text, found = await call(
        world, "compare_clusters", left="home", right="home", namespace=world.namespace
    )

    assert "are the same" in text
    assert not found["differing"]


# Acting -----------------------------------------------------------------------------------------


async def test_reconcile_is_requested_of_the_source_first(world: World) -> None:
    _, found = await call(
        world,
        "reconcile_flux_kustomization",
        name="infra",
        namespace=world.namespace,
        with_source=True,
    )

    assert [each.split("/")[0] for each in found["objects"]] == ["GitRepository", "Kustomization"]
    item = await asyncio.to_thread(world.objects, "kustomization", "infra")
    annotation = item["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"]
    assert annotation == found["requestedAt"]


async def test_suspended_object_is_resumed_with_a_request(world: World) -> None:
    arguments = named(world, "Kustomization", "infra", apiVersion="kustomize.toolkit.fluxcd.io/v1")
    text, _ = await call(world, "suspend_flux_reconciliation", **arguments)
    assert text == f"Reconciliation of Kustomization/{world.namespace}/infra suspended"
    item = await asyncio.to_thread(world.objects, "kustomization", "infra")
    assert item["spec"]["suspend"]

    await call(world, "resume_flux_reconciliation", **arguments)
    item = await asyncio.to_thread(world.objects, "kustomization", "infra")
    assert "suspend" not in item["spec"]


async def test_only_flux_objects_can_be_suspended(world: World) -> None:
    arguments = named(world, "Deployment", "web", apiVersion="apps/v1")

    assert "no Flux kind" in await refused(world, "suspend_flux_reconciliation", **arguments)


async def test_what_flux_manages_is_not_written_to_unless_forced(world: World) -> None:
    manifest = (
        "apiVersion: v1\nkind: ConfigMap\n"
        f"metadata: {{name: a, namespace: {world.namespace}}}\ndata: {{k: '2'}}\n"
    )
    for tool, arguments in (
        ("apply_kubernetes_manifest", {"yaml_content": manifest}),
        ("delete_kubernetes_resource", named(world, "ConfigMap", "a", apiVersion="v1")),
    ):
        text = await refused(world, tool, **arguments)
        assert f"ConfigMap/{world.namespace}/a is managed by Flux" in text
        assert "below ./apps in https://example.com/fleet.git" in text
    found = await asyncio.to_thread(world.objects, "configmap", "a")
    assert found["data"] == {"k": "1"}


async def test_manifests_are_applied_together_or_not_at_all(world: World) -> None:
    good = f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: b, namespace: {world.namespace}}}\n"
    bad = good.replace("name: b", "name: 'B A D'")

    assert "nothing was written" in await refused(
        world, "apply_kubernetes_manifest", yaml_content=f"{good}---\n{bad}"
    )
    text, _ = await call(world, "apply_kubernetes_manifest", yaml_content=good)
    assert text == f"ConfigMap/{world.namespace}/b created"
    text, _ = await call(world, "apply_kubernetes_manifest", yaml_content=good)
    assert text == f"ConfigMap/{world.namespace}/b unchanged"
    text, _ = await call(
        world, "delete_kubernetes_resource", **named(world, "ConfigMap", "b", apiVersion="v1")
    )
    assert text.startswith("Resource deleted successfully")


async def test_second_write_to_one_object_waits_its_turn(world: World) -> None:
    async with agents.inside(world.config) as client:
        arguments = {"cluster": "home", "name": "infra", "namespace": world.namespace}
        results = []

        async def ask() -> None:
            results.append(await client.call_tool("reconcile_flux_kustomization", arguments))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(ask())

    failures = [text_of(each) for each in results if each.is_error]
    assert len(failures) < 4
    assert all("another call is writing to" in each for each in failures)


async def test_wait_ends_when_the_request_is_handled(world: World) -> None:
    resource, request = kinds.KUSTOMIZATION.resource, "2026-01-02T12:00:00"
    async with (
        agents.inside(world.config) as client,
        api.client(world.cluster.kubeconfig) as writer,
        asyncio.TaskGroup() as tasks,
    ):
        arguments = named(world, "ks", "apps", requested_at=request, timeout="60s")
        waiting = tasks.create_task(client.call_tool("wait_for", arguments))
        await requests.reconcile(writer, resource, world.namespace, "apps", request=request)
        patch = json.dumps({"status": {"lastHandledReconcileAt": request}}).encode()
        await writer.patch(
            resource, world.namespace, "apps", patch, manager="test", subresource="status"
        )
    assert (waiting.result().structured_content or {})["isMet"]


async def test_wait_that_is_over_says_how_far_it_got(world: World) -> None:
    text, found = await call(world, "wait_for", **named(world, "ks", "sick", timeout="300ms"))

    assert not found["isMet"]
    assert found["state"] == "Failed"
    assert "explain_not_ready" in text
