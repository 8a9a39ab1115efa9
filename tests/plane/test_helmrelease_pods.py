"""Hooks and tests whose pods really run, as far as pods on paper do, and have logs."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from devcluster import podlogs
from devcluster.cluster import Cluster
from kube import errors
from tests.support import helmcharts, releaser
from tests.support.releaser import at_revision, condition, ready, stalled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")

HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: hook
  annotations: {{helm.sh/hook: "{event}", helm.sh/hook-delete-policy: "{policy}"}}
spec:
  backoffLimit: 0
  template:
    metadata: {{annotations: {{devcluster/phase: "{phase}"}}}}
    spec:
      restartPolicy: Never
      containers:
      - {{name: sidecar, image: none.example.com/none}}
      - {{name: main, image: none.example.com/none}}
"""
TEST = """\
apiVersion: v1
kind: Pod
metadata:
  name: test
  annotations: {{helm.sh/hook: test, devcluster/phase: "{phase}"}}
spec:
  restartPolicy: Never
  containers: [{{name: main, image: none.example.com/none}}]
"""
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, annotations: {{devcluster/phase: "{phase}"}}}}
    spec:
      containers: [{{name: main, image: none.example.com/none}}]
"""
SUCCEEDS, FAILS, HANGS, STARTS_NOT = "", "Failed", "Running", "Pending"


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane with a node on paper."""
    with Cluster(tmp_path_factory.mktemp("peopled"), pods=True) as started:
        yield started


@pytest.fixture
async def world(peopled: Cluster, tmp_path: Path) -> AsyncIterator[World]:
    namespace = f"test-{uuid.uuid4().hex[:10]}"
    peopled.kubectl("create", "namespace", namespace)
    peopled.kubectl("wait", "serviceaccount/default", "-n", namespace, "--for=create")
    async with releaser.running(peopled, tmp_path, namespace) as running:
        yield running


def chart(version: str = "1.0.0", **templates: str) -> bytes:
    files = {f"templates/{name}.yaml": text for name, text in templates.items()}
    return helmcharts.pack("demo", files, version=version)


def hook(phase: str, *, event: str = "pre-install", policy: str = "before-hook-creation") -> str:
    return HOOK.format(event=event, policy=policy, phase=phase)


async def test_a_failed_hook_is_told_with_the_last_lines_of_its_log(
    world: World, peopled: Cluster
) -> None:
    podlogs.write(peopled.directory, [f"line {number}" for number in range(1, 25)])
    policy = "before-hook-creation,hook-failed"
    await world.push(chart(hook=hook(FAILS, policy=policy)))
    await world.release("demo")
    item = await world.until("demo", stalled("RetriesExceeded"))
    status, reason, message = condition(item, meta.READY)
    assert (status, reason) == ("False", "InstallFailed")
    told, _, log = message.partition("\n\nLast lines of its log:\n\n")
    assert f"failed pre-install: hook Job/{world.namespace}/hook: " in told
    assert log.splitlines()[:10] == [f"line {number}" for number in range(15, 25)]
    assert (await world.event("InstallFailed")).message.count("line 24") == 1
    with pytest.raises(errors.NotFound):
        await world.live("batch/v1/Job", "hook")


async def test_a_log_of_long_lines_is_told_with_its_end(world: World, peopled: Cluster) -> None:
    podlogs.write(peopled.directory, ["x" * 3000, "y" * 3000, "at last: no such table"])
    await world.push(chart(hook=hook(FAILS)))
    await world.release("demo")
    item = await world.until("demo", stalled("RetriesExceeded"))
    message = condition(item, meta.READY)[2]
    assert message.endswith("at last: no such table")
    assert "y" * 3000 in message
    assert "x" * 3000 not in message


async def test_a_hook_that_hangs_is_told_with_its_log_when_its_time_is_up(
    world: World, peopled: Cluster
) -> None:
    podlogs.write(peopled.directory, ["waiting for the database"])
    podlogs.write(peopled.directory, ["proxy is up"], container=podlogs.SIDECAR)
    await world.push(
        chart(hook=hook(HANGS).replace("- {name: sidecar, image: none.example.com/none}\n", ""))
    )
    await world.release("demo", install={"timeout": "2s"})
    item = await world.until("demo", stalled("RetriesExceeded"))
    message = condition(item, meta.READY)[2]
    assert f"failed pre-install: hook Job/{world.namespace}/hook: timeout" in message
    assert message.endswith("waiting for the database")
    assert world.history("demo") == [(1, "failed")]


async def test_a_hook_may_fail_once_and_is_tried_again(world: World) -> None:
    await world.push(chart(hook=hook(FAILS, event="post-install")))
    await world.release("demo", install={"remediation": {"retries": 3}})
    await world.event("InstallFailed")
    await world.push(chart("1.0.1", hook=hook(SUCCEEDS, event="post-install")))
    item = await world.until("demo", ready)
    assert item.status.history[0].chart_version.startswith("1.0.1+")
    assert condition(item, meta.REMEDIATED) == ("", "", "")


@pytest.mark.parametrize(("phase", "reason"), [(SUCCEEDS, "TestSucceeded"), (FAILS, "TestFailed")])
async def test_pods_that_test_a_release_decide_about_it(
    world: World, peopled: Cluster, phase: str, reason: str
) -> None:
    podlogs.write(peopled.directory, ["expected 200, got 503"])
    await world.push(chart(web=WEB.format(phase=""), test=TEST.format(phase=phase)))
    await world.release("demo", test={"enable": True})
    item = await world.until("demo", ready if phase is SUCCEEDS else stalled("RetriesExceeded"))
    message = condition(item, meta.TEST_SUCCESS)[2]
    assert condition(item, meta.TEST_SUCCESS)[1] == reason
    assert ("expected 200, got 503" in message) is (phase is FAILS)
    assert item.status.history[0].test_hooks["test"].phase == (phase or "Succeeded")  # type: ignore[index]


REMEDIES: list[Any] = [
    pytest.param({"remediation": {"retries": 1}}, "RollbackSucceeded", "", id="rollback"),
    pytest.param(
        {"remediation": {"retries": 1, "strategy": "uninstall"}}, "UninstallSucceeded", None,
        id="uninstall",
    ),
    pytest.param({}, "UpgradeFailed", STARTS_NOT, id="none"),
]  # fmt: skip


@pytest.mark.parametrize(("upgrade", "reason", "phase"), REMEDIES)
async def test_pods_that_never_start_fail_an_upgrade_that_is_remedied(
    world: World, upgrade: dict[str, Any], reason: str, phase: str | None
) -> None:
    before_rollback = hook(SUCCEEDS, event="pre-rollback")
    await world.push(chart(web=WEB.format(phase=""), hook=before_rollback))
    await world.release("demo")
    await world.until("demo", ready)
    await world.release("demo", upgrade={"timeout": "3s", **upgrade})
    await world.until("demo", ready)
    await world.push(chart("2.0.0", web=WEB.format(phase=STARTS_NOT)))
    await world.event("UpgradeFailed", "Deployment")
    found = await world.event(reason)
    assert found.severity == ("error" if reason == "UpgradeFailed" else "info")
    if phase is None:
        await world.until_gone("apps/v1/Deployment", "web")
        return
    item = await world.until("demo", stalled("RetriesExceeded"))
    if reason == "RollbackSucceeded":
        job = await world.live("batch/v1/Job", "hook")
        assert job["status"]["succeeded"] == 1
    template = (await world.live("apps/v1/Deployment", "web"))["spec"]["template"]
    assert template["metadata"]["annotations"]["devcluster/phase"] == phase
    await world.push(chart("3.0.0", web=WEB.format(phase="")))
    await world.until("demo", at_revision(item.status.history[0].version + 1))


async def test_hooks_of_one_name_are_told_apart_by_their_kinds(world: World) -> None:
    account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: hook, annotations: "
    never = "{apiVersion: v1, kind: ConfigMap, metadata: {name: hook, annotations: "
    early = '{helm.sh/hook: pre-install, helm.sh/hook-weight: "-1"}}}'
    late = '{helm.sh/hook: pre-install, helm.sh/hook-weight: "1"}}}'
    await world.push(chart(hook=hook(FAILS), account=account + early, never=never + late))
    await world.release("demo")
    await world.until("demo", stalled("RetriesExceeded"))
    found = world.helm.json("status", "demo", "-n", world.namespace)["hooks"]
    assert {each["kind"]: each["last_run"].get("phase", "") for each in found} == {
        "ServiceAccount": "Succeeded",
        "Job": "Failed",
        "ConfigMap": "",
    }
