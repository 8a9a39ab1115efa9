"""Health and readiness by expressions, on a custom kind that a real API server serves."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from api import meta
from api.kustomize import HealthCheckExpr
from kube.health_rules import HealthRules
from kube.objects import GVK, ObjectId, Resource
from reconcilers.kustomization import health
from reconcilers.kustomization.health import Checked, HealthError, Seen
from runtime import conditions
from tests.support import kustomizer
from tests.support.kustomizer import applied, config_map, failed, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from api.kustomize import Kustomization
    from devcluster.access import Access
    from tests.support.kustomizer import World

GROUP = "expressions.example.com"
WIDGETS = Resource(GVK(GROUP, "v1", "Widget"), "widgets", is_namespaced=True)
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
RULE = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Widget",
    "inProgress": "status.phase == 'Rolling'",
    "failed": "status.phase == 'Broken'",
    "current": "status.phase == 'Done' && status.ready >= spec.wanted",
}


@pytest.fixture(scope="module", autouse=True)
def definition(cluster: Access) -> Iterator[None]:
    cluster.kubectl("apply", "--server-side", "-f", "-", input=orjson.dumps(DEFINITION).decode())
    cluster.kubectl("wait", "--for=condition=Established", f"crd/widgets.{GROUP}", "--timeout=30s")
    yield
    cluster.kubectl("delete", "crd", f"widgets.{GROUP}", "--wait=false")


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


def widget(namespace: str, name: str = "w") -> bytes:
    return orjson.dumps(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Widget",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"wanted": 2},
        }
    )


async def report(world: World, name: str = "w", **status: Any) -> None:
    """Write a status as the controller of widgets would."""
    await world.context.client.patch(
        WIDGETS,
        world.namespace,
        name,
        orjson.dumps({"status": status}),
        manager="widgets",
        subresource="status",
    )


def is_waiting(item: Kustomization | None) -> bool:
    healthy = conditions.get(item.status.conditions, meta.HEALTHY) if item else None
    return healthy is not None and healthy.status == "Unknown"


def is_stalled(item: Kustomization | None) -> bool:
    return item is not None and conditions.is_true(item.status.conditions, meta.STALLED)


async def test_custom_object_is_healthy_when_its_expression_holds(
    world: World, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "TICK_S", 3600.0)  # a watch tells, or nobody does
    await world.push({"w.yaml": widget(namespace)})
    await world.kustomize("apps", wait=True, timeout="5m", healthCheckExprs=[RULE])
    await world.until_shown("apps", is_waiting)
    await report(world, phase="Rolling")
    await report(world, phase="Done", ready=1)
    await report(world, phase="Done", ready=2)
    await world.until("apps", applied(world.revision))


async def test_custom_object_that_fails_by_its_expression_ends_the_wait(
    world: World, namespace: str
) -> None:
    await world.push({"w.yaml": widget(namespace)})
    await world.kustomize("apps", wait=True, timeout="5m", healthCheckExprs=[RULE])
    await world.until_shown("apps", is_waiting)
    await report(world, phase="Broken")
    item = await world.until("apps", failed(meta.HEALTH_CHECK_FAILED))
    assert ready(item).message.endswith(
        f"failed early due to stalled resources: [Widget/{namespace}/w status: 'Failed']"
    )


async def test_field_that_never_comes_is_named_when_the_time_is_up(
    world: World, namespace: str
) -> None:
    await world.push({"w.yaml": widget(namespace)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    context = world.context
    surroundings = health.Wait(
        client=context.client,
        discovery=context.discovery,
        tracker=context.tracker,
        clock=context.clock,
        rng=random.Random(7),
        superseded=asyncio.Event(),
        find_news=lambda: None,
        between=asyncio.Event().wait,  # type: ignore[arg-type]  # never called: nobody wakes it
    )
    rule = msgspec.convert(RULE, HealthCheckExpr)
    check = Checked(ObjectId(namespace, "w", GROUP, "Widget"), "v1")
    watcher = health.Watcher(surroundings, [check], Seen(rules=HealthRules([rule])))
    assert not await watcher.look()
    with pytest.raises(HealthError) as caught:
        await watcher.until_healthy(timeout_s=0.2)
    assert str(caught.value) == (
        f"timeout waiting for: [Widget/{namespace}/w status: 'Unknown': failed to evaluate the CEL "
        "expression 'status.phase == 'Rolling'': no such attribute(s): status.phase]"
    )


async def test_config_map_is_waited_for_when_an_expression_judges_it(
    world: World, namespace: str
) -> None:
    rule = {"apiVersion": "v1", "kind": "ConfigMap", "current": "data.done == 'yes'"}
    await world.push({"c.yaml": config_map("c", namespace, done="no")})
    await world.kustomize("apps", wait=True, timeout="5m", healthCheckExprs=[rule])
    await world.until_shown("apps", is_waiting)
    await world.push({"c.yaml": config_map("c", namespace, done="yes")})
    await world.until("apps", applied(world.revision))


async def test_new_rule_judges_what_an_old_one_found_healthy(world: World, namespace: str) -> None:
    await world.push({"w.yaml": widget(namespace)})
    anything = RULE | {"inProgress": "", "failed": "", "current": "true"}
    await world.kustomize("apps", wait=True, timeout="5m", healthCheckExprs=[anything])
    await world.until("apps", applied(world.revision))
    strict = anything | {"failed": "!has(metadata.labels.blessed)"}
    await world.patch("apps", {"spec": {"healthCheckExprs": [strict]}})
    item = await world.until("apps", failed(meta.HEALTH_CHECK_FAILED))
    assert "status: 'Failed'" in ready(item).message


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [RULE | {"failed": "status."}],
            "failed to create custom status evaluator for healthchecks[0]: failed to parse the",
        ),
        ([RULE, RULE], f"duplicate custom health check for GroupKind Widget.{GROUP} at health"),
    ],
)  # fmt: skip
async def test_rule_that_can_never_work_stalls_and_counts_as_observed(
    world: World, rules: list[dict[str, str]], message: str
) -> None:
    await world.kustomize("apps", healthCheckExprs=rules)
    item = await world.until("apps", failed(meta.INVALID_CEL_EXPRESSION))
    assert ready(item).message.startswith(f"{meta.FAILED_TERMINALLY}: {message}")
    assert item.status.conditions[0].type == meta.STALLED
    assert item.status.observed_generation == item.metadata.generation
    assert (await world.until_event(meta.INVALID_CEL_EXPRESSION)).severity == "error"
    await world.push({"a.yaml": config_map("a", world.namespace)})
    await world.patch("apps", {"spec": {"healthCheckExprs": None}})
    item = await world.until("apps", applied(world.revision))
    assert not is_stalled(item)


async def test_dependant_goes_ahead_when_its_expression_holds(world: World, namespace: str) -> None:
    await world.push({"a/a.yaml": widget(namespace), "b/b.yaml": config_map("b", namespace)})
    expression = "dep.metadata.labels['tier'] == self.metadata.labels['tier']"
    await world.kustomize("first", path="a", wait=True, timeout="5m", healthCheckExprs=[RULE])
    await world.kustomize(
        "second", path="b", dependsOn=[{"name": "first", "readyExpr": expression}]
    )
    item = await world.until("second", failed(meta.DEPENDENCY_NOT_READY, "no such key"))
    assert ready(item).message == (
        f"failed to evaluate the CEL expression '{expression}': no such key: labels"
    )
    await world.patch("second", {"metadata": {"labels": {"tier": "gold"}}})
    await world.patch("first", {"metadata": {"labels": {"tier": "silver"}}})
    await world.until(
        "second",
        failed(
            meta.DEPENDENCY_NOT_READY,
            f"dependency '{namespace}/first' is not ready according to readyExpr eval",
        ),
    )
    await world.patch("first", {"metadata": {"labels": {"tier": "gold"}}})
    await world.until(
        "second",
        failed(
            meta.DEPENDENCY_NOT_READY, f"dependency '{namespace}/first' revision is not up to date"
        ),
    )
    await report(world, phase="Done", ready=2)
    await world.until("second", applied(world.revision))


async def test_expression_replaces_the_ready_condition(world: World, namespace: str) -> None:
    await world.push({"b.yaml": config_map("b", namespace)}, name="repo")
    await world.push({"w.yaml": widget(namespace)}, name="other", replace=True)
    source = {"kind": "GitRepository", "name": "other"}
    await world.kustomize(
        "first", sourceRef=source, wait=True, timeout="5m", healthCheckExprs=[RULE]
    )
    await world.until_shown("first", is_waiting)
    expression = "dep.status.inventory.entries.exists(e, e.id.endsWith('_Widget'))"
    await world.kustomize("second", dependsOn=[{"name": "first", "readyExpr": expression}])
    item = await world.until(
        "second",
        lambda item: item is not None and conditions.is_true(item.status.conditions, meta.READY),
    )
    assert item.status.last_applied_revision


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("dep.status.ready", "CEL expression output type mismatch: expected bool, got dyn"),
        ("dep.status.", "failed to parse the CEL expression 'dep.status.': ERROR: <input>:1:12:"),
        ("other.ready == true", "failed to parse the CEL expression 'other.ready == true': ERROR"),
    ],
)
async def test_ready_expression_that_can_never_work_stalls(
    world: World, namespace: str, expression: str, message: str
) -> None:
    await world.push({"a/a.yaml": config_map("a", namespace)})
    await world.kustomize("first", path="a")
    await world.kustomize(
        "second", path="a", dependsOn=[{"name": "first", "readyExpr": expression}]
    )
    item = await world.until("second", failed(meta.INVALID_CEL_EXPRESSION))
    assert ready(item).message.startswith(
        f"{meta.FAILED_TERMINALLY}: terminal error: failed to evaluate dependency first: {message}"
    )
    assert is_stalled(item)
    assert item.status.observed_generation == item.metadata.generation


async def test_dependency_without_an_expression_costs_no_request(
    world: World, namespace: str
) -> None:
    await world.push({"a/a.yaml": config_map("a", namespace)})
    await world.kustomize("first", path="a")
    await world.until("first", applied(world.revision))
    await world.kustomize("second", path="a", dependsOn=[{"name": "first"}])
    await world.until("second", applied(world.revision))
    assert ("get", "kustomizations") not in world.requests()


async def test_kustomization_is_deleted_although_its_expressions_are_broken(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    broken = {"dependsOn": [{"name": "none", "readyExpr": "dep."}], "healthCheckExprs": [RULE] * 2}
    await world.patch("apps", {"spec": broken})
    await world.until("apps", failed(meta.INVALID_CEL_EXPRESSION))
    await world.delete("apps")
    await world.until("apps", kustomizer.gone)
