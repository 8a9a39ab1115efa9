"""What agents do to a real API server, and are kept from doing."""

from __future__ import annotations

import asyncio
import json

from daemon import kinds
from inspection import requests
from tests.support import agents, api
from tests.support.agents import text_of
from tests.support.mcpworld import World, call, named, refused


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
