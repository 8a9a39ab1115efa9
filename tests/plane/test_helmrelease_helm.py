"""A release belongs to Helm: helm acts on what the daemon wrote, and the other way round."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from kube import errors
from tests.support import helmcharts, helming, releaser
from tests.support.releaser import at_revision, condition, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")
CHART = helmcharts.pack("demo")
FORCE = ("--server-side=true", "--force-conflicts")


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        await running.push(CHART)
        yield running


@pytest.fixture
def archive(tmp_path: Path) -> str:
    file = tmp_path / "demo.tgz"
    file.write_bytes(CHART)
    return str(file)


def managers(obj: dict[str, Any]) -> set[tuple[str, str]]:
    return {(entry["manager"], entry["operation"]) for entry in obj["metadata"]["managedFields"]}


@pytest.mark.parametrize(
    ("side", "written"),
    [
        ("--server-side=true", {("helm-controller", "Apply")}),
        ("--server-side=false", {("helm-controller", "Update"), ("helm", "Update")}),
    ],
)
async def test_a_release_of_helm_is_adopted_with_all_its_fields(
    world: World, namespace: str, archive: str, side: str, written: set[tuple[str, str]]
) -> None:
    values = ["--set", "text=old", "--set", "extra=1"]
    world.helm.run("install", "demo", archive, "-n", namespace, side, *values)
    await world.release("demo", values={"text": "new"})
    item = await world.until("demo", at_revision(2))
    assert [each.version for each in item.status.history] == [2]
    live = await world.live("ConfigMap", "demo")
    assert live["data"] == {"text": "new", "revision": "2"}
    assert managers(live) == written
    assert world.history("demo") == [(1, "superseded"), (2, "deployed")]


async def test_what_helm_changes_behind_our_back_is_brought_back(
    world: World, namespace: str, archive: str
) -> None:
    await world.release("demo", values={"text": "ours"})
    await world.until("demo", ready)
    world.helm.run("upgrade", "demo", archive, "-n", namespace, "--set", "text=theirs", *FORCE)
    await world.until("demo", at_revision(3))
    live = await world.live("ConfigMap", "demo")
    assert live["data"] == {"text": "ours", "revision": "3"}
    assert managers(live) == {("helm-controller", "Apply")}
    assert world.history("demo") == [(1, "superseded"), (2, "superseded"), (3, "deployed")]


async def test_helm_rolls_back_what_we_released_with_forced_conflicts_alone(
    world: World, namespace: str
) -> None:
    await world.release("demo", values={"text": "one"})
    await world.until("demo", ready)
    await world.release("demo", values={"text": "two"})
    await world.until("demo", at_revision(2))
    await world.suspend("demo")
    refused = world.helm.attempt("rollback", "demo", "1", "-n", namespace)
    assert refused.returncode != 0
    assert "conflict" in refused.stderr
    world.helm.run("rollback", "demo", "1", "-n", namespace, *FORCE)
    assert (await world.live("ConfigMap", "demo"))["data"]["text"] == "one"
    await world.suspend("demo", suspended=False)
    await world.until("demo", lambda item: ready(item) and item.status.history[0].version > 3)  # type: ignore[union-attr]
    assert (await world.live("ConfigMap", "demo"))["data"]["text"] == "two"


async def test_what_helm_uninstalls_is_installed_again(world: World, namespace: str) -> None:
    await world.release("demo")
    item = await world.until("demo", ready)
    uid = (await world.live("ConfigMap", "demo"))["metadata"]["uid"]
    world.helm.run("uninstall", "demo", "-n", namespace)

    async def is_back() -> bool:
        try:
            return bool((await world.live("ConfigMap", "demo"))["metadata"]["uid"] != uid)
        except errors.NotFound:
            return False

    await world.holds_soon(is_back)
    item = await world.until("demo", ready)
    assert item.status.history[0].action == "install"
    assert world.history("demo") == [(1, "deployed")]


async def test_a_release_that_helm_is_at_work_on_is_left_alone_until_it_is_asked_for(
    world: World, namespace: str
) -> None:
    await world.release("demo")
    await world.until("demo", ready)
    chart = helmcharts.pack("demo", helmcharts.DEMO | {"templates/slow.yaml": SLOW})
    (world.engine.context.data_dir / "slow.tgz").write_bytes(chart)
    archive = str(world.engine.context.data_dir / "slow.tgz")
    done = world.helm.attempt(
        "upgrade",
        "demo",
        archive,
        "-n",
        namespace,
        "--timeout=1s",
        "--server-side=true",
        "--force-conflicts",
    )
    assert done.returncode != 0
    await world.until("demo", at_revision(3))
    assert world.history("demo")[1] == (2, "failed")


async def test_records_are_kept_in_their_own_namespace(world: World, namespace: str) -> None:
    target = f"{namespace}-t"
    await world.release(
        "demo",
        targetNamespace=target,
        releaseName="demo",
        install={"createNamespace": True},
        values={"text": "a"},
    )
    await world.until("demo", ready)
    await world.release("demo", targetNamespace=target, releaseName="demo", values={"text": "b"})
    item = await world.until("demo", at_revision(2))
    assert item.status.storage_namespace == namespace
    live = await world.live("ConfigMap", "demo", target)
    assert live["data"] == {"text": "b", "revision": "2"}
    assert world.history("demo") == [(1, "superseded"), (2, "deployed")]
    assert world.history("demo", target) == []


async def test_a_pending_record_of_ours_is_unlocked_and_continued(
    world: World, namespace: str
) -> None:
    await world.release("demo", values={"text": "one"})
    await world.until("demo", ready)
    await world.engine.stop_kind(releaser.KIND)
    await releaser.lock(world, "demo", "pending-upgrade")
    world.engine.start_kind(releaser.KIND)
    item = await world.until("demo", at_revision(2))
    assert condition(item, meta.READY)[1] == "UpgradeSucceeded"
    assert world.history("demo") == [(1, "failed"), (2, "deployed")]
    found = await world.event("PendingRelease")
    chart = f"demo@{item.status.last_attempted_revision}"
    told = f"Unlocked Helm release {namespace}/demo.v1 with chart {chart} in pending-upgrade state"
    assert found.message == told


SLOW = """\
apiVersion: v1
kind: Pod
metadata:
  name: slow
  annotations: {"helm.sh/hook": post-upgrade}
spec:
  restartPolicy: Never
  containers: [{name: main, image: none.example.com/none}]
"""


async def test_a_pending_record_of_somebody_else_is_left_alone_until_it_is_asked_for(
    world: World, namespace: str
) -> None:
    await world.release("demo", values={"text": "one"})
    await world.until("demo", ready)
    await world.suspend("demo")
    chart = helmcharts.pack("demo", helmcharts.DEMO | {"templates/slow.yaml": SLOW})
    file = world.context.data_dir / "slow.tgz"
    file.write_bytes(chart)
    arguments = ["upgrade", "demo", str(file), "-n", namespace, "--timeout=5m"]
    running = await asyncio.create_subprocess_exec(
        helming.helm_program(),
        *arguments,
        *FORCE,
        env={"KUBECONFIG": str(world.kubeconfig), "HOME": str(world.context.data_dir)},
    )
    await world.holds_soon(lambda: is_pending(world))
    running.kill()
    await running.wait()
    await world.suspend("demo", suspended=False)
    item = await world.until_shown("demo", releaser.unready("PendingRelease"))
    text = condition(item, meta.READY)[2]
    assert text == f"release {namespace}/demo.v2 is pending-upgrade: Helm is at work on it"
    assert world.history("demo")[-1] == (2, "pending-upgrade")
    await world.annotate("demo", requestedAt="now")
    await world.until("demo", at_revision(3))
    assert world.history("demo")[1:] == [(2, "failed"), (3, "deployed")]


async def is_pending(world: World) -> bool:
    return world.history("demo")[-1][1] == "pending-upgrade"
