"""What agents ask of a running daemon: what a change would do, the way back, the file in Git."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bench import bed as beds
from bench.fixtures import dump
from devcluster.api import condition
from tests.support import agents
from tests.support.agents import text_of
from tests.support.estate import config_map

if TYPE_CHECKING:
    from pathlib import Path

    from bench.bed import Bed
    from tests.support.estate import Tenant

pytestmark = [
    pytest.mark.leftovers("connections to the Git server live as long as the daemon"),
    pytest.mark.blocking("a plan is built in this process, by the daemon's own code"),
]


async def call(bed: Bed, tool: str, **arguments: Any) -> tuple[str, dict[str, Any], bool]:
    """Call a tool on the daemon's clusters."""
    assert bed.daemon
    async with agents.inside(bed.daemon.config) as client:
        result = await client.call_tool(tool, arguments)
    return text_of(result), result.structured_content or {}, result.is_error


@pytest.fixture
def shop(tenant: Tenant) -> Tenant:
    """A tenant with one Kustomization that is applied."""
    tenant.push({"web/a.yaml": config_map(tenant.name, "a", k="1")})
    tenant.kustomize("web")
    tenant.until_applied("web")
    return tenant


async def test_branch_is_planned_without_being_applied(bed: Bed, shop: Tenant) -> None:
    changed = {
        "web/a.yaml": config_map(shop.name, "a", k="2"),
        "web/b.yaml": config_map(shop.name, "b"),
    }
    sha = await asyncio.to_thread(shop.push, changed, quietly=True)

    text, found, failed = await call(
        bed, "plan_change", name=shop.kustomization("web"), namespace="bench", revision=sha
    )

    assert not failed, text
    outcomes = {each["object"].split("/")[-1]: each["outcome"] for each in found["objects"]}
    assert outcomes == {"a": "changed", "b": "created"}
    (field,) = next(each for each in found["objects"] if each["outcome"] == "changed")["fields"]
    assert (field["field"], field["before"], field["after"]) == ("data.k", "1", "2")
    assert (await asyncio.to_thread(shop.live, "a") or {})["data"] == {"k": "1"}
    assert await asyncio.to_thread(shop.live, "b") is None


async def test_patch_is_planned_on_top(bed: Bed, shop: Tenant) -> None:
    patch = dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": shop.name},
            "data": {"extra": "yes"},
        }
    )

    text, found, failed = await call(
        bed, "plan_change", name=shop.kustomization("web"), namespace="bench", patch=patch
    )

    assert not failed, text
    (changed,) = found["objects"]
    assert [each["field"] for each in changed["fields"]] == ["data.extra"]


async def test_directories_are_compared_as_they_are_built(
    bed: Bed, shop: Tenant, tmp_path: Path
) -> None:
    for side, value in (("left", "1"), ("right", "2")):
        folder = tmp_path / side
        folder.mkdir()
        (folder / "a.yaml").write_text(config_map(shop.name, "a", k=value))
        (folder / f"{side}.yaml").write_text(config_map(shop.name, side))
    arguments = {"left": str(tmp_path / "left"), "right": str(tmp_path / "right"), "paths": True}

    text, found, failed = await call(
        bed, "compare_clusters", name=shop.kustomization("web"), namespace="bench", **arguments
    )

    assert not failed, text
    assert found["onlyLeft"] == [f"ConfigMap/{shop.name}/left"]
    assert found["onlyRight"] == [f"ConfigMap/{shop.name}/right"]
    (difference,) = found["differing"][0]["differences"]
    assert (difference["field"], difference["left"], difference["right"]) == ("data.k", "1", "2")


async def test_way_back_is_the_commit_before_the_broken_one(bed: Bed, shop: Tenant) -> None:
    good = shop.repo.head
    broken = {"web/kustomization.yaml": "resources: [missing.yaml]\n"}
    bad = await asyncio.to_thread(shop.push, broken)
    await asyncio.to_thread(shop.until_refused, "web", "BuildFailed")

    text, found, failed = await call(
        bed, "rollback_hint", name=shop.kustomization("web"), namespace="bench"
    )

    assert not failed, text
    assert found["lastGood"].endswith(good)
    assert any(f"{good[:12]}..{bad[:12]}" in step for step in found["steps"])


async def test_write_past_git_is_refused_with_the_file_to_change(bed: Bed, shop: Tenant) -> None:
    text, _, failed = await call(
        bed,
        "delete_kubernetes_resource",
        apiVersion="v1",
        kind="ConfigMap",
        name="a",
        namespace=shop.name,
    )

    assert failed
    assert f"Change web/a.yaml in {bed.git.url(shop.name)}" in text
    assert await asyncio.to_thread(shop.live, "a") is not None


async def test_reconcile_is_asked_for_and_waited_for(bed: Bed, shop: Tenant) -> None:
    name = {"name": shop.kustomization("web"), "namespace": beds.NAMESPACE}
    _, asked, _ = await call(bed, "reconcile_flux_kustomization", with_source=True, **name)

    text, found, _ = await call(
        bed, "wait_for", kind="ks", requested_at=asked["requestedAt"], timeout="60s", **name
    )

    assert found["isMet"], text
    item = await asyncio.to_thread(shop.get, "web")
    assert item["status"]["lastHandledReconcileAt"] == asked["requestedAt"]
    assert condition(item)["status"] == "True"


async def test_trace_tells_who_committed_it(bed: Bed, shop: Tenant) -> None:
    text, found, _ = await call(bed, "trace", kind="ConfigMap", name="a", namespace=shop.name)

    assert found["commit"]["sha"] == shop.repo.head
    assert found["commit"]["author"], text
    assert found["commit"]["subject"]


async def test_report_tells_what_the_daemon_does(bed: Bed, shop: Tenant) -> None:
    _, found, _ = await call(bed, "get_flux_instance")

    assert found["daemon"]["state"] == "synced"
    assert {each["kind"] for each in found["daemon"]["kinds"]} >= {"Kustomization"}
    assert shop.name
