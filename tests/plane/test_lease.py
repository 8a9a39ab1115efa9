"""Leases on a real API server: one holder at a time, judged by our own clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kube import errors, lease
from kube.lease import Holding, Lease
from tests.support import api
from tests.support.api import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devcluster.cluster import Cluster
    from kube.client import Client

NAME = "kustomize-controller-leader-election"


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with api.client(cluster.kubeconfig) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def candidate(client: Client, namespace: str, identity: str, clock: ManualClock) -> Lease:
    return Lease(client, namespace, NAME, identity=identity, clock=clock, retry_s=0.02)


async def test_free_lease_is_created_as_client_go_writes_it(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    one = candidate(client, namespace, "one", clock)
    assert await one.observe() == Holding("", is_ours=False, is_free=True, takeover="")
    assert await one.acquire()
    spec = (await client.get(lease.RESOURCE, namespace, NAME))["spec"]
    assert spec == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 35,
        "acquireTime": "2026-01-02T00:00:00.000000Z",
        "renewTime": "2026-01-02T00:00:00.000000Z",
        "leaseTransitions": 0,
    }


async def test_holder_renews_and_others_wait(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    one = candidate(client, namespace, "one", clock)
    two = candidate(client, namespace, "two", clock)
    assert await one.acquire()
    for _ in range(4):
        assert not await two.acquire()
        clock.move(20)
        assert await one.acquire()
    holding = await two.observe()
    assert (holding.holder, holding.is_ours, holding.is_free) == ("one", False, False)


async def test_lease_of_a_holder_that_is_gone_is_taken_after_its_time(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    one = candidate(client, namespace, "one", clock)
    two = candidate(client, namespace, "two", clock)
    assert await one.acquire()
    clock.move(3600)
    assert not await two.acquire()  # seen for the first time: its age says nothing
    clock.move(36)
    assert await two.acquire()
    assert not (await one.observe()).is_ours
    spec = (await client.get(lease.RESOURCE, namespace, NAME))["spec"]
    assert spec["leaseTransitions"] == 1


async def test_released_lease_is_free_at_once(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    one = candidate(client, namespace, "one", clock)
    two = candidate(client, namespace, "two", clock)
    assert await one.acquire()
    await two.release()  # not its to give
    assert (await one.observe()).is_ours
    await one.release()
    assert await two.acquire()


async def test_onlooker_without_a_name_never_holds(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    one = candidate(client, namespace, "one", clock)
    assert await one.acquire()
    await one.release()
    assert not (await candidate(client, namespace, "", clock).observe()).is_ours


async def test_living_holder_is_replaced_only_by_force(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    flux = candidate(client, namespace, "flux", clock)
    ours = candidate(client, namespace, "gitopsd", clock)
    assert await flux.acquire()
    assert not await ours.acquire()
    assert await ours.acquire(force=True)
    assert not await flux.acquire()


async def test_order_to_take_over_stays_until_it_is_taken_back(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    ours = candidate(client, namespace, "gitopsd", clock)
    with pytest.raises(errors.NotFound):
        await ours.order_takeover("by jane")
    await candidate(client, namespace, "flux", clock).acquire()
    await ours.order_takeover("by jane")
    assert (await ours.observe()).takeover == "by jane"
    assert await ours.acquire(force=True)
    assert (await ours.observe()).takeover == "by jane"
    await ours.order_takeover("")
    assert (await ours.observe()).takeover == ""


async def test_of_many_candidates_one_wins(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    candidates = [candidate(client, namespace, f"c{n}", clock) for n in range(8)]
    async with asyncio.TaskGroup() as tasks:
        tries = [tasks.create_task(each.acquire()) for each in candidates]
    assert sum(each.result() for each in tries) == 1


async def test_keeping_ends_when_the_lease_is_taken(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    one = candidate(client, namespace, "one", clock)
    assert await one.acquire()
    assert await candidate(client, namespace, "two", clock).acquire(force=True)
    with pytest.raises(lease.LeaseLost, match=f"Lease {namespace}/{NAME} was taken over"):
        await one.keep()


class HurryingClock(ManualClock):
    """Ten seconds pass between any two looks at it."""

    def monotonic(self) -> float:
        self.move(10)
        return super().monotonic()


async def test_keeping_ends_when_the_lease_cannot_be_renewed(
    cluster: Cluster, client: Client, namespace: str, clock: ManualClock
) -> None:
    assert await candidate(client, namespace, "one", clock).acquire()
    async with api.client(cluster.user("stranger")) as stranger:
        with pytest.raises(lease.LeaseLost, match="could not be renewed in time"):
            await candidate(stranger, namespace, "one", HurryingClock()).keep()
        assert stranger.requests["get", "leases"] == 3


async def test_lease_is_renewed_for_as_long_as_it_is_kept(
    client: Client, namespace: str, clock: ManualClock
) -> None:
    one = candidate(client, namespace, "one", clock)
    assert await one.acquire()
    clock.move(5)
    spec: dict[str, object] = {}
    async with asyncio.timeout(api.WAIT_S), asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(one.keep())
        while spec.get("renewTime") != "2026-01-02T00:00:05.000000Z":
            spec = (await client.get(lease.RESOURCE, namespace, NAME))["spec"]
        keeping.cancel()
    assert spec["acquireTime"] == "2026-01-02T00:00:00.000000Z"
