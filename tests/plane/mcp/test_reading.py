"""What agents see of a real API server."""

from __future__ import annotations

import base64
import json

from tests.support import fluxobjects
from tests.support.mcpworld import World, as_kubelet, call, named, pod_of, refused


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
        world, "get_kubernetes_resources", **query, limit=500, page=first["nextPage"]
    )

    names = [each["metadata"]["name"] for each in (*first["items"], *rest["items"])]
    assert names[:2] == ["apps", "changed"]
    assert {"infra", "sick", "waiting"} <= set(names[2:])
    assert len(set(names)) == len(names)
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


async def test_source_is_traced_forward(world: World) -> None:
    text, found = await call(world, "trace", **named(world, "git", "fleet"))

    reached = {each["id"].rpartition("/")[2]: each for each in found["reached"]}
    assert reached["apps"]["isThere"]
    assert reached["apps"]["owns"] == 3
    assert not reached["sick"]["isThere"]
    assert f"reaches: Kustomization/{world.namespace}/apps Ready at " in text
