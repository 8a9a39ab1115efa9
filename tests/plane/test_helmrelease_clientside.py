"""Releases without server-side apply: merged by helm, recorded, waited for and mended by us."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from devcluster import processes
from kube import errors, references
from kube.helm.storage import ReleaseStorage
from kube.objects import GVK
from tests.support import helmcharts, helming, releaser
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
TWICE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - name: main
        image: none.example.com/none
        env: [{name: A, value: "1"}, {name: A, value: "2"}]
"""
MORE = MAP.replace("{{ .Values.name }}", "{{ .Values.name }}-more")
OBJECTS = 60
MANY = {
    "values.yaml": "text: old\n",
    "templates/many.yaml": """\
{{- range $number := until 60 }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ printf "m%03d" $number }}}
data: {text: {{ $.Values.text }}}
{{- end }}
""",
}
IP = "10.96.77.77"
CHART = {
    "values.yaml": "name: one\ndata: {a: x}\n",
    "templates/map.yaml": MAP,
}
INSTALL = {"serverSideApply": False}
MERGED = {("helm-controller", "Update")}


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
    storage = ReleaseStorage(client, world.namespace, clock, world.context.threads)
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


async def test_objects_that_left_the_chart_go_and_those_of_others_stay(world: World) -> None:
    two = "---\n" + MAP.replace("{{ .Values.name }}", "two")
    await world.push(helmcharts.pack("demo", CHART | {"templates/two.yaml": two}))
    await world.release("demo", install=INSTALL)
    await world.until("demo", ready)
    await world.push(helmcharts.pack("demo", CHART, version="2.0.0"))
    await world.until("demo", at_revision(2))
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "two")
    await edit(world, a="mine")
    mark = {"metadata": {"annotations": {meta.HELM_RELEASE_NAME: "another"}}}
    await world.patch(CONFIG_MAPS, "one", mark)
    await world.release("demo", install=INSTALL, values={"name": "three"})
    await world.until("demo", at_revision(3))
    assert (await world.live("ConfigMap", "one"))["data"]["a"] == "mine"
    assert await world.live("ConfigMap", "three")


async def test_what_the_server_would_not_apply_is_merged(world: World) -> None:
    await world.push(helmcharts.pack("demo", CHART | {"templates/twice.yaml": TWICE}))
    waits = {"disableWait": True}
    await world.release("demo", install=waits)
    item = await world.until_shown("demo", unready("InstallFailed"))
    assert 'duplicate entries for key [name="A"]' in condition(item, meta.READY)[2]
    await world.release("demo", install=waits | INSTALL)
    await world.until("demo", ready)
    live = await world.live("apps/v1/Deployment", "web")
    environment = live["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [each["value"] for each in environment] == ["1", "2"]


async def test_records_are_kept_apart_from_objects(world: World, namespace: str) -> None:
    target = f"{namespace}-t"
    spec = {
        "targetNamespace": target,
        "releaseName": "demo",
        "install": INSTALL | {"createNamespace": True},
    }
    await world.release("demo", **spec)
    await world.until("demo", ready)
    await world.release("demo", **spec, values={"data": {"a": "new"}})
    await world.until("demo", at_revision(2))
    assert (await world.live("ConfigMap", "one", target))["data"] == {"a": "new"}
    assert world.history("demo", target) == []
    assert world.history("demo") == [(1, "superseded"), (2, "deployed")]


async def test_old_revisions_are_deleted(world: World) -> None:
    for number in range(1, 5):
        await world.release(
            "demo", install=INSTALL, maxHistory=2, values={"data": {"a": str(number)}}
        )
        await world.until("demo", at_revision(number))
    assert world.history("demo") == [(3, "superseded"), (4, "deployed")]


# What fails -------------------------------------------------------------------------------------


async def test_an_unknown_kind_leaves_no_record(world: World, namespace: str) -> None:
    bad = "{apiVersion: example.com/v1, kind: Nothing, metadata: {name: thing}}"
    await world.push(helmcharts.pack("demo", CHART | {"templates/bad.yaml": bad}))
    await world.release("demo", install=INSTALL)
    item = await world.until_shown("demo", unready("InstallFailed"))
    message = condition(item, meta.READY)[2]
    assert message.startswith(f"Helm install failed for release {namespace}/demo with chart demo@")
    assert 'no matches for kind "Nothing"' in message
    assert item.status.install_failures == 0
    assert world.history("demo") == []
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "one")


@pytest.mark.parametrize("validates", [True, False])
async def test_an_unknown_field_is_dropped_as_by_helm_and_told(
    world: World, namespace: str, validates: bool
) -> None:
    bad = "{apiVersion: v1, kind: ConfigMap, metadata: {name: odd}, dta: {}}"
    await world.push(helmcharts.pack("demo", CHART | {"templates/bad.yaml": bad}))
    await world.release("demo", install=INSTALL | {"disableOpenAPIValidation": not validates})
    await world.until("demo", ready)
    assert "dta" not in await world.live("ConfigMap", "odd")
    found = await world.event("UnknownFields")
    assert found.message.endswith(f"ConfigMap/{namespace}/odd: dta")


async def test_objects_of_others_are_refused_where_that_is_asked_for(world: World) -> None:
    await world.put("ConfigMap", "one", mine="1")
    await world.release("demo", install=INSTALL | {"disableTakeOwnership": True})
    item = await world.until_shown("demo", unready("InstallFailed"))
    assert "cannot be imported into the current release" in condition(item, meta.READY)[2]
    assert world.history("demo") == []
    await world.release("demo", install=INSTALL)
    await world.until("demo", ready)
    assert (await world.live("ConfigMap", "one"))["data"] == {"a": "x", "mine": "1"}


async def test_an_account_without_rights_changes_nothing(world: World, namespace: str) -> None:
    await world.release("demo", install=INSTALL)
    await world.until("demo", ready)
    body = orjson.dumps(
        {
            "metadata": {"name": "records"},
            "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
            ],
        }
    )
    await make(world, "rbac.authorization.k8s.io/v1/Role", body)
    body = orjson.dumps(
        {
            "metadata": {"name": "records"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "records"},
            "subjects": [{"kind": "ServiceAccount", "name": "weak", "namespace": namespace}],
        }
    )
    await make(world, "rbac.authorization.k8s.io/v1/RoleBinding", body)
    values = {"data": {"a": "new"}}
    await world.release("demo", install=INSTALL, serviceAccountName="weak", values=values)
    item = await world.until_shown("demo", unready("UpgradeFailed"))
    assert "cannot patch resource" in condition(item, meta.READY)[2]
    assert (await world.live("ConfigMap", "one"))["data"] == {"a": "x"}


async def make(world: World, kind: str, body: bytes) -> None:
    group_version, _, kind = kind.rpartition("/")
    gvk = GVK.of({"apiVersion": group_version, "kind": kind})
    resource = await world.context.discovery.resource(gvk)
    await world.context.client.create(resource, world.namespace, body, manager="test")


@pytest.mark.parametrize(
    ("forces", "told"), [(False, 'cannot patch "web" with kind Service'), (True, "replace object")]
)
async def test_an_immutable_field_fails_the_release_and_counts(
    world: World, forces: bool, told: str
) -> None:
    await world.push(helmcharts.pack("demo", CHART | {"templates/web.yaml": SERVICE}))
    spec: dict[str, Any] = {"install": INSTALL, "upgrade": {"force": forces}}
    await world.release("demo", **spec)
    await world.until("demo", ready)
    await world.release("demo", **spec, values={"ip": IP, "data": {"a": "new"}})
    item = await world.until("demo", stalled("RetriesExceeded"))
    message = condition(item, meta.READY)[2]
    assert told in message
    assert "spec.clusterIP" in message
    assert item.status.upgrade_failures == 1
    assert world.history("demo") == [(1, "deployed"), (2, "failed")]
    await world.release("demo", **spec, values={"data": {"a": "newer"}})
    await world.until("demo", at_revision(3))
    assert (await world.live("ConfigMap", "one"))["data"] == {"a": "newer"}
    assert world.history("demo") == [(1, "superseded"), (2, "failed"), (3, "deployed")]


async def test_force_replaces_what_it_would_patch(world: World) -> None:
    spec: dict[str, Any] = {"install": INSTALL, "upgrade": {"force": True}}
    await world.release("demo", **spec)
    await world.until("demo", ready)
    uid = (await world.live("ConfigMap", "one"))["metadata"]["uid"]
    await edit(world, other="goes")
    await world.release("demo", **spec, values={"data": {"a": "new"}})
    await world.until("demo", at_revision(2))
    live = await world.live("ConfigMap", "one")
    assert live["data"] == {"a": "new"}
    assert live["metadata"]["uid"] == uid


async def test_a_failed_upgrade_is_rolled_back_by_helm(world: World) -> None:
    await world.push(helmcharts.pack("demo", CHART | {"templates/web.yaml": SERVICE}))
    remediation = {"retries": 0, "remediateLastFailure": True}
    spec: dict[str, Any] = {"install": INSTALL, "upgrade": {"remediation": remediation}}
    await world.release("demo", **spec)
    await world.until("demo", ready)
    values = {"ip": IP, "data": {"a": "new", "more": "1"}}
    await world.release("demo", **spec, values=values)
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert condition(item, meta.REMEDIATED)[:2] == ("True", "RollbackSucceeded")
    assert (await world.live("ConfigMap", "one"))["data"] == {"a": "x"}
    assert world.history("demo") == [(1, "superseded"), (2, "failed"), (3, "deployed")]
    assert await recorded(world) == ["csa", "csa", "csa"]


async def test_what_a_failed_upgrade_created_is_cleaned_up(world: World) -> None:
    await world.push(helmcharts.pack("demo", CHART | {"templates/web.yaml": SERVICE}))
    spec: dict[str, Any] = {"install": INSTALL, "upgrade": {"cleanupOnFail": True}}
    await world.release("demo", **spec)
    await world.until("demo", ready)
    new = MAP.replace("{{ .Values.name }}", "new")
    files = {"templates/new.yaml": new, "templates/web.yaml": SERVICE.replace("None", IP)}
    await world.push(helmcharts.pack("demo", CHART | files, version="2.0.0"))
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert condition(item, meta.READY)[1] == "UpgradeFailed"
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "new")
    assert await world.live("ConfigMap", "one")


# What ends in the middle ------------------------------------------------------------------------


async def test_a_helm_that_is_killed_fails_the_release_which_then_goes_on(world: World) -> None:
    await world.push(helmcharts.pack("demo", MANY))
    spec: dict[str, Any] = {"install": INSTALL, "upgrade": {"remediation": {"retries": 1}}}
    await world.release("demo", **spec)
    await world.until("demo", ready)
    await world.release("demo", **spec, values={"text": "new"})
    os.kill(await helm_at_work(world), signal.SIGKILL)
    await world.event("UpgradeFailed", "helm was killed by signal 9")
    item = await world.until("demo", at_revision(4))
    assert item.status.upgrade_failures == 1
    assert world.history("demo")[1:] == [(2, "failed"), (3, "superseded"), (4, "deployed")]
    assert (await world.live("ConfigMap", f"m{OBJECTS - 1:03}"))["data"] == {"text": "new"}


async def test_a_daemon_that_ends_takes_its_helm_along_and_the_next_one_goes_on(
    world: World,
) -> None:
    await world.push(helmcharts.pack("demo", MANY))
    await world.release("demo", install=INSTALL)
    await world.until("demo", ready)
    await world.release("demo", install=INSTALL, values={"text": "new"})
    pid = await helm_at_work(world)
    await world.engine.stop_kind(releaser.KIND)
    assert pid not in await helms(world)
    assert world.history("demo")[-1] == (2, "pending-upgrade")
    world.engine.start_kind(releaser.KIND)
    await world.until("demo", at_revision(3))
    assert (await world.live("ConfigMap", f"m{OBJECTS - 1:03}"))["data"] == {"text": "new"}
    assert world.history("demo") == [(1, "superseded"), (2, "failed"), (3, "deployed")]


async def test_ends_at_any_moment_leave_one_release_and_no_orphan(world: World) -> None:
    await world.push(helmcharts.pack("demo", CHART | {"templates/more.yaml": MORE}))
    rng = random.Random(3)
    for number in range(11):
        values = {"name": f"n{number % 3}", "data": {"a": str(number)}}
        await world.release("demo", install=INSTALL, values=values)
        await world.ended_after(rng.randrange(1, 45))
    await world.until("demo", ready)
    assert any(each.reason == "PendingRelease" for each in world.events), "nothing was hit"
    left = [
        obj["metadata"]["name"]
        for obj in await releaser.listed(world, "configmaps", f"{meta.HELM_OWNER_NAME}=demo")
    ]
    assert sorted(left) == ["n1", "n1-more"]
    assert (await world.live("ConfigMap", "n1-more"))["data"] == {"a": "10"}
    statuses = [status for _, status in world.history("demo")]
    assert statuses.count("deployed") == 1
    assert statuses[-1] == "deployed"
    assert set(await recorded(world)) == {"csa"}


async def helm_at_work(world: World) -> int:
    """Return the process of a helm that has merged the first of many objects."""

    async def has_begun() -> bool:
        return bool((await world.live("ConfigMap", "m000"))["data"] == {"text": "new"})

    await world.holds_soon(has_begun)
    (found,) = await helms(world)
    return found


async def helms(world: World) -> list[int]:
    """Return the processes of helm that this one has started."""
    started = await world.context.threads.run(processes.children, os.getpid())
    return [pid for pid, name in started.items() if name == helming.helm_program().name]
