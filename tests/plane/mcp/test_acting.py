"""What agents do to a real API server, and are kept from doing."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from daemon import kinds
from inspection import requests
from tests.support import agents, api, fluxobjects
from tests.support.agents import text_of
from tests.support.mcpworld import World, call, named, put, refused
from tests.support.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspection.flux import FluxObject


async def test_reconcile_is_requested_of_the_source_first(world: World) -> None:
    _, found = await call(
        world,
        "reconcile_flux_kustomization",
        name="changed",
        namespace=world.namespace,
        with_source=True,
    )

    assert [each.split("/")[0] for each in found["objects"]] == ["GitRepository", "Kustomization"]
    item = await asyncio.to_thread(world.objects, "kustomization", "changed")
    annotation = item["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"]
    assert annotation == found["requestedAt"]


async def test_suspended_object_is_resumed_with_a_request(world: World) -> None:
    arguments = named(
        world, "Kustomization", "changed", apiVersion="kustomize.toolkit.fluxcd.io/v1"
    )
    text, _ = await call(world, "suspend_flux_reconciliation", **arguments)
    assert text == f"Reconciliation of Kustomization/{world.namespace}/changed suspended"
    item = await asyncio.to_thread(world.objects, "kustomization", "changed")
    assert item["spec"]["suspend"]

    await call(world, "resume_flux_reconciliation", **arguments)
    item = await asyncio.to_thread(world.objects, "kustomization", "changed")
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
        arguments = {"cluster": "home", "name": "changed", "namespace": world.namespace}
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


def config_map(world: World, name: str, value: str, **labels: str) -> dict[str, Any]:
    """A ConfigMap that says one thing."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": world.namespace, "labels": labels},
        "data": {"k": value},
    }


async def names_of(world: World, kind: str) -> set[str]:
    """The names of the objects of a kind in the world's namespace."""
    found = await asyncio.to_thread(world.objects, kind)
    return {each["metadata"]["name"] for each in found["items"]}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../configmaps/a", "%2e%2e"])
async def test_delete_of_no_name_deletes_nothing(world: World, name: str) -> None:
    before = await names_of(world, "configmaps")
    arguments = named(world, "ConfigMap", name, apiVersion="v1", force=True)

    text = await refused(world, "delete_kubernetes_resource", **arguments)

    assert text.startswith("[invalid] name")
    assert await names_of(world, "configmaps") == before


async def test_managed_object_is_written_to_and_deleted_when_forced(world: World) -> None:
    labels = {f"kustomize.toolkit.fluxcd.io/{key}": "x" for key in ("name", "namespace")}
    managed = json.dumps(config_map(world, "forced", "1", **labels))
    await asyncio.to_thread(world.cluster.kubectl, "apply", "-f", "-", input=managed)
    changed = json.dumps(config_map(world, "forced", "2"))
    where = named(world, "ConfigMap", "forced", apiVersion="v1")

    refusals = [
        await refused(world, "apply_kubernetes_manifest", yaml_content=changed),
        await refused(world, "delete_kubernetes_resource", **where),
    ]
    text, _ = await call(world, "apply_kubernetes_manifest", yaml_content=changed, overwrite=True)
    await call(world, "delete_kubernetes_resource", **where, force=True)

    assert all(each.startswith("[refused] ") for each in refusals)
    assert "Kustomization/x/x applied it" in refusals[0]
    assert text == f"ConfigMap/{world.namespace}/forced configured"
    assert "forced" not in await names_of(world, "configmaps")


async def test_namespace_and_what_goes_into_it_are_applied_in_one_call(world: World) -> None:
    name = f"{world.namespace}-new"
    inside = config_map(world, "inside", "1")
    inside["metadata"]["namespace"] = name
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    content = "\n---\n".join(json.dumps(each) for each in (inside, namespace))

    text, found = await call(world, "apply_kubernetes_manifest", yaml_content=content)

    assert found["changes"] == [f"Namespace/{name} created", f"ConfigMap/{name}/inside created"]
    assert text.splitlines() == found["changes"]
    text, _ = await call(
        world, "delete_kubernetes_resource", apiVersion="v1", kind="Namespace", name=name
    )
    assert "Resource deleted successfully" in text


async def test_kind_that_is_not_served_stops_all_of_an_apply(world: World) -> None:
    strange = {"apiVersion": "example.com/v1", "kind": "Strange", "metadata": {"name": "a"}}
    good = config_map(world, "beside", "1")
    content = "\n---\n".join(json.dumps(each) for each in (good, strange))

    text = await refused(world, "apply_kubernetes_manifest", yaml_content=content)

    assert 'no matches for kind "Strange"' in text
    assert "beside" not in await names_of(world, "configmaps")


async def test_fields_of_other_writers_are_taken_over(world: World) -> None:
    body = json.dumps(config_map(world, "contested", "1"))
    arguments = ("apply", "--server-side", "--field-manager=somebody", "-f", "-")
    await asyncio.to_thread(world.cluster.kubectl, *arguments, input=body)
    other = json.dumps(config_map(world, "contested", "2"))

    text, _ = await call(world, "apply_kubernetes_manifest", yaml_content=other)

    assert text == f"ConfigMap/{world.namespace}/contested configured"


# Requests ---------------------------------------------------------------------------------------


async def test_request_of_a_suspended_object_says_that_nothing_happens(world: World) -> None:
    spec = {"interval": "1h", "prune": True, "suspend": True}
    suspended = fluxobjects.kustomization("held", namespace=world.namespace, spec=spec)
    await create(world, suspended)

    text, _ = await call(
        world, "reconcile_flux_kustomization", name="held", namespace=world.namespace
    )

    assert "it is SUSPENDED, so nothing happens until resume_flux_reconciliation" in text


async def test_release_is_forced_as_the_operators_server_does(world: World) -> None:
    chart = {"spec": {"chart": "web", "sourceRef": {"kind": "GitRepository", "name": "fleet"}}}
    await create(
        world,
        fluxobjects.flux(
            "HelmRelease", "asked", {"interval": "1h", "chart": chart}, namespace=world.namespace
        ),
    )

    _, found = await call(
        world,
        "reconcile_flux_helmrelease",
        name="asked",
        namespace=world.namespace,
        with_source=True,
        reset=True,
    )

    assert [each.split("/")[0] for each in found["objects"]] == ["GitRepository", "HelmRelease"]
    item = await asyncio.to_thread(world.objects, "helmrelease", "asked")
    annotations = item["metadata"]["annotations"]
    wanted = {f"reconcile.fluxcd.io/{key}At" for key in ("requested", "force", "reset")}
    assert {key: annotations.get(key) for key in wanted} == dict.fromkeys(
        wanted, found["requestedAt"]
    )


async def test_only_sources_are_reconciled_as_sources(world: World) -> None:
    where = {"name": "fleet", "namespace": world.namespace}

    text, _ = await call(world, "reconcile_flux_source", kind="GitRepository", **where)
    wrong = await refused(world, "reconcile_flux_source", kind="Kustomization", **where)
    strange = await refused(world, "reconcile_flux_source", kind="GitRepo5itory", **where)
    missing = await refused(
        world, "reconcile_flux_source", kind="Bucket", name="no", namespace=world.namespace
    )

    assert text.startswith(f"Reconciliation of GitRepository/{world.namespace}/fleet requested")
    assert "Kustomization is no source; sources are GitRepository" in wrong
    assert "did you mean" in strange
    assert missing == f"[not-found] Bucket/{world.namespace}/no is not there"


async def test_resource_set_of_a_cluster_that_has_none_is_told(world: World) -> None:
    text = await refused(world, "reconcile_flux_resourceset", name="a", namespace=world.namespace)

    assert 'no matches for kind "ResourceSet"' in text


async def test_instance_is_suspended_by_its_annotation(world: World) -> None:
    spec = {"distribution": {"version": "2.x", "registry": "ghcr.io/fluxcd"}}
    await create(world, fluxobjects.flux("FluxInstance", "flux", spec, namespace=world.namespace))
    arguments = named(world, "FluxInstance", "flux", apiVersion="fluxcd.controlplane.io/v1")

    seen = []
    for tool in ("suspend_flux_reconciliation", "resume_flux_reconciliation"):
        await call(world, tool, **arguments)
        item = await asyncio.to_thread(world.objects, "fluxinstance", "flux")
        seen.append(item["metadata"]["annotations"]["fluxcd.controlplane.io/reconcile"])

    assert seen == ["disabled", "enabled"]


async def create(world: World, obj: FluxObject) -> None:
    """Create a Flux object with its status."""
    async with api.client(world.cluster.kubeconfig) as client:
        await put(client, obj)


# Installing -------------------------------------------------------------------------------------


@contextmanager
def page(content: str, status: int = 200) -> Iterator[str]:
    """The address of a page on this machine."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/flux.yaml"
        finally:
            server.shutdown()
            thread.join()


INSTANCE = """
apiVersion: fluxcd.controlplane.io/v1
kind: FluxInstance
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{distribution: {{version: 2.x, registry: ghcr.io/fluxcd}}}}
"""


ONE = INSTANCE.format(name="a", namespace="b")


async def test_instance_is_installed_from_an_address_and_waited_for(world: World) -> None:
    with page(INSTANCE.format(name="flux", namespace=f"{world.namespace}-flux")) as url:
        text, found = await call(world, "install_flux_instance", instance_url=url, timeout="500ms")

    instance = f"FluxInstance/{world.namespace}-flux/flux"
    assert f"{instance} created" in found["changes"]
    assert f"{instance} did not get there" in text
    await asyncio.to_thread(
        world.cluster.kubectl, "delete", "namespace", f"{world.namespace}-flux", "--wait=false"
    )


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ("", 200, "holds no manifest"),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}", 200, "holds 0 FluxInstances"),
        (f"{ONE}---{ONE}", 200, "holds 2 FluxInstances"),
        ("<html>: [", 200, "yaml_content: "),
        ("no", 404, "answers HTTP 404"),
        ("x" * ((1 << 20) + 1), 200, "is larger than 1 MiB"),
    ],
    ids=["empty", "no instance", "twice", "a page", "missing", "huge"],
)
async def test_address_that_holds_no_instance_is_refused(
    world: World, content: str, status: int, message: str
) -> None:
    with page(content, status) as url:
        text = await refused(world, "install_flux_instance", instance_url=url)

    assert message in text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com/flux.yaml", "only https:// and oci:// addresses are fetched"),
        ("file:///etc/passwd", "only https:// and oci:// addresses are fetched"),
        ("oci://ghcr.io/acme/flux:1", "name the file too"),
        ("oci://ghcr.io/acme/flux:a b#x", "is no tag"),
        ("oci://ghcr.io/ACME#x", "is no name of a repository"),
        ("oci://ghcr.io/acme/flux@sha256:12#x", "is no digest"),
        ("", "instance_url is required"),
    ],
)
async def test_address_that_is_not_fetched_is_told(world: World, url: str, message: str) -> None:
    assert message in await refused(world, "install_flux_instance", instance_url=url)


async def test_instance_is_taken_out_of_an_artifact(world: World, tmp_path: Path) -> None:
    namespace = f"{world.namespace}-oci"
    files = {
        "clusters/flux.yaml": INSTANCE.format(name="flux", namespace=namespace),
        "clusters/broken.yaml": "a: [",
        "README.md": "no manifest",
    }
    with Registry(tmp_path / "registry") as registry:
        digest = await asyncio.to_thread(registry.push, "acme/fleet", "1.0.0", files)
        url = registry.url("acme/fleet")
        told = {
            path: await refused(world, "install_flux_instance", instance_url=f"{url}:1.0.0#{path}")
            for path in ("clusters/nothing.yaml", "clusters/broken.yaml")
        }
        wrong_tag = await refused(
            world, "install_flux_instance", instance_url=f"{url}:2.0.0#clusters/flux.yaml"
        )
        pinned = f"{url}:2.0.0@{digest}#clusters/flux.yaml"
        _, found = await call(world, "install_flux_instance", instance_url=pinned, timeout="500ms")
    await asyncio.to_thread(world.cluster.kubectl, "delete", "namespace", namespace, "--wait=false")

    assert f"FluxInstance/{namespace}/flux created" in found["changes"]
    assert "the artifact has no file clusters/nothing.yaml" in told["clusters/nothing.yaml"]
    assert "yaml_content: " in told["clusters/broken.yaml"]
    assert wrong_tag.startswith("[failed] ")
