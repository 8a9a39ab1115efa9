"""Drift while Git's newest revision cannot be applied: what was applied last is kept up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from kube.objects import GVK, Resource
from tests.support import kustomizer
from tests.support.kustomizer import applied, config_map, failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import World

CONFIG_MAPS = Resource(GVK("", "v1", "ConfigMap"), "configmaps", is_namespaced=True)


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        await running.push({f"{n}.yaml": config_map(f"cm{n}", namespace, k="git") for n in (1, 2)})
        await running.kustomize("apps", retryInterval="1h")
        await running.until("apps", applied(running.revision))
        await running.context.tracker.synced(running.ref("apps"))
        yield running


async def edit(world: World, name: str) -> None:
    """Change an object by hand."""
    body = orjson.dumps({"data": {"k": "hand"}})
    await world.context.client.patch(CONFIG_MAPS, world.namespace, name, body, manager="robot")


def runs(world: World) -> float:
    """Return how many runs failed so far."""
    labels = {"controller": "kustomization", "result": "error", "cluster": "test"}
    registry = world.context.metrics.registry
    return registry.get_sample_value("controller_runtime_reconcile_total", labels) or 0.0


async def check_corrected(world: World) -> None:
    """Edit an object and see it put right by one request and no whole run."""
    before, failures = world.requests(), runs(world)
    await edit(world, "cm1")
    await world.until_event("cm1 was edited by robot; corrected")
    await world.idle("apps")
    assert (await world.live("configmaps", "cm1"))["data"] == {"k": "git"}
    after = world.requests()
    spent = {key: after[key] - before.get(key, 0) for key in after}
    assert {key: count for key, count in spent.items() if count} == {
        ("patch", "configmaps"): 1,  # the edit
        ("apply", "configmaps"): 1,
        ("get", "configmaps"): 1,  # the look above
    }
    assert runs(world) == failures


async def test_drift_is_corrected_while_the_newest_revision_does_not_build(world: World) -> None:
    await world.push({"broken.yaml": "a: [\n"})
    await world.until("apps", failed(meta.BUILD_FAILED))
    await check_corrected(world)


async def test_drift_is_corrected_while_a_dependency_is_unmet(world: World) -> None:
    await world.patch("apps", {"spec": {"dependsOn": [{"name": "none"}]}})
    await world.push({"2.yaml": config_map("cm2", world.namespace, k="new")})
    await world.until("apps", failed(meta.DEPENDENCY_NOT_READY))
    await check_corrected(world)


async def test_drift_from_before_a_run_that_fails_is_corrected_too(world: World) -> None:
    world.context.tracker.on_drift.then = lambda *_: None  # type: ignore[attr-defined]  # wake nobody
    await edit(world, "cm1")
    await world.push({"broken.yaml": "a: [\n"})
    await world.until("apps", failed(meta.BUILD_FAILED))
    await world.until_event("cm1 was edited by robot; corrected")


async def test_drift_is_corrected_after_a_restart_into_a_revision_that_does_not_build(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.push({"1.yaml": config_map("cm1", namespace, k="git")})
        await world.kustomize("apps", retryInterval="1h")
        await world.until("apps", applied(world.revision))
        await world.push({"broken.yaml": "a: [\n"})
        await world.until("apps", failed(meta.BUILD_FAILED))
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.idle("apps")
        await world.context.tracker.synced(world.ref("apps"))
        await check_corrected(world)


async def test_nothing_of_a_refused_revision_is_applied_by_a_correction(world: World) -> None:
    await world.push(
        {
            "2.yaml": config_map("cm2", world.namespace, k="refused"),
            "bad.yaml": config_map("Not_A_Name", world.namespace),
        }
    )
    await world.until("apps", failed(meta.RECONCILIATION_FAILED))
    await edit(world, "cm2")
    await check_corrected(world)
    assert (await world.live("configmaps", "cm2"))["data"] == {"k": "hand"}


async def test_dependency_that_becomes_ready_is_not_missed(world: World) -> None:
    await world.patch("apps", {"spec": {"dependsOn": [{"name": "base"}]}})
    await world.until("apps", failed(meta.DEPENDENCY_NOT_READY))
    await check_corrected(world)
    await world.kustomize("base")
    await world.until("apps", applied(world.revision))
