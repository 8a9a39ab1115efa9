"""What each of many small Kustomizations costs: requests, counted one by one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from api import meta
from bench.crowd import service
from reconcilers.kustomization import attempt
from runtime import conditions
from tests.support import kustomizer
from tests.support.kustomizer import applied, ready

if TYPE_CHECKING:
    from pathlib import Path

    from api.kustomize import Kustomization
    from devcluster.access import Access
    from tests.support.kustomizer import World

NUMBER = 8
NAMES = [f"web-{number}" for number in range(NUMBER)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no step count as slow, however busy this machine is."""
    monkeypatch.setattr(attempt, "SLOW_S", 3600.0)


async def settle(world: World) -> None:
    for name in NAMES:
        await world.until(name, applied(world.revision))


def since(before: dict[tuple[str, str], int], world: World) -> dict[tuple[str, str], int]:
    """Return the requests after a moment, by verb and resource."""
    now = world.requests()
    return dict(Counter(now) - Counter(before))


async def test_crowd_costs_what_it_must_and_a_commit_to_one_nothing_but_records(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.push({f"{name}/all.yaml": service(name, namespace) for name in NAMES})
        before = world.requests()
        for name in NAMES:
            await world.kustomize(name, path=f"./{name}", wait=True)
        await settle(world)
        spent = since(before, world)
        kinds = ("serviceaccounts", "services", "deployments", "ingresses")
        assert [spent["apply", kind] for kind in kinds] == [NUMBER] * 4
        # One of the four is created without a dry run, one look shows the Deployment healthy.
        assert sum(spent.get(("dry-run", kind), 0) for kind in kinds) == 3 * NUMBER
        assert spent["get", "deployments"] == NUMBER
        # The finalizer, the inventory with the progress, the end.
        assert spent["patch", "kustomizations"] == 3 * NUMBER

        before = world.requests()
        name = NAMES[3]
        image = "example.com/web:2"
        await world.push({f"{name}/all.yaml": service(name, namespace, image)})
        await settle(world)
        spent = since(before, world)
        assert spent.pop(("patch", "gitrepositories")) == 1
        spent.pop(("get", "deployments"), None)  # as often as its controller tells of progress
        assert spent == {("apply", "deployments"): 1, ("patch", "kustomizations"): NUMBER}


async def test_first_apply_shows_with_its_inventory_that_it_is_on(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    def is_on(item: Kustomization | None) -> bool:
        return (
            item is not None
            and conditions.is_true(item.status.conditions, meta.RECONCILING)
            and item.status.inventory is not None
            and len(item.status.inventory.entries) == 4
        )

    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.push({"web/all.yaml": service("web", namespace)})
        await world.kustomize("web", path="./web", wait=True)
        item = await world.until_shown("web", is_on)
        assert (ready(item).status, ready(item).message) == ("Unknown", attempt.IN_PROGRESS)
        assert item.status.last_attempted_revision == world.revision
        item = await world.until("web", applied(world.revision))
        assert conditions.get(item.status.conditions, meta.RECONCILING) is None
