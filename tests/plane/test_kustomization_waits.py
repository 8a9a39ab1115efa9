"""Dependencies and health: who waits, what wakes, and what ends a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from api import meta
from kube.objects import GVK, Resource
from reconcilers.context import ReconcileSettings
from runtime import conditions
from tests.support import kustomizer
from tests.support.kustomizer import applied, condition, config_map, failed, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.kustomize import Kustomization
    from devcluster.access import Access
    from tests.support.kustomizer import World

CONFIG_MAPS = Resource(GVK("", "v1", "ConfigMap"), "configmaps", is_namespaced=True)


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    """A reconciler that looks at dependencies once an hour unless it hears of them."""
    settings = ReconcileSettings(requeue_dependency_s=3600)
    async with kustomizer.running(cluster, tmp_path, namespace, settings=settings) as running:
        yield running


def child(namespace: str, name: str) -> bytes:
    """Return a GitRepository that nobody reconciles: it is in progress until a status says more."""
    return orjson.dumps(
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"url": "https://example.com/none", "interval": "1h"},
        }
    )


async def report(world: World, name: str, type_: str) -> None:
    """Write a status as its controller would."""
    told = {
        "type": type_,
        "status": "True",
        "reason": "Test",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await world.context.client.patch(
        kustomizer.REPOSITORIES,
        world.namespace,
        name,
        orjson.dumps({"status": {"observedGeneration": 1, "conditions": [told]}}),
        manager="test",
        subresource="status",
    )


def waiting(item: Kustomization | None) -> bool:
    return (
        item is not None
        and conditions.is_unknown(item.status.conditions, meta.HEALTHY)
        and (conditions.get(item.status.conditions, meta.HEALTHY) is not None)
    )


async def test_dependant_follows_its_dependency_without_polling(
    world: World, namespace: str
) -> None:
    await world.push(
        {"a/a.yaml": config_map("a", namespace), "b/b.yaml": config_map("b", namespace)}
    )
    await world.kustomize("second", path="b", dependsOn=[{"name": "first"}])
    item = await world.until("second", failed(meta.DEPENDENCY_NOT_READY))
    assert ready(item).message == f"dependency '{namespace}/first' not found"
    await world.until_event("Dependencies do not meet ready condition, retrying in 1h0m0s")
    await world.kustomize("first", path="a")
    await world.until("second", applied(world.revision))
    await world.push({"a/a.yaml": config_map("a", namespace, k="2")})
    await world.until("second", applied(world.revision))


async def test_dependency_cycle_is_told_on_its_members_alone(world: World, namespace: str) -> None:
    await world.push(
        {"a/a.yaml": config_map("a", namespace), "b/b.yaml": config_map("b", namespace)}
    )
    await world.kustomize("one", path="a", dependsOn=[{"name": "two"}])
    await world.kustomize("two", path="a", dependsOn=[{"name": "one"}])
    await world.kustomize("outside", path="b")
    await world.until("outside", applied(world.revision))
    item = await world.until("one", failed(meta.DEPENDENCY_NOT_READY, "circular"))
    assert ready(item).message == (
        f"circular dependency detected: {namespace}/one -> {namespace}/two -> {namespace}/one"
    )
    await world.push({"b/b.yaml": config_map("b", namespace, k="2")})
    await world.until("outside", applied(world.revision))


async def test_wait_ends_when_the_object_becomes_healthy(world: World, namespace: str) -> None:
    await world.push({"d.yaml": child(namespace, "d"), "c.yaml": config_map("c", namespace)})
    await world.kustomize("apps", wait=True, timeout="5m")
    item = await world.until_shown("apps", waiting)
    assert ready(item).status == "Unknown"
    assert item.status.observed_generation == -1
    assert world.controller.waiting() == 1
    assert world.controller.active() == 0
    await report(world, "d", "Ready")
    item = await world.until("apps", applied(world.revision))
    healthy = condition(item, meta.HEALTHY)
    assert healthy.message.startswith("Health check passed in ")
    assert conditions.get(item.status.conditions, meta.RECONCILING) is None
    before = world.requests()
    world.controller.wake(world.ref("apps"), "interval")
    await world.idle("apps")
    assert world.requests() == before


async def test_failed_object_ends_the_wait_early(world: World, namespace: str) -> None:
    await world.push({"d.yaml": child(namespace, "d")})
    await world.kustomize("apps", wait=True, timeout="5m", retryInterval="1h")
    await world.until_shown("apps", waiting)
    await report(world, "d", "Stalled")
    item = await world.until("apps", failed(meta.HEALTH_CHECK_FAILED))
    assert (
        f"failed early due to stalled resources: [GitRepository/{namespace}/d status: 'Failed']"
        in ready(item).message
    )
    assert conditions.is_false(item.status.conditions, meta.HEALTHY)
    reconciling = condition(item, meta.RECONCILING)
    assert reconciling.reason == "ProgressingWithRetry"
    assert reconciling.message.startswith("Running health checks for revision")
    assert item.status.history[0].last_reconciled_status == meta.HEALTH_CHECK_FAILED
    assert item.status.observed_generation == -1
    await report(world, "d", "Ready")
    await world.request("apps", "now")
    item = await world.until("apps", applied(world.revision))
    assert item.status.observed_generation == item.metadata.generation
    assert (await world.until_event("Health check passed")).severity == "info"


async def test_newer_revision_ends_a_wait_long_before_its_timeout(
    world: World, namespace: str
) -> None:
    await world.push({"d.yaml": child(namespace, "d")})
    await world.kustomize("apps", wait=True, timeout="5m")
    await world.until_shown("apps", waiting)
    await world.push({"d.yaml": config_map("c", namespace)})
    item = await world.until("apps", applied(world.revision))
    event = await world.until_event(meta.HEALTH_CHECK_CANCELED)
    assert event.message == (
        "Health checks canceled due to new reconciliation triggered by "
        f"GitRepository/{namespace}/repo"
    )
    assert item.status.last_attempted_revision == world.revision


async def test_named_health_check_is_watched_although_nobody_owns_the_object(
    world: World, namespace: str
) -> None:
    await world.push({"c.yaml": config_map("c", namespace)})
    await world.kustomize(
        "apps",
        timeout="5m",
        healthChecks=[
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "namespace": namespace}
        ],
    )
    await world.until_shown("apps", waiting)
    body = config_map("other", namespace)
    world.cluster.kubectl("apply", "-f", "-", input=body)
    await world.until("apps", applied(world.revision))


async def test_drift_is_corrected_while_health_is_waited_for(world: World, namespace: str) -> None:
    await world.push({"d.yaml": child(namespace, "d"), "c.yaml": config_map("c", namespace, k="1")})
    await world.kustomize("apps", wait=True, timeout="5m")
    await world.until_shown("apps", waiting)
    body = orjson.dumps({"data": {"k": "hand"}})
    await world.context.client.patch(CONFIG_MAPS, namespace, "c", body, manager="robot")
    await world.until_event("c was edited by robot; corrected")
    assert (await world.live("configmaps", "c"))["data"] == {"k": "1"}
