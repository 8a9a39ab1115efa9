"""Objects as agents are shown them: by name, in short, by labels, with what belongs to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kube.helm import record as records
from kube.helm.storage import ReleaseStorage
from runtime.clock import SystemClock
from runtime.limits import Threads
from tests.support import api, fluxobjects
from tests.support.mcpworld import call, named, put, refused

if TYPE_CHECKING:
    from tests.support.mcpworld import World

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap"}
KUSTOMIZATION = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers: [{name: init, image: "example.com/init:1"}]
      containers: [{name: web, image: "example.com/web:2"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: web-reader}
---
apiVersion: example.com/v1
kind: Strange
metadata: {name: odd, namespace: elsewhere}
"""


async def show(world: World, **arguments: Any) -> list[dict[str, Any]]:
    """The objects that a call shows."""
    _, found = await call(world, "get_kubernetes_resources", **arguments)
    items: list[dict[str, Any]] = found["items"]
    return items


async def names(world: World, **arguments: Any) -> set[str]:
    """The names of the objects that a call shows."""
    return {each["metadata"]["name"] for each in await show(world, **arguments)}


async def test_name_without_a_namespace_is_looked_for_in_all_of_them(world: World) -> None:
    found = await show(world, **KUSTOMIZATION, name="apps")

    assert world.namespace in {each["metadata"]["namespace"] for each in found}
    assert all(each["spec"]["path"] for each in found)


async def test_name_that_is_nowhere_is_told(world: World) -> None:
    where = named(world, "ConfigMap", "nothing", apiVersion="v1")

    inside = await refused(world, "get_kubernetes_resources", **where)
    anywhere = await refused(world, "get_kubernetes_resources", **CONFIG_MAP, name="nothing-at-all")

    assert inside.startswith(f"[not-found] ConfigMap/{world.namespace}/nothing is not there")
    assert anywhere.startswith("[not-found] ConfigMap nothing-at-all is not there, in no namespace")


async def test_namespace_of_a_kind_that_has_none_is_not_looked_at(world: World) -> None:
    given = {"apiVersion": "v1", "kind": "Namespace", "namespace": "default"}

    (one,) = await show(world, **given, name=world.namespace)

    assert one["metadata"]["name"] == world.namespace
    assert world.namespace in await names(world, **given, limit=500)


async def test_empty_list_says_where_nothing_is(world: World) -> None:
    text, found = await call(
        world,
        "get_kubernetes_resources",
        apiVersion="batch/v1",
        kind="CronJob",
        namespace=world.namespace,
    )

    assert text == f"No resources found: no CronJob in namespace {world.namespace}"
    assert found == {"items": []}


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("kustomize.toolkit.fluxcd.io/name=apps", {"a"}),
        ("kustomize.toolkit.fluxcd.io/name=other", set()),
        ("kustomize.toolkit.fluxcd.io/name in (apps, other)", {"a"}),
        (
            "kustomize.toolkit.fluxcd.io/name=apps kustomize.toolkit.fluxcd.io/namespace!=x",
            {"a"},
        ),
        ("kustomize.toolkit.fluxcd.io/name notin (apps)", {"kube-root-ca.crt"}),
    ],
)
async def test_labels_select_as_kubectl_does(world: World, selector: str, found: set[str]) -> None:
    seen = await names(world, **CONFIG_MAP, namespace=world.namespace, selector=selector)

    assert seen & {"a", "kube-root-ca.crt"} == found


async def test_selector_that_is_none_is_told(world: World) -> None:
    text = await refused(world, "get_kubernetes_resources", **CONFIG_MAP, selector="a in (")

    assert "unable to parse requirement" in text


async def test_page_that_is_no_page_is_told(world: World) -> None:
    text = await refused(world, "get_kubernetes_resources", **CONFIG_MAP, page="nonsense")

    assert "continue" in text


async def test_list_of_another_kind_tells_the_health_of_each(world: World) -> None:
    given = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": world.namespace}
    (web,) = await show(world, **given)

    assert web["status"]["state"] == "InProgress"
    assert web["status"]["message"]
    assert "spec" not in web


async def test_full_list_has_whole_objects_without_managers(world: World) -> None:
    given = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": world.namespace}
    (web,) = await show(world, **given, full=True)

    assert web["spec"]["template"]["spec"]["containers"][0]["name"] == "app"
    assert "managedFields" not in web["metadata"]
    assert "kubectl.kubernetes.io/last-applied-configuration" not in web["metadata"].get(
        "annotations", {}
    )


async def test_flux_object_shows_how_its_source_stands(world: World) -> None:
    (apps,) = await show(world, **KUSTOMIZATION, name="apps", namespace=world.namespace)

    source = apps["status"]["source"]
    assert (source["kind"], source["name"], source["state"]) == ("GitRepository", "fleet", "Ready")
    assert source["url"] == "https://example.com/fleet.git"
    assert source["revision"] == fluxobjects.REVISION


async def test_source_that_is_missing_is_shown_as_missing(world: World) -> None:
    spec = {"interval": "1h", "prune": True}
    lost = fluxobjects.kustomization("lost", source="gone", namespace=world.namespace, spec=spec)
    async with api.client(world.cluster.kubeconfig) as client:
        await put(client, lost)

    (found,) = await show(world, **KUSTOMIZATION, name="lost", namespace=world.namespace)

    assert found["status"]["source"] == {
        "kind": "GitRepository",
        "namespace": world.namespace,
        "name": "gone",
        "state": "Missing",
    }


async def test_flux_object_shows_what_happened_but_no_routine(world: World) -> None:
    for number, reason in enumerate(("HealthCheckFailed", "ReconciliationSucceeded")):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"sick.{number}", "namespace": world.namespace},
            "involvedObject": {
                "kind": "Kustomization",
                "name": "sick",
                "namespace": world.namespace,
            },
            "type": "Warning",
            "reason": reason,
            "message": "postgres://me:geheim@db is down",
            "lastTimestamp": "2026-01-02T12:00:00Z",
        }
        world.cluster.kubectl("create", "-f", "-", input=json.dumps(event))

    (sick,) = await show(world, **KUSTOMIZATION, name="sick", namespace=world.namespace)

    (event,) = sick["status"]["events"]
    assert event["type"] == "Warning"
    assert "geheim" not in event["message"]


async def test_release_shows_its_objects_with_their_images(world: World) -> None:
    threads = Threads()
    text = {
        "name": "shop",
        "version": 3,
        "namespace": "shop-space",
        "chart": {"metadata": {"name": "shop", "version": "1.0.0"}},
        "info": {"status": "deployed"},
        "manifest": MANIFEST,
    }
    history = [{"name": "shop", "version": 3, "namespace": "shop-space", "status": "deployed"}]
    required = {
        "chartName": "shop",
        "chartVersion": "1.0.0",
        "configDigest": f"sha256:{'0' * 64}",
        "digest": f"sha256:{'0' * 64}",
        "firstDeployed": "2026-01-02T12:00:00Z",
        "lastDeployed": "2026-01-02T12:00:00Z",
    }
    chart = {"spec": {"chart": "shop", "sourceRef": {"kind": "GitRepository", "name": "fleet"}}}
    release = fluxobjects.flux(
        "HelmRelease",
        "shop",
        {"interval": "1h", "chart": chart},
        namespace=world.namespace,
        storageNamespace=world.namespace,
        history=[history[0] | required],
    )
    async with api.client(world.cluster.kubeconfig) as client:
        await put(client, release)
        store = ReleaseStorage(client, world.namespace, SystemClock(), threads)
        await store.create(records.parse(json.dumps(text).encode()))
    await threads.aclose()

    (found,) = await show(
        world,
        apiVersion="helm.toolkit.fluxcd.io/v2",
        kind="HelmRelease",
        name="shop",
        namespace=world.namespace,
    )

    deployment, role, strange = found["status"]["inventory"]
    assert deployment == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "namespace": "shop-space",
        "containers": [{"image": "example.com/web:2"}, {"image": "example.com/init:1"}],
    }
    assert role == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "name": "web-reader",
    }
    assert strange["namespace"] == "elsewhere"


async def test_logs_of_a_pod_that_is_not_there_are_told(world: World) -> None:
    text = await refused(
        world,
        "get_kubernetes_logs",
        pod_name="nothing",
        container_name="app",
        pod_namespace=world.namespace,
    )

    assert text.startswith(f"[not-found] Pod/{world.namespace}/nothing is not there")


async def test_events_are_chosen_by_kind_name_type_and_number(world: World) -> None:
    for number in range(3):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"chosen.{number}", "namespace": world.namespace},
            "involvedObject": {"kind": "Bucket", "name": "b", "namespace": world.namespace},
            "type": "Normal" if number else "Warning",
            "reason": f"Reason{number}",
            "message": "token=geheim",
            "lastTimestamp": f"2026-01-02T12:00:0{number}Z",
        }
        world.cluster.kubectl("create", "-f", "-", input=json.dumps(event))
    given = {"namespace": world.namespace, "kind": "Bucket", "name": "b"}

    async def reasons(**more: Any) -> list[str]:
        text, found = await call(world, "get_events", **given, **more)
        assert "geheim" not in text + json.dumps(found)
        return [each["reason"] for each in found["events"]]

    assert await reasons() == ["Reason0", "Reason1", "Reason2"]
    assert await reasons(type="Warning") == ["Reason0"]
    assert await reasons(limit=1) == ["Reason2"]
    text, _ = await call(world, "get_events", **given | {"name": "c"})
    assert text == "no events; Kubernetes keeps them for an hour"


async def test_drift_is_told_from_events_where_no_daemon_runs(world: World) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "drift.1", "namespace": world.namespace},
        "involvedObject": {
            "kind": "Kustomization",
            "name": "apps",
            "namespace": world.namespace,
        },
        "type": "Normal",
        "reason": "DriftCorrected",
        "message": f"ConfigMap/{world.namespace}/a was edited by kubectl-edit; corrected",
        "lastTimestamp": "2026-01-02T12:00:00Z",
    }
    world.cluster.kubectl("create", "-f", "-", input=json.dumps(event))

    text, found = await call(world, "get_drift", owner=f"{world.namespace}/apps")

    (drift,) = found["drifts"]
    assert (drift["object"], drift["who"]) == (f"ConfigMap/{world.namespace}/a", "kubectl-edit")
    assert found["source"] == "events"
    assert "no gitopsd answers here" in text


async def test_live_objects_of_one_application_are_compared(world: World) -> None:
    text, found = await call(
        world,
        "compare_clusters",
        left="home",
        right="home",
        live=True,
        **named(world, "ks", "apps") | {"cluster": ""},
    )

    assert (found["same"], found["differing"]) == (3, [])
    assert "are the same: 3 objects" in text
    for missing in ({"kind": "", "name": "apps"}, {"kind": "ks", "name": ""}):
        text = await refused(
            world, "compare_clusters", left="home", right="home", live=True, **missing
        )
        assert "name a kind and a name" in text


@pytest.mark.parametrize(("form", "begins"), [("json", '{"nodes":['), ("dot", "digraph flux {")])
async def test_graph_comes_in_other_forms(world: World, form: str, begins: str) -> None:
    text, found = await call(world, "dependency_graph", **named(world, "ks", "apps"), format=form)

    assert text.startswith(begins)
    assert found["edges"]


async def test_question_about_what_is_not_there_is_answered_so(world: World) -> None:
    for tool in ("get_tree", "dependency_graph", "trace", "explain_not_ready", "rollback_hint"):
        text = await refused(world, tool, **named(world, "ks", "nothing"))
        assert text.startswith(f"[not-found] Kustomization/{world.namespace}/nothing is not"), tool


async def test_source_has_no_way_back(world: World) -> None:
    text = await refused(world, "rollback_hint", **named(world, "git", "fleet"))

    assert "a GitRepository has no way back; Kustomizations and HelmReleases have" in text


async def test_tree_of_what_is_no_flux_object_is_answered_with_the_nearest_words(
    world: World,
) -> None:
    text = await refused(world, "get_tree", **named(world, "kustomisation", "apps"))

    assert "did you mean kustomization (Kustomization)" in text


@pytest.mark.parametrize("argument", ["revision", "requested_at"])
async def test_other_kinds_have_no_revision_to_wait_for(world: World, argument: str) -> None:
    given = named(world, "Deployment", "web", timeout="10m") | {argument: "x"}

    text = await refused(world, "wait_for", **given)

    assert "a Deployment has no revision and handles no requests" in text


async def test_end_of_an_object_is_waited_for(world: World) -> None:
    found = named(world, "ConfigMap", "never", condition="deleted", timeout="30s")

    _, data = await call(world, "wait_for", **found)

    assert data["isMet"]
