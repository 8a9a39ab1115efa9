"""Fields of a HelmRelease that no other test is about: what each of them brings about."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml

from api import meta
from api.charts import HelmChart
from api.external import ExternalArtifact
from api.oci import OCIRepository
from kube import errors, references
from kube.objects import GVK, Resource
from tests.support import helmcharts, reconciling, releaser
from tests.support.releaser import at_revision, condition, gone, ready, stalled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")

CONFIG_MAPS = references.RESOURCES[references.CONFIG_MAP]
JOBS = Resource(GVK("batch", "v1", "Job"), "jobs", is_namespaced=True)
JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: %s
  annotations: {%s}
spec:
  managedBy: example.com/test
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: none.example.com/none}]
"""
OWN = "{apiVersion: v1, kind: ConfigMap, metadata: {name: {{ .Values.text }}}}"
TEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: %s, annotations: {helm.sh/hook: test}}
"""


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        await running.push(helmcharts.pack("demo"))
        yield running


def job(name: str, event: str = "") -> str:
    return JOB % (name, f'"helm.sh/hook": "{event}"' if event else "")


async def push(world: World, version: str = "1.0.0", **templates: str) -> None:
    files = {f"templates/{name}.yaml": text for name, text in templates.items()}
    await world.push(helmcharts.pack("demo", helmcharts.DEMO | files, version=version))


async def fail(world: World, name: str) -> None:
    """Let a Job fail, as its controller would."""

    async def is_open() -> bool:
        try:
            found = await world.live("batch/v1/Job", name)
        except errors.NotFound:
            return False
        return not found.get("status", {}).get("conditions")

    await world.holds_soon(is_open)
    now = "2026-01-01T00:00:00Z"
    told = [
        {"type": each, "status": "True", "lastTransitionTime": now, "message": "as it is"}
        for each in ("FailureTarget", "Failed")
    ]
    status = {"status": {"startTime": now, "conditions": told}}
    await world.patch(JOBS, name, status, subresource="status")


# Where a chart comes from -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (
            HelmChart,
            {
                "chart": "demo",
                "interval": "1h",
                "sourceRef": {"kind": "GitRepository", "name": "none"},
            },
        ),
        (ExternalArtifact, {}),
    ],
)
async def test_a_chart_comes_from_any_kind_that_offers_one(
    world: World, kind: Any, spec: dict[str, Any]
) -> None:
    source = reconciling.resource_of(OCIRepository)
    offered = await world.context.client.get(source, world.namespace, releaser.CHART)
    resource = reconciling.resource_of(kind)
    await world.apply(resource, "other", spec)
    ready_now = {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "made",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    artifact = offered["status"]["artifact"]
    status: dict[str, Any] = {"artifact": artifact, "conditions": [ready_now]}
    if kind is HelmChart:
        status["observedGeneration"] = 1
    await world.patch(resource, "other", {"status": status}, subresource="status")
    await world.release("demo", chartRef={"kind": kind.KIND, "name": "other"})
    await world.until("demo", ready)
    assert (await world.live("ConfigMap", "demo"))["data"]["text"] == "default"


async def test_a_made_chart_object_has_everything_that_its_template_says(world: World) -> None:
    source = {"kind": "HelmRepository", "name": "repo"}
    spec = {
        "chart": "demo",
        "version": ">1",
        "sourceRef": source,
        "interval": "7m",
        "reconcileStrategy": "Revision",
        "valuesFiles": ["a.yaml"],
        "ignoreMissingValuesFiles": True,
        "verify": {"provider": "cosign", "secretRef": {"name": "keys"}},
    }
    marks = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    await world.release("demo", chart={"metadata": marks, "spec": spec}, chartRef=None)
    await world.until("demo", releaser.unready("SourceNotReady"))
    name = f"{world.namespace}-demo"
    resource = reconciling.resource_of(HelmChart)
    made = await world.context.client.get(resource, world.namespace, name)
    assert made["spec"] == spec | {"interval": "7m0s"}
    assert made["metadata"]["labels"]["team"] == "a"
    assert made["metadata"]["annotations"] == {"note": "b"}


# Where a release is -----------------------------------------------------------------------------


async def test_records_are_kept_in_the_namespace_that_is_named(
    world: World, namespace: str
) -> None:
    records = f"{namespace}-r"
    resource = Resource(GVK("", "v1", "Namespace"), "namespaces", is_namespaced=False)
    body = orjson.dumps({"metadata": {"name": records}})
    await world.context.client.create(resource, "", body, manager="test")
    await world.release("demo", storageNamespace=records)
    item = await world.until("demo", ready)
    assert item.status.storage_namespace == records
    assert world.history("demo", records) == [(1, "deployed")]
    assert world.history("demo") == []
    await world.release("demo")
    item = await world.until("demo", lambda each: ready(each) and bool(world.history("demo")))
    assert item.status.storage_namespace == namespace
    assert world.history("demo", records) == []
    await world.delete("demo")
    await world.until("demo", gone)
    assert world.history("demo") == []


async def test_a_config_map_tells_the_way_to_another_cluster(
    world: World, cluster: Access, namespace: str
) -> None:
    there = yaml.safe_load(await world.context.threads.run(cluster.kubeconfig.read_text))
    server = there["clusters"][0]["cluster"]
    told = await world.context.client.get_raw("/.well-known/openid-configuration")
    way = {
        "provider": "generic",
        "address": server["server"],
        "ca.crt": base64.b64decode(server["certificate-authority-data"]).decode(),
        "serviceAccountName": "deployer",
        "audiences": orjson.loads(told)["issuer"],
    }
    await world.put("ConfigMap", "way", **way)
    await world.release("demo", kubeConfig={"configMapRef": {"name": "way"}})
    await world.until_shown("demo", releaser.shows(meta.READY, "False"))
    for arguments in (
        ("serviceaccount", "deployer"),
        (
            *("rolebinding", "deployer", "--clusterrole=cluster-admin"),
            f"--serviceaccount={namespace}:deployer",
        ),
    ):
        await world.context.threads.run(
            cluster.kubectl, "create", *arguments, "--namespace", namespace
        )
    await world.annotate("demo", requestedAt="now")
    await world.until("demo", ready)
    assert world.history("demo") == [(1, "deployed")]


# How an action is carried out -------------------------------------------------------------------


async def test_hooks_are_left_out_where_that_is_asked_for(world: World) -> None:
    events = "pre-install,post-upgrade,pre-delete"
    await push(world, hook=job("hook", events))
    none = {"disableHooks": True}
    spec = {"install": none, "upgrade": none, "uninstall": none}
    await world.release("demo", **spec)
    await world.until("demo", ready)
    await world.release("demo", **spec, values={"text": "new"})
    await world.until("demo", at_revision(2))
    await world.delete("demo")
    await world.until("demo", gone)
    with pytest.raises(errors.NotFound):
        await world.live("batch/v1/Job", "hook")


async def test_jobs_are_not_waited_for_where_that_is_asked_for(world: World) -> None:
    await push(world, work=job("work"))
    await world.release("demo", timeout="1s")
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert "Job/" in condition(item, meta.READY)[2]
    await world.release("demo", timeout="1s", upgrade={"disableWaitForJobs": True})
    await world.until("demo", at_revision(2))


async def test_the_legacy_strategy_waits_for_few_kinds(world: World) -> None:
    rule = {"apiVersion": "v1", "kind": "ConfigMap", "current": "true", "failed": "true"}
    spec: dict[str, Any] = {"healthCheckExprs": [rule], "timeout": "2s"}
    await world.release("demo", **spec, waitStrategy={"name": "poller"})
    await world.until("demo", stalled("RetriesExceeded"))
    await world.release("demo", **spec, waitStrategy={"name": "legacy"})
    await world.until("demo", at_revision(2))


async def test_hooks_of_custom_kinds_are_waited_for_by_their_expressions(world: World) -> None:
    marks = 'annotations: {helm.sh/hook: "pre-install,test"}'
    hook = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: hook, {marks}}}}}"
    await push(world, hook=hook)
    rule = {"apiVersion": "v1", "kind": "ConfigMap", "current": "data.is == 'done'"}
    spec: dict[str, Any] = {"healthCheckExprs": [rule], "install": {"disableWait": True}}
    await world.release("demo", **spec, test={"enable": True})
    for _ in ("pre-install", "test"):
        await world.holds_soon(lambda: is_unfinished(world, "hook"))
        await world.patch(CONFIG_MAPS, "hook", {"data": {"is": "done"}})
    item = await world.until("demo", ready)
    assert condition(item, meta.READY)[1] == "TestSucceeded"


async def is_unfinished(world: World, name: str) -> bool:
    try:
        return "data" not in await world.live("ConfigMap", name)
    except errors.NotFound:
        return False


async def test_what_a_failed_upgrade_created_is_deleted_where_that_is_asked_for(
    world: World,
) -> None:
    await world.release("demo", upgrade={"cleanupOnFail": True})
    await world.until("demo", ready)
    new = "{apiVersion: v1, kind: ConfigMap, metadata: {name: new}}"
    await push(world, "2.0.0", new=new, hook=job("hook", "post-upgrade"))
    await fail(world, "hook")
    await world.until("demo", stalled("RetriesExceeded"))
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "new")
    assert await world.live("ConfigMap", "demo")


@pytest.mark.parametrize("install", [{}, {"serverSideApply": False}])
async def test_an_upgrade_leaves_objects_to_others_where_that_is_asked_for(
    world: World, install: dict[str, Any]
) -> None:
    await world.release("demo", install=install, upgrade={"disableTakeOwnership": True})
    await world.until("demo", ready)
    await world.put("ConfigMap", "new", mine="1")
    new = "{apiVersion: v1, kind: ConfigMap, metadata: {name: new}, data: {k: v}}"
    await push(world, "2.0.0", new=new)
    item = await world.until_shown("demo", releaser.unready("UpgradeFailed"))
    assert "cannot be imported into the current release" in condition(item, meta.READY)[2]
    assert (await world.live("ConfigMap", "new"))["data"] == {"mine": "1"}
    assert world.history("demo") == [(1, "deployed")]
    await world.release("demo", install=install)
    await world.until("demo", at_revision(2))
    assert (await world.live("ConfigMap", "new"))["data"] == {"k": "v", "mine": "1"}


async def test_what_several_ended_runs_made_is_found_again(world: World) -> None:
    await push(world, own=OWN)
    await world.release("demo", values={"text": "one"})
    await world.until("demo", ready)
    await push(world, "2.0.0", own=OWN, hook=job("hook", "post-upgrade"))
    for text in ("two", "three", "four"):
        await world.engine.stop_kind(releaser.KIND)
        await world.release("demo", values={"text": text})
        world.engine.start_kind(releaser.KIND)
        await world.holds_soon(partial(is_there, world, text))
    await world.engine.stop_kind(releaser.KIND)
    await push(world, "3.0.0", own=OWN)
    world.engine.start_kind(releaser.KIND)
    await world.until("demo", ready)
    found = await releaser.listed(world, "configmaps", f"{meta.HELM_OWNER_NAME}=demo")
    assert {each["metadata"]["name"] for each in found} == {"demo", "four"}


async def is_there(world: World, name: str) -> bool:
    try:
        await world.live("ConfigMap", name)
    except errors.NotFound:
        return False
    return True


async def test_a_failed_upgrade_is_uninstalled_where_that_is_asked_for(world: World) -> None:
    remediation = {"strategy": "uninstall", "retries": 1}
    await world.release("demo", upgrade={"remediation": remediation})
    await world.until("demo", ready)
    await push(world, "2.0.0", hook=job("hook", "post-upgrade"))
    await fail(world, "hook")
    await world.event("UninstallSucceeded")
    item = await world.until("demo", ready)
    assert (item.status.history[0].version, item.status.history[0].action) == (1, "install")
    assert item.status.history[0].chart_version.startswith("2.0.0")


@pytest.mark.parametrize("mark", ["resetAt", "forceAt"])
async def test_a_release_without_attempts_left_is_tried_again_when_that_is_asked_for(
    world: World, mark: str
) -> None:
    rule = {"apiVersion": "v1", "kind": "ConfigMap", "current": "true", "failed": "true"}
    await world.release("demo", healthCheckExprs=[rule])
    await world.until("demo", stalled("RetriesExceeded"))
    await world.annotate("demo", requestedAt="1")
    await world.until("demo", lambda each: each.status.last_handled_reconcile_at == "1")  # type: ignore[union-attr]
    assert world.history("demo") == [(1, "failed")]
    await world.annotate("demo", requestedAt="2", **{mark: "2"})
    item = await world.until("demo", lambda each: each.status.last_handled_reconcile_at == "2")  # type: ignore[union-attr]
    assert world.history("demo") == [(1, "failed"), (2, "failed")]
    assert item.status.upgrade_failures == 1
    handled = (item.status.last_handled_reset_at, item.status.last_handled_force_at)
    assert handled == (("2", "") if mark == "resetAt" else ("", "2"))


async def test_only_the_chosen_tests_run(world: World) -> None:
    await push(world, **{name: TEST % name for name in ("one", "two", "three")})
    filters = [{"name": "one"}, {"name": "two"}, {"name": "two", "exclude": True}]
    await world.release("demo", test={"enable": True, "filters": filters})
    item = await world.until("demo", ready)
    assert set(item.status.history[0].test_hooks or {}) == {"one"}
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "two")


@pytest.mark.parametrize("propagation", ["foreground", "orphan", "background"])
async def test_dependents_are_treated_as_the_uninstall_says(
    world: World, namespace: str, propagation: str
) -> None:
    await world.release("demo", uninstall={"deletionPropagation": propagation})
    await world.until("demo", ready)
    owner = await world.live("ConfigMap", "demo")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "demo"}
    metadata = {
        "name": "dependent",
        "ownerReferences": [
            reference | {"uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}
        ],
        "finalizers": ["example.com/hold"],
    }
    body = orjson.dumps({"metadata": metadata})
    await world.context.client.create(CONFIG_MAPS, namespace, body, manager="test")
    await world.delete("demo")
    if propagation == "foreground":  # the owner stays for as long as its dependent does

        async def is_held() -> bool:
            found = (await world.live("ConfigMap", "demo"))["metadata"]
            return "foregroundDeletion" in found.get("finalizers", [])

        await world.holds_soon(is_held)
        assert world.get("demo") is not None
    elif propagation == "orphan":
        await world.until("demo", gone)
        found = await world.live("ConfigMap", "dependent")
        assert "ownerReferences" not in found["metadata"]
        assert "deletionTimestamp" not in found["metadata"]
    else:
        await world.until("demo", gone)
    await world.patch(CONFIG_MAPS, "dependent", {"metadata": {"finalizers": None}})
    await world.until("demo", gone)
    if propagation != "orphan":
        await world.until_gone("ConfigMap", "dependent")


async def test_fields_that_mean_nothing_here_change_nothing(world: World) -> None:
    upgrade = {"force": True, "remediation": {"remediateLastFailure": True}}
    spec = {
        "persistentClient": False,
        "upgrade": upgrade,
        "rollback": {"recreate": True, "force": True},
    }
    await world.release("demo", **spec)
    await world.until("demo", ready)
    uid = (await world.live("ConfigMap", "demo"))["metadata"]["uid"]
    await push(world, "2.0.0", hook=job("hook", "post-upgrade"))
    await fail(world, "hook")
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert condition(item, meta.REMEDIATED)[:2] == ("True", "RollbackSucceeded")
    assert (await world.live("ConfigMap", "demo"))["metadata"]["uid"] == uid
