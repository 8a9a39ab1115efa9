"""Releases that fail: what is told, what is undone, what is tried again, what is left untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from kube import errors
from kube.objects import GVK, Resource
from tests.support import helmcharts, releaser
from tests.support.releaser import at_revision, condition, ready, stalled, unready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")

GOOD = (
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: good}, data: {k: {{ .Values.k | quote }}}}"
)
JOBS = Resource(GVK("batch", "v1", "Job"), "jobs", is_namespaced=True)
JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  annotations: {{"helm.sh/hook": "{event}"}}
spec:
  managedBy: example.com/test
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: none.example.com/none}}]
"""


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        yield running


def chart(version: str = "1.0.0", **files: str) -> bytes:
    """Return a chart with a ConfigMap and more templates."""
    more = {f"templates/{name}.yaml": text for name, text in files.items()}
    return helmcharts.pack(
        "demo", {"values.yaml": "k: v\n", "templates/good.yaml": GOOD, **more}, version=version
    )


async def finish(world: World, job: str, outcome: str) -> None:
    """Let a Job end, as its controller would."""
    await until_job(world, job)
    now = "2026-01-01T00:00:00Z"
    types = (
        ("SuccessCriteriaMet", "Complete") if outcome == "Complete" else ("FailureTarget", "Failed")
    )
    status: dict[str, Any] = {
        "startTime": now,
        "conditions": [
            {"type": each, "status": "True", "lastTransitionTime": now, "message": "as it is"}
            for each in types
        ],
    }
    if outcome == "Complete":
        status["completionTime"] = now
    await world.patch(JOBS, job, {"status": status}, subresource="status")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        pytest.param(
            {"bad": "{{ .Values.missing.deep }}"},
            "demo/templates/bad.yaml:1:10",
            id="template error",
        ),
        pytest.param({"bad": '{{ required "name it" .Values.nothing }}'}, "name it", id="required"),
        pytest.param(
            {"bad": "{apiVersion: v1, kind: ConfigMap, metadata: {name: Bad_Name}}"},
            "Bad_Name",
            id="refused by the server",
        ),
        pytest.param(
            {"bad": "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {prots: []}}"},
            'Service/{ns}/s: unknown field "spec.prots"',
            id="unknown field",
        ),
        pytest.param(
            {"bad": "{apiVersion: example.com/v1, kind: Nothing, metadata: {name: thing}}"},
            'no matches for kind "Nothing"',
            id="unknown kind",
        ),
        pytest.param({"bad": "just: [text"}, "bad.yaml", id="no YAML"),
    ],
)
async def test_nothing_is_applied_of_what_cannot_be(
    world: World, namespace: str, files: dict[str, str], told: str
) -> None:
    await world.push(chart(**files))
    await world.release("demo")
    item = await world.until_shown("demo", unready("InstallFailed"))
    message = condition(item, meta.READY)[2]
    assert message.startswith(f"Helm install failed for release {namespace}/demo with chart demo@")
    assert told.replace("{ns}", namespace) in message
    assert condition(item, meta.STALLED) == ("", "", "")
    assert item.status.failures >= 1
    assert item.status.install_failures == 0
    assert item.status.history == ()
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "good")
    assert world.history("demo") == []
    found = await world.event("InstallFailed")
    assert found.severity == "error"


async def test_a_failed_install_stalls_without_retries(world: World, namespace: str) -> None:
    await world.push(chart(hook=JOB.format(name="before", event="pre-install")))
    await world.release("demo")
    await until_job(world, "before")
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "good")
    await finish(world, "before", "Failed")
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert condition(item, meta.STALLED)[2] == "Failed to install after 1 attempt(s)"
    ready_now = condition(item, meta.READY)
    assert ready_now[:2] == ("False", "InstallFailed")
    assert f"failed pre-install: hook Job/{namespace}/before" in ready_now[2]
    assert (item.status.failures, item.status.install_failures) == (1, 1)
    assert item.status.history[0].status == "failed"
    assert world.history("demo") == [(1, "failed")]
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "good")


async def test_a_failed_install_is_uninstalled_and_tried_again(world: World) -> None:
    await world.push(chart(hook=JOB.format(name="after", event="post-install")))
    await world.release("demo", install={"remediation": {"retries": 1}})
    await until_job(world, "after")
    assert await world.live("ConfigMap", "good")
    await finish(world, "after", "Failed")
    await world.event("UninstallSucceeded")
    await until_job(world, "after", active=True)
    await finish(world, "after", "Complete")
    item = await world.until("demo", ready)
    assert item.status.history[0].version == 1
    assert condition(item, meta.REMEDIATED) == ("", "", "")


async def test_a_failed_upgrade_is_rolled_back(world: World, namespace: str) -> None:
    await world.push(chart())
    await world.release("demo", values={"k": "one"}, upgrade={"remediation": {"retries": 1}})
    await world.until("demo", ready)
    await world.push(
        chart(
            "2.0.0",
            hook=JOB.format(name="x", event="post-upgrade"),
            new=GOOD.replace("good", "new"),
        )
    )
    for _ in range(2):
        await until_job(world, "x", active=True)
        assert await world.live("ConfigMap", "new")
        await finish(world, "x", "Failed")
    item = await world.until("demo", stalled("RetriesExceeded"))
    assert condition(item, meta.STALLED)[2] == "Failed to upgrade after 2 attempt(s)"
    assert condition(item, meta.REMEDIATED)[:2] == ("True", "RollbackSucceeded")
    assert condition(item, meta.READY)[:2] == ("False", "RollbackSucceeded")
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "new")
    assert world.history("demo") == [
        (1, "superseded"),
        (2, "failed"),
        (3, "superseded"),
        (4, "failed"),
        (5, "deployed"),
    ]
    assert (item.status.history[0].version, item.status.history[0].action) == (5, "rollback")
    told = [each.message for each in world.events if each.reason == "RollbackSucceeded"]
    assert told[0].startswith(f"Helm rollback to previous release {namespace}/demo.v1 with chart")


async def test_retry_on_failure_upgrades_again_and_never_undoes(world: World) -> None:
    strategy = {"name": "RetryOnFailure", "retryInterval": "1s"}
    await world.push(chart(hook=JOB.format(name="x", event="post-install,post-upgrade")))
    await world.release("demo", install={"strategy": strategy}, upgrade={"strategy": strategy})
    await until_job(world, "x")
    await finish(world, "x", "Failed")
    item = await world.until_shown("demo", lambda each: each.status.install_failures == 1)  # type: ignore[union-attr]
    await until_job(world, "x", active=True)
    assert await world.live("ConfigMap", "good")
    await finish(world, "x", "Complete")
    item = await world.until("demo", at_revision(2))
    assert (item.status.failures, item.status.install_failures) == (0, 0)
    assert world.history("demo") == [(1, "failed"), (2, "deployed")]


async def test_a_release_that_waits_gives_way_to_a_newer_one(world: World) -> None:
    await world.push(chart(hook=JOB.format(name="x", event="pre-install,pre-upgrade")))
    await world.release("demo")
    await until_job(world, "x")
    await world.push(chart("2.0.0"))
    item = await world.until("demo", at_revision(2))
    assert item.status.install_failures == 0
    assert item.status.history[0].chart_version.startswith("2.0.0")
    await world.event("HealthCheckCanceled")


async def test_hooks_run_in_the_order_of_their_weights(world: World, namespace: str) -> None:
    def hook(name: str, weight: int, policy: str = "") -> str:
        policies = f', "helm.sh/hook-delete-policy": "{policy}"' if policy else ""
        marks = f'"helm.sh/hook": pre-install, "helm.sh/hook-weight": "{weight}"{policies}'
        return JOB.format(name=name, event="x").replace('"helm.sh/hook": "x"', marks)

    await world.push(
        chart(
            first=hook("second", 5, "hook-succeeded"),
            other=hook("first", -5),
        )
    )
    await world.release("demo")
    await until_job(world, "first")
    with pytest.raises(errors.NotFound):
        await world.live("batch/v1/Job", "second")
    await finish(world, "first", "Complete")
    await until_job(world, "second")
    await finish(world, "second", "Complete")
    await world.until("demo", ready)
    assert await world.live("batch/v1/Job", "first")
    await world.until_gone("batch/v1/Job", "second")


@pytest.mark.parametrize("ignores", [False, True])
async def test_tests_decide_about_a_release(world: World, namespace: str, ignores: bool) -> None:
    await world.push(chart(a=JOB.format(name="works", event="test")))
    spec: dict[str, Any] = {"enable": True, "ignoreFailures": ignores}
    await world.release("demo", test=spec)
    await world.until_shown("demo", releaser.shows(meta.TEST_SUCCESS, "Unknown"))
    await until_job(world, "works")
    await finish(world, "works", "Failed")
    if ignores:
        item = await world.until("demo", ready)
        assert condition(item, meta.READY)[1] == "InstallSucceeded"
        assert item.status.failures == 0
    else:
        item = await world.until("demo", stalled("RetriesExceeded"))
        assert condition(item, meta.READY)[:2] == ("False", "TestFailed")
        assert item.status.install_failures == 1
    assert condition(item, meta.TEST_SUCCESS)[:2] == ("False", "TestFailed")
    assert item.status.history[0].test_hooks["works"].phase == "Failed"  # type: ignore[index]


async def test_tests_that_pass_are_told(world: World, namespace: str) -> None:
    marked = GOOD.replace(
        "metadata: {name: good}", "metadata: {name: t, annotations: {helm.sh/hook: test}}"
    )
    await world.push(chart(t=marked))
    await world.release("demo", test={"enable": True})
    item = await world.until("demo", ready)
    status, reason, text = condition(item, meta.READY)
    assert (status, reason) == ("True", "TestSucceeded")
    assert text.endswith(": 1 test hook completed successfully")


async def test_objects_of_others_are_refused_where_that_is_asked_for(world: World) -> None:
    await world.put("ConfigMap", "good", mine="1")
    await world.push(chart())
    await world.release("demo", install={"disableTakeOwnership": True})
    item = await world.until_shown("demo", unready("InstallFailed"))
    assert "cannot be imported into the current release" in condition(item, meta.READY)[2]
    assert (await world.live("ConfigMap", "good"))["data"] == {"mine": "1"}
    await world.release("demo", install={"disableTakeOwnership": False})
    await world.until("demo", ready)
    assert (await world.live("ConfigMap", "good"))["data"] == {"mine": "1", "k": "v"}


async def test_missing_values_and_charts_are_told(world: World, namespace: str) -> None:
    await world.release("demo", valuesFrom=[{"kind": "Secret", "name": "none"}])
    item = await world.until("demo", unready("ArtifactFailed"))
    assert "could not get Source object" in condition(item, meta.READY)[2]
    await world.push(chart())
    item = await world.until("demo", unready("ValuesError"))
    assert f"Secret chart values reference '{namespace}/none'" in condition(item, meta.READY)[2]
    await world.put("Secret", "none", **{"values.yaml": "k: late\n"})
    await world.until("demo", ready)
    assert (await world.live("ConfigMap", "good"))["data"] == {"k": "late"}


async def test_what_others_mend_is_tried_again(world: World, namespace: str) -> None:
    target = f"{namespace}-late"
    await world.push(chart())
    await world.release("demo", targetNamespace=target, releaseName="demo")
    item = await world.until_shown("demo", unready("InstallFailed"))
    assert f'namespaces "{target}" not found' in condition(item, meta.READY)[2]
    resource = Resource(GVK("", "v1", "Namespace"), "namespaces", is_namespaced=False)
    body = orjson.dumps({"metadata": {"name": target}})
    await world.context.client.create(resource, "", body, manager="somebody")
    await world.until("demo", ready)
    assert await world.live("ConfigMap", "good", target)


async def test_a_failing_hook_keeps_a_release_from_being_uninstalled(
    world: World, namespace: str
) -> None:
    await world.push(chart(hook=JOB.format(name="x", event="pre-delete")))
    await world.release("demo")
    await world.until("demo", ready)
    await world.delete("demo")
    await until_job(world, "x")
    await finish(world, "x", "Failed")
    found = await world.event("UninstallFailed")
    assert f"failed pre-delete: hook Job/{namespace}/x" in found.message
    assert await world.live("ConfigMap", "good")
    assert world.history("demo") == [(1, "uninstalling")]
    await until_job(world, "x", active=True)
    await finish(world, "x", "Complete")
    await world.until("demo", releaser.gone)
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "good")


async def test_a_remedy_that_did_not_end_is_taken_up_again(world: World) -> None:
    hook = JOB.format(name="x", event="post-install,post-upgrade")
    await world.push(chart(hook=hook))
    await world.release("demo", install={"remediation": {"retries": 2}})
    await until_job(world, "x")
    first = (await world.live("batch/v1/Job", "x"))["metadata"]["uid"]
    await world.engine.stop_kind(releaser.KIND)
    await releaser.lock(world, "demo", "uninstalling")
    world.engine.start_kind(releaser.KIND)
    await world.event("PendingRelease")
    await until_job(world, "x", other_than=first)
    await finish(world, "x", "Complete")
    item = await world.until("demo", ready)
    assert item.status.history[0].status == "deployed"


async def test_an_account_without_rights_changes_nothing(world: World, namespace: str) -> None:
    await world.push(chart())
    await world.release("demo", serviceAccountName="nobody")
    item = await world.until_shown("demo", releaser.shows(meta.READY, "False"))
    assert "forbidden" in condition(item, meta.READY)[2]
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "good")
    await world.delete("demo")
    await world.until("demo", releaser.gone)


async def until_job(world: World, name: str, *, active: bool = False, other_than: str = "") -> None:
    """Wait until there is a Job of this name, and if asked for one that has not ended."""

    async def is_there() -> bool:
        try:
            found = await world.live("batch/v1/Job", name)
        except errors.NotFound:
            return False
        has_ended = bool(found.get("status", {}).get("conditions"))
        return found["metadata"]["uid"] != other_than and not (active and has_ended)

    await world.holds_soon(is_there)
