"""What a HelmRelease may ask for beyond a plain release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from api.charts import HelmChart
from kube import errors
from kube.objects import GVK
from tests.support import helmcharts, reconciling, releaser
from tests.support.releaser import at_revision, condition, gone, ready, stalled, unready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")
CHARTS = reconciling.resource_of(HelmChart)


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        yield running


def template(**more: Any) -> dict[str, Any]:
    source = {"kind": "GitRepository", "name": "repo"}
    return {"spec": {"chart": "./chart", "sourceRef": source, **more}}


async def test_a_chart_object_is_made_changed_and_deleted(world: World, namespace: str) -> None:
    spec = {"chart": template(version="1.x"), "chartRef": None}
    await world.release("demo", **spec)
    item = await world.until("demo", unready("SourceNotReady"))
    name = f"{namespace}-demo"
    told = f"HelmChart '{namespace}/{name}' is not ready: "
    assert condition(item, meta.READY)[2].startswith(told)
    assert item.status.helm_chart == f"{namespace}/{name}"
    made = await world.context.client.get(CHARTS, namespace, name)
    assert made["spec"] == {
        "chart": "./chart",
        "version": "1.x",
        "sourceRef": {"kind": "GitRepository", "name": "repo"},
        "interval": "1h0m0s",
        "reconcileStrategy": "ChartVersion",
    }
    assert made["metadata"]["labels"] == {
        meta.HELM_OWNER_NAME: "demo",
        meta.HELM_OWNER_NAMESPACE: namespace,
    }
    await world.event("HelmChartCreated")
    await world.release("demo", chart=template(version="2.x"), chartRef=None)
    await world.event("HelmChartConfigured")
    await world.push(helmcharts.pack("demo"))
    reference = {"kind": "OCIRepository", "name": releaser.CHART}
    await world.release("demo", chart=None, chartRef=reference)
    item = await world.until("demo", ready)
    assert item.status.helm_chart == ""
    with pytest.raises(errors.NotFound):
        await world.context.client.get(CHARTS, namespace, name)
    await world.event("HelmChartDeleted")


async def test_a_name_that_no_label_takes_is_told(world: World) -> None:
    name = "n" * 64
    await world.release(name, chart=template(), chartRef=None)
    item = await world.until(name, stalled("HelmChartSyncErr"))
    assert "must be no more than 63" in condition(item, meta.READY)[2]


async def test_definitions_of_a_chart_are_applied_and_never_deleted(
    world: World, namespace: str
) -> None:
    kind = f"K{namespace.removeprefix('test-')}"
    plural = kind.lower()
    named = {"kind": kind, "plural": plural}
    custom = f"{{apiVersion: example.com/v1, kind: {kind}, metadata: {{name: one}}}}"

    def files(text: str) -> dict[str, str]:
        definition = helmcharts.definition(**named, text=text)
        return {"crds/a.yaml": definition, "templates/one.yaml": custom}

    gvk = GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    resource = await world.context.discovery.resource(gvk)

    async def described() -> str:
        found = await world.context.client.get(resource, "", f"{plural}.example.com")
        schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert found["metadata"]["labels"][meta.HELM_OWNER_NAME] == "demo"
        return str(schema["description"])

    await world.push(helmcharts.pack("demo", files("first")))
    await world.release("demo")
    item = await world.until("demo", ready)
    assert await described() == "first"
    ids = [each.id for each in item.status.inventory.entries]  # type: ignore[union-attr]
    assert ids == [
        f"_{plural}.example.com_apiextensions.k8s.io_CustomResourceDefinition",
        f"{namespace}_one_example.com_{kind}",
    ]
    await world.push(helmcharts.pack("demo", files("second"), version="2.0.0"))
    await world.until("demo", at_revision(2))
    assert await described() == "second"
    await world.release("demo", upgrade={"crds": "Skip"})
    await world.until("demo", ready)
    await world.push(helmcharts.pack("demo", files("third"), version="3.0.0"))
    await world.until("demo", at_revision(3))
    assert await described() == "second"
    await world.delete("demo")
    await world.until("demo", gone)
    assert await described() == "second"
    await world.context.client.delete(resource, "", f"{plural}.example.com")


async def test_a_definition_that_is_a_hook_is_never_deleted(world: World, namespace: str) -> None:
    kind = f"H{namespace.removeprefix('test-')}"
    plural, custom = kind.lower(), f"example.com/v1/{kind}"
    definition = helmcharts.definition(kind, plural)
    hook = definition.replace(
        "metadata: {",
        "metadata: {annotations: {helm.sh/hook: 'pre-install,pre-upgrade,pre-delete', "
        "helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded,hook-failed'}, ",
    )
    object_ = f"{{apiVersion: example.com/v1, kind: {kind}, metadata: {{name: one}}}}"
    files = {"templates/hook.yaml": hook}
    await world.push(helmcharts.pack("demo", files))
    await world.release("demo")
    await world.until("demo", ready)
    files["templates/one.yaml"] = object_
    await world.push(helmcharts.pack("demo", files, version="2.0.0"))
    await world.until("demo", at_revision(2))
    first = (await world.live(custom, "one"))["metadata"]["uid"]
    files["templates/hook.yaml"] = hook.replace("description: first", "description: second")
    await world.push(helmcharts.pack("demo", files, version="3.0.0"))
    await world.until("demo", at_revision(3))
    assert (await world.live(custom, "one"))["metadata"]["uid"] == first
    await world.delete("demo")
    await world.until("demo", gone)
    found = await world.live(
        "apiextensions.k8s.io/v1/CustomResourceDefinition", f"{plural}.example.com"
    )
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["description"] == "second"


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: main, image: none.example.com/none}]}
"""


async def test_what_does_not_become_well_is_named(world: World, namespace: str) -> None:
    await world.push(helmcharts.pack("demo", {"templates/web.yaml": DEPLOYMENT}))
    await world.release("demo", timeout="1s")
    item = await world.until("demo", stalled("RetriesExceeded"))
    text = condition(item, meta.READY)[2]
    assert f"timeout waiting for: [Deployment/{namespace}/web status: 'InProgress'" in text
    assert world.history("demo") == [(1, "failed")]
    await world.release("demo", timeout="1s", upgrade={"disableWait": True})
    await world.until("demo", at_revision(2))


async def test_health_of_custom_kinds_is_read_by_expressions(world: World) -> None:
    await world.push(helmcharts.pack("demo"))
    rule = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "current": "data.text == 'well'",
        "failed": "data.text == 'broken'",
    }
    await world.release("demo", healthCheckExprs=[rule], values={"text": "broken"})
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert "failed early due to stalled resources" in condition(item, meta.READY)[2]
    await world.release("demo", healthCheckExprs=[rule], values={"text": "well"})
    await world.until("demo", at_revision(2))


@pytest.mark.parametrize("install", [{}, {"serverSideApply": False}])
async def test_a_release_in_another_cluster_has_everything_there(
    world: World, cluster: Access, install: dict[str, Any]
) -> None:
    await world.put("Secret", "way", value=cluster.kubeconfig.read_text())
    await world.push(helmcharts.pack("demo"))
    away = {"kubeConfig": {"secretRef": {"name": "way"}}, "install": install}
    detection = {"mode": "enabled"}
    await world.release("demo", **away, driftDetection=detection)
    await world.until("demo", ready)
    assert world.history("demo") == [(1, "deployed")]
    await world.release("demo", **away, driftDetection=detection, values={"text": "b"})
    await world.until("demo", at_revision(2))
    assert (await world.live("ConfigMap", "demo"))["data"]["text"] == "b"
    resource = await world.context.discovery.resource(GVK("", "v1", "ConfigMap"))
    await world.patch(resource, "demo", {"data": {"text": "edited"}})
    await world.event("DriftCorrected")
    await world.delete("demo")
    await world.until("demo", gone)
    assert world.history("demo") == []
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "demo")


async def test_values_of_the_release_before_are_kept_where_that_is_asked_for(
    world: World, namespace: str
) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("demo", values={"text": "one", "other": 1})
    await world.until("demo", ready)
    upgrade = {"preserveValues": True}
    await world.release("demo", values={"text": "two"}, upgrade=upgrade)
    item = await world.until("demo", at_revision(2))
    got = world.helm.json("get", "values", "demo", "-n", namespace)
    assert got == {"other": 1, "text": "two"}
    world.engine.wake(item.ref("test"), "somebody")
    await world.idle()
    assert world.history("demo")[-1] == (2, "deployed")


async def test_another_chart_takes_the_place_of_the_first(world: World) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("demo")
    await world.until("demo", ready)
    await world.push(helmcharts.pack("other"))
    item = await world.until(
        "demo",
        lambda item: ready(item) and item.status.history[0].chart_name == "other",  # type: ignore[union-attr]
    )
    assert item.status.history[0].version == 1
    await world.release("demo", upgrade={"chartNameChangeStrategy": "InPlaceUpdate"})
    await world.until("demo", ready)
    await world.push(helmcharts.pack("third"))
    item = await world.until("demo", at_revision(2))
    assert item.status.history[0].chart_name == "third"


async def test_the_history_of_an_uninstalled_release_can_be_kept(
    world: World, namespace: str
) -> None:
    await world.push(helmcharts.pack("demo"))
    await world.release("demo", uninstall={"keepHistory": True})
    await world.until("demo", ready)
    await world.delete("demo")
    await world.until("demo", gone)
    assert world.history("demo") == [(1, "uninstalled")]
    await world.release("demo")
    item = await world.until_shown("demo", unready("InstallFailed"))
    assert "cannot reuse a name that is still in use" in condition(item, meta.READY)[2]
    await world.release("demo", install={"replace": True})
    await world.until("demo", ready)
    assert world.history("demo")[-1][1] == "deployed"


@pytest.mark.parametrize("of", ["chart", "reference"])
async def test_tenants_get_no_chart_of_another_namespace(
    cluster: Access, namespace: str, tmp_path: Path, of: str
) -> None:
    async with releaser.running(
        cluster, tmp_path, namespace, no_cross_namespace_refs=True
    ) as world:
        spec: dict[str, Any] = {
            "chartRef": {"kind": "OCIRepository", "name": "x", "namespace": "default"}
        }
        if of == "chart":
            chart = template()
            chart["spec"]["sourceRef"]["namespace"] = "default"
            spec = {"chart": chart, "chartRef": None}
        await world.release("demo", **spec)
        item = await world.until("demo", stalled(meta.ACCESS_DENIED))
        assert "cross-namespace references have been blocked" in condition(item, meta.READY)[2]
        with pytest.raises(errors.NotFound):
            await world.context.client.get(CHARTS, "default", f"{namespace}-demo")


async def test_a_deletion_that_cannot_reach_its_cluster_says_so(
    world: World, cluster: Access
) -> None:
    await world.put("Secret", "way", value=cluster.kubeconfig.read_text())
    await world.push(helmcharts.pack("demo"))
    await world.release("demo", kubeConfig={"secretRef": {"name": "way"}})
    await world.until("demo", ready)
    await world.put("Secret", "way", value="apiVersion: v1")
    await world.delete("demo")
    item = await world.until_shown("demo", unready("UninstallFailed"))
    assert condition(item, meta.READY)[2].startswith("the release cannot be uninstalled: ")
    await world.put("Secret", "way", value=cluster.kubeconfig.read_text())
    await world.until("demo", gone)
    await world.until_gone("ConfigMap", "demo")
