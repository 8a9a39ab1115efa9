"""Releases without server-side apply: merged by helm, recorded, waited for and mended by us."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from kube import errors, references
from kube.objects import GVK
from tests.support import helmcharts, releaser
from tests.support.releaser import at_revision, condition, gone, ready, stalled, unready

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
metadata: {name: {{ .Values.name }}}
data:
{{- range $key, $value := .Values.data }}
  {{ $key }}: {{ $value | quote }}
{{- end }}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: {{ .Values.ip | default "None" }}
  selector: {app: web}
  ports: [{name: http, port: 80}]
"""
CHART = {
    "values.yaml": "name: one\ndata: {a: x}\n",
    "templates/map.yaml": MAP,
}
INSTALL = {"serverSideApply": False}
DISABLED = {"serverSideApply": "disabled"}
MERGED = {("helm-controller", "Update")}
APPLIED = {("helm-controller", "Apply")}


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        await running.push(helmcharts.pack("demo", CHART))
        yield running


def managers(obj: dict[str, Any]) -> set[tuple[str, str]]:
    return {(entry["manager"], entry["operation"]) for entry in obj["metadata"]["managedFields"]}


async def recorded(world: World) -> list[str]:
    """Return by which method each revision says that it was written, oldest first."""
    client, clock = world.context.client, world.context.clock
    storage = releaser.ReleaseStorage(client, world.namespace, clock, world.context.threads)
    return [record.apply_method for record in await storage.history("demo")]


async def edit(world: World, name: str = "one", **data: str | None) -> None:
    await world.patch(CONFIG_MAPS, name, {"data": data})


async def test_a_release_is_installed_upgraded_and_uninstalled(
    world: World, namespace: str
) -> None:
    await world.release("demo", install=INSTALL, values={"data": {"b": "y"}})
    item = await world.until("demo", ready)
    live = await world.live("ConfigMap", "one")
    assert live["data"] == {"a": "x", "b": "y"}
    assert live["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "Helm",
        meta.HELM_OWNER_NAME: "demo",
        meta.HELM_OWNER_NAMESPACE: namespace,
    }
    assert managers(live) == MERGED
    assert condition(item, meta.READY)[1] == "InstallSucceeded"
    await edit(world, other="stays")
    await world.release("demo", install=INSTALL, values={"data": {"c": "z"}})
    item = await world.until("demo", at_revision(2))
    live = await world.live("ConfigMap", "one")
    assert live["data"] == {"a": "x", "c": "z", "other": "stays"}
    assert managers(live) == MERGED | {("somebody", "Update")}
    assert await recorded(world) == ["csa", "csa"]
    assert world.history("demo") == [(1, "superseded"), (2, "deployed")]
    assert [each.action for each in item.status.history] == ["upgrade", ""]
    shown = world.helm.run("get", "values", "demo", "-n", namespace, "-o", "json")
    assert orjson.loads(shown) == {"data": {"c": "z"}}
    await world.delete("demo")
    await world.until("demo", gone)
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "one")
    assert world.history("demo") == []
