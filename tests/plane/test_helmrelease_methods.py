"""How the objects of a release are written, and how it changes between client and server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from kube import errors, references
from kube.helm.storage import ReleaseStorage
from kube.objects import GVK, Resource
from tests.support import helmcharts, releaser
from tests.support.releaser import at_revision, condition, ready, stalled, unready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")

CONFIG_MAPS = references.RESOURCES[references.CONFIG_MAP]
MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data:
{{- range $key, $value := .Values.data }}
  {{ $key }}: {{ $value | quote }}
{{- end }}
"""
SAME = "{apiVersion: v1, kind: ConfigMap, metadata: {name: same}, data: {k: v}}"
CHART = {"templates/map.yaml": MAP, "templates/same.yaml": SAME}
RICH = {
    "values.yaml": "new: false\n",
    "templates/all.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {old: {{ .Values.new | not | quote }}}}
data:
  common: {{ .Values.new | quote }}
  {{ if .Values.new }}new{{ else }}old{{ end }}: x
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: None
  selector: {app: web}
  ports:
  - {name: http, port: 80}
  {{- if .Values.new }}
  - {name: metrics, port: 90}
  {{- else }}
  - {name: admin, port: 91}
  {{- end }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: none.example.com/none:{{ .Values.new }}
        env: [{name: A, value: "1"}{{ if .Values.new | not }}, {name: B, value: "2"}{{ end }}]
      {{- if .Values.new }}
      - {name: side, image: none.example.com/side}
      {{- end }}
""",
}
MADE = (("ConfigMap", "one"), ("Service", "web"), ("apps/v1/Deployment", "web"))
INSTALL = {"serverSideApply": False}
DISABLED = {"serverSideApply": "disabled"}
ENABLED = {"serverSideApply": "enabled"}
MERGED = {("helm-controller", "Update")}
APPLIED = {("helm-controller", "Apply")}


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        await running.push(helmcharts.pack("demo", CHART))
        yield running


@pytest.fixture
def archive(tmp_path: Path) -> str:
    file = tmp_path / "demo.tgz"
    file.write_bytes(helmcharts.pack("demo", CHART))
    return str(file)


async def managers(world: World, name: str = "one") -> set[tuple[str, str]]:
    found = await world.live("ConfigMap", name)
    return {(entry["manager"], entry["operation"]) for entry in found["metadata"]["managedFields"]}


async def data_of(world: World, name: str = "one") -> dict[str, str]:
    found: dict[str, str] = (await world.live("ConfigMap", name))["data"]
    return found


async def edit(world: World, name: str = "one", **data: str | None) -> None:
    await world.patch(CONFIG_MAPS, name, {"data": data})


async def methods(world: World) -> list[str]:
    """Return by which method each revision says that it was written, oldest first."""
    client, clock = world.context.client, world.context.clock
    storage = ReleaseStorage(client, world.namespace, clock, world.context.threads)
    return [record.apply_method for record in await storage.history("demo")]


# Which one --------------------------------------------------------------------------------------


async def test_a_release_goes_on_as_it_was_until_another_way_is_asked_for(world: World) -> None:
    await world.release("demo", install=INSTALL, values={"data": {"a": "1", "b": "1"}})
    await world.until("demo", ready)
    await world.release("demo", values={"data": {"a": "2"}})
    await world.until("demo", at_revision(2))
    assert (await managers(world), await data_of(world)) == (MERGED, {"a": "2"})
    await world.release("demo", upgrade=ENABLED, values={"data": {"a": "3", "c": "3"}})
    await world.until("demo", at_revision(3))
    assert (await managers(world), await data_of(world)) == (APPLIED, {"a": "3", "c": "3"})
    assert await managers(world, "same") == APPLIED
    await world.release("demo", values={"data": {"a": "4"}})
    await world.until("demo", at_revision(4))
    assert (await managers(world), await data_of(world)) == (APPLIED, {"a": "4"})
    await world.release("demo", upgrade=DISABLED, values={"data": {"a": "5", "d": "5"}})
    await world.until("demo", at_revision(5))
    assert await managers(world) == APPLIED | MERGED
    await world.release("demo", upgrade=DISABLED, values={"data": {"d": "6"}})
    await world.until("demo", at_revision(6))
    assert await data_of(world) == {"d": "6"}
    await world.release("demo", upgrade=ENABLED, values={"data": {"e": "7"}})
    await world.until("demo", at_revision(7))
    assert (await managers(world), await data_of(world)) == (APPLIED, {"e": "7"})
    assert await methods(world) == ["ssa", "ssa", "csa", "csa", "ssa"]


async def test_a_release_of_helm_becomes_an_applied_one_where_that_is_asked_for(
    world: World, namespace: str, archive: str
) -> None:
    values = ["--set", "data.a=old", "--set", "data.b=old"]
    world.helm.run("install", "demo", archive, "-n", namespace, "--server-side=false", *values)
    await world.release("demo", upgrade=ENABLED, values={"data": {"a": "new"}})
    await world.until("demo", at_revision(2))
    assert await data_of(world) == {"a": "new"}
    assert await managers(world) == APPLIED
    assert await managers(world, "same") == APPLIED
    assert await methods(world) == ["csa", "ssa"]


async def test_helm_acts_on_what_was_merged_without_any_force(world: World, namespace: str) -> None:
    await world.release("demo", install=INSTALL, values={"data": {"a": "1", "b": "1"}})
    await world.until("demo", ready)
    await world.release("demo", install=INSTALL, values={"data": {"a": "2", "c": "2"}})
    await world.until("demo", at_revision(2))
    told = world.helm.json("status", "demo", "-n", namespace)
    assert (told["version"], told["info"]["status"]) == (2, "deployed")
    manifest = world.helm.run("get", "manifest", "demo", "-n", namespace)
    assert 'c: "2"' in manifest
    await world.suspend("demo")
    world.helm.run("rollback", "demo", "1", "-n", namespace)
    assert await data_of(world) == {"a": "1", "b": "1"}
    assert await methods(world) == ["csa", "csa", "csa"]
    await world.suspend("demo", suspended=False)
    await world.until("demo", at_revision(4))
    assert await data_of(world) == {"a": "2", "c": "2"}
    await world.suspend("demo")
    world.helm.run("uninstall", "demo", "-n", namespace)
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "one")


async def test_what_is_merged_is_what_helm_itself_makes_of_it(
    world: World, namespace: str, tmp_path: Path
) -> None:
    beside = f"{namespace}-h"
    resource = Resource(GVK("", "v1", "Namespace"), "namespaces", is_namespaced=False)
    body = orjson.dumps({"metadata": {"name": beside}})
    await world.context.client.create(resource, "", body, manager="test")
    file = tmp_path / "rich.tgz"
    file.write_bytes(helmcharts.pack("demo", RICH))
    await world.push(file.read_bytes())
    off = "--server-side=false"
    world.helm.run("install", "demo", str(file), "-n", beside, off)
    waits = {"disableWait": True}
    await world.release("demo", install=INSTALL | waits, upgrade=waits)
    await world.until("demo", ready)
    deployments = await world.context.discovery.resource(GVK("apps", "v1", "Deployment"))
    for place in (namespace, beside):
        for of, name, change in (
            (deployments, "web", {"spec": {"replicas": 3}}),
            (CONFIG_MAPS, "one", {"data": {"kept": "by hand", "common": "by hand"}}),
        ):
            await world.context.client.patch(
                of, place, name, orjson.dumps(change), manager="somebody"
            )
    world.helm.run("upgrade", "demo", str(file), "-n", beside, off, "--set", "new=true")
    await world.release("demo", install=INSTALL | waits, upgrade=waits, values={"new": True})
    await world.until("demo", at_revision(2))
    for kind, name in MADE:
        ours, theirs = [await world.live(kind, name, each) for each in (namespace, beside)]
        assert comparable(ours) == comparable(theirs)
    on = ("--server-side=true", "--force-conflicts")
    world.helm.run("upgrade", "demo", str(file), "-n", beside, *on, "--set", "new=false")
    await world.release("demo", upgrade=ENABLED | waits, values={"new": False})
    await world.until("demo", at_revision(3))
    for kind, name in MADE:
        ours, theirs = [await world.live(kind, name, each) for each in (namespace, beside)]
        assert comparable(ours)["content"] == comparable(theirs)["content"]
        found = [
            {(manager, operation) for manager, operation, _ in comparable(each)["fields"]}
            for each in (ours, theirs)
        ]
        assert found[0] == found[1]


def comparable(obj: dict[str, Any]) -> dict[str, Any]:
    """Return what two programs must agree on: content and ownership, but for names and owners."""
    own = (meta.HELM_OWNER_NAME, meta.HELM_OWNER_NAMESPACE)
    metadata = obj["metadata"]
    fields = []
    for entry in metadata["managedFields"]:
        for name in own:
            labels = entry["fieldsV1"].get("f:metadata", {}).get("f:labels", {})
            labels.pop(f"f:{name}", None)
        manager = {"helm": meta.HELM_MANAGER}.get(entry["manager"], entry["manager"])
        fields.append((manager, entry["operation"], entry["fieldsV1"]))
    content = {key: value for key, value in obj.items() if key not in {"metadata", "status"}}
    labels = {key: value for key, value in metadata["labels"].items() if key not in own}
    return {"content": content, "labels": labels, "fields": sorted(fields, key=str)}


async def test_a_rollback_is_written_as_its_own_field_says(world: World) -> None:
    spec: dict[str, Any] = {
        "install": INSTALL,
        "upgrade": {"remediation": {"remediateLastFailure": True}},
        "rollback": ENABLED,
    }
    await world.release("demo", **spec, values={"data": {"a": "1"}})
    await world.until("demo", ready)
    rule = {"apiVersion": "v1", "kind": "ConfigMap", "current": "true", "failed": "'b' in data"}
    values = {"data": {"a": "2", "b": "2"}}
    await world.release("demo", **spec, values=values, healthCheckExprs=[rule])
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert condition(item, meta.REMEDIATED)[:2] == ("True", "RollbackSucceeded")
    assert await methods(world) == ["csa", "csa", "ssa"]
    assert (await managers(world), await data_of(world)) == (APPLIED, {"a": "1"})


# Drift ------------------------------------------------------------------------------------------


async def test_drift_of_what_was_merged_is_put_back_by_plain_writes(
    world: World, namespace: str
) -> None:
    detection = {"mode": "enabled", "ignore": [{"paths": ["/data/free"]}]}
    values = {"data": {"a": "1", "free": "1"}}
    await world.release("demo", install=INSTALL, driftDetection=detection, values=values)
    item = await world.until("demo", ready)
    assert condition(item, meta.DRIFTED)[:2] == ("False", "NoDriftDetected")
    await edit(world, free="mine")
    await edit(world, a="edited", other="stays")
    await world.event("DriftCorrected", f"ConfigMap/{namespace}/one configured")
    await world.idle()
    assert await data_of(world) == {"a": "1", "free": "mine", "other": "stays"}
    assert await managers(world) == MERGED | {("somebody", "Update")}
    await world.context.client.delete(CONFIG_MAPS, namespace, "same")
    await world.event("DriftCorrected", f"ConfigMap/{namespace}/same created")
    assert await managers(world, "same") == MERGED
    await world.idle()
    before = world.requests()
    world.engine.wake(item.ref("test"), "interval")
    await world.idle()
    assert world.requests() == before
    assert world.history("demo") == [(1, "deployed")]


async def test_drift_of_what_was_merged_is_told_and_left(world: World) -> None:
    values = {"data": {"a": "1"}}
    await world.release("demo", install=INSTALL, driftDetection={"mode": "warn"}, values=values)
    await world.until("demo", ready)
    await edit(world, a="edited")
    await world.event("DriftDetected", 'data.a: "edited", wanted "1"')
    await world.until("demo", releaser.shows(meta.DRIFTED, "True"))
    assert await data_of(world) == {"a": "edited"}


async def test_drift_of_fields_that_helm_wrote_before_is_put_back(
    world: World, namespace: str, archive: str
) -> None:
    values = ["--set", "data.a=old"]
    world.helm.run("install", "demo", archive, "-n", namespace, "--server-side=false", *values)
    await world.release("demo", driftDetection={"mode": "enabled"}, values={"data": {"a": "new"}})
    await world.until("demo", at_revision(2))
    assert await methods(world) == ["csa", "csa"]
    assert ("helm", "Update") in await managers(world, "same")
    await edit(world, "same", k="edited")
    await world.event("DriftCorrected", f"ConfigMap/{namespace}/same configured")
    assert await data_of(world, "same") == {"k": "v"}


# Hooks and definitions --------------------------------------------------------------------------


async def test_a_hook_that_is_there_already_fails_as_with_helm(world: World) -> None:
    marks = "annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: hook-failed}"
    hook = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: hook, {marks}}}}}"
    await world.push(helmcharts.pack("demo", CHART | {"templates/hook.yaml": hook}))
    await world.release("demo", install=INSTALL)
    await world.until("demo", ready)
    await world.put("ConfigMap", "hook", mine="1")
    await world.release("demo", install=INSTALL, values={"data": {"a": "1"}})
    item = await world.until("demo", unready("UpgradeFailed"))
    assert 'configmaps "hook" already exists' in condition(item, meta.READY)[2]
    await world.release("demo", install=INSTALL, upgrade=ENABLED, values={"data": {"a": "2"}})
    await world.until("demo", at_revision(3))


async def test_definitions_are_created_and_replaced_only_where_that_is_asked_for(
    world: World, namespace: str
) -> None:
    kind = f"K{namespace.removeprefix('test-')}"
    plural = kind.lower()
    custom = f"{{apiVersion: example.com/v1, kind: {kind}, metadata: {{name: one}}}}"

    def files(text: str) -> dict[str, str]:
        definition = helmcharts.definition(kind, plural, text)
        return {"crds/a.yaml": definition, "templates/one.yaml": custom}

    gvk = GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    resource = await world.context.discovery.resource(gvk)

    async def described() -> str:
        found = await world.context.client.get(resource, "", f"{plural}.example.com")
        assert found["metadata"]["labels"][meta.HELM_OWNER_NAME] == "demo"
        return str(found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"])

    await world.push(helmcharts.pack("demo", files("first")))
    await world.release("demo", install=INSTALL)
    await world.until("demo", ready)
    assert await described() == "first"
    await world.push(helmcharts.pack("demo", files("second"), version="2.0.0"))
    await world.until("demo", at_revision(2))
    assert await described() == "first"
    await world.release("demo", upgrade={"crds": "CreateReplace"})
    await world.until("demo", ready)
    await world.push(helmcharts.pack("demo", files("third"), version="3.0.0"))
    await world.until("demo", at_revision(3))
    assert await described() == "third"
    await world.context.client.delete(resource, "", f"{plural}.example.com")
