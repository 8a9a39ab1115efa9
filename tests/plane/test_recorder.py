"""Events of the daemon become events of the cluster."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api.meta import ObjectRef
from kube.recorder import PATIENCE_S, RESOURCE, Recorder
from runtime.events import SUBSCRIBER_LIMIT, Event, EventBus
from tests.support import api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devcluster.cluster import Cluster
    from kube.client import Client
    from kube.objects import JsonObject

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=dt.UTC)


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with api.client(cluster.kubeconfig) as opened:
        yield opened


def event(namespace: str, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "involved": ObjectRef("test", "Kustomization", namespace, "apps"),
        "api_version": "kustomize.toolkit.fluxcd.io/v1",
        "uid": f"uid-{namespace}",
        "resource_version": "42",
        "severity": "info",
        "reason": "ReconciliationSucceeded",
        "message": "Reconciliation finished in 1s, next run in 10m0s",
        "timestamp": NOW,
        "reporter": "kustomize-controller",
        "metadata": {"kustomize.toolkit.fluxcd.io/revision": "main@sha1:abc"},
    }
    return Event(**fields | changes)


async def recorded(client: Client, namespace: str) -> list[JsonObject]:
    pages = client.list_pages(
        RESOURCE, namespace=namespace, field_selector="involvedObject.name=apps"
    )
    return [item async for page in pages for item in orjson.loads(page)["items"]]


async def test_event_is_written_beside_its_object(client: Client, namespace: str) -> None:
    await Recorder(client, instance="mac-mini").record(event(namespace))
    (found,) = await recorded(client, namespace)
    assert found["involvedObject"] == {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "namespace": namespace,
        "name": "apps",
        "uid": f"uid-{namespace}",
        "resourceVersion": "42",
    }
    assert found["metadata"]["annotations"] == {
        "kustomize.toolkit.fluxcd.io/revision": "main@sha1:abc"
    }
    assert found["source"] == {"component": "kustomize-controller"}
    assert (found["type"], found["reason"], found["count"]) == (
        "Normal",
        "ReconciliationSucceeded",
        1,
    )
    assert found["firstTimestamp"] == found["lastTimestamp"] == "2026-01-02T03:04:05Z"
    assert found["reportingInstance"] == "mac-mini"


async def test_error_is_a_warning(client: Client, namespace: str) -> None:
    recorder = Recorder(client, instance="i")
    await recorder.record(event(namespace, severity="error", reason="BuildFailed", message="no"))
    (found,) = await recorded(client, namespace)
    assert (found["type"], found["reason"], found["message"]) == ("Warning", "BuildFailed", "no")


async def test_repeats_are_counted_in_one_event(client: Client, namespace: str) -> None:
    recorder = Recorder(client, instance="i")
    for minute in range(3):
        await recorder.record(event(namespace, timestamp=NOW + dt.timedelta(minutes=minute)))
    (found,) = await recorded(client, namespace)
    assert found["count"] == 3
    assert found["firstTimestamp"] == "2026-01-02T03:04:05Z"
    assert found["lastTimestamp"] == "2026-01-02T03:06:05Z"


async def test_other_message_revision_or_late_repeat_is_news(
    client: Client, namespace: str
) -> None:
    recorder = Recorder(client, instance="i")
    later = NOW + dt.timedelta(minutes=1)
    await recorder.record(event(namespace))
    await recorder.record(event(namespace, message="other", timestamp=later))
    await recorder.record(
        event(namespace, metadata={"x": "y"}, timestamp=NOW + dt.timedelta(minutes=2))
    )
    await recorder.record(event(namespace, timestamp=NOW + dt.timedelta(hours=1)))
    assert len(await recorded(client, namespace)) == 4


async def test_repeat_of_an_event_that_the_cluster_forgot_is_written_anew(
    client: Client, namespace: str
) -> None:
    recorder = Recorder(client, instance="i")
    await recorder.record(event(namespace))
    (found,) = await recorded(client, namespace)
    await client.delete(RESOURCE, namespace, found["metadata"]["name"])
    await recorder.record(event(namespace, timestamp=NOW + dt.timedelta(seconds=9)))
    (again,) = await recorded(client, namespace)
    assert again["count"] == 1


async def test_object_without_a_namespace_is_reported_in_default(
    client: Client, namespace: str
) -> None:
    name = f"cluster-wide-{namespace}"
    involved = ObjectRef("test", "Thing", "", name)
    await Recorder(client, instance="i").record(event(namespace, involved=involved))
    pages = client.list_pages(
        RESOURCE, namespace="default", field_selector=f"involvedObject.name={name}"
    )
    found = [item async for page in pages for item in orjson.loads(page)["items"]]
    assert len(found) == 1
    assert "namespace" not in found[0]["involvedObject"]


async def test_failure_is_only_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await Recorder(client, instance="i").record(event("absent-namespace"))
    (record,) = [each for each in caplog.records if each.name == "kube.recorder"]
    assert record.getMessage() == "event not recorded"


async def test_only_events_of_its_own_cluster_are_recorded(client: Client, namespace: str) -> None:
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(
            event(namespace, involved=ObjectRef("other", "Kustomization", namespace, "apps"))
        )
        bus.publish(event(namespace, message="mine"))
        bus.close()
        await Recorder(client, instance="i").run(events)
    assert [each["message"] for each in await recorded(client, namespace)] == ["mine"]


async def test_event_gives_way_to_what_waits_for_a_turn_but_not_for_ever(
    client: Client, namespace: str
) -> None:
    clock = api.ManualClock()
    looks = iter([True, True, False])
    bus = EventBus()
    with bus.subscribe() as events:
        bus.publish(event(namespace, message="first", timestamp=clock.now()))
        bus.close()
        recorder = Recorder(client, instance="i", is_crowded=lambda: next(looks), clock=clock)
        await recorder.run(events)
    assert list(looks) == []  # it looked until the way was free
    bus = EventBus()
    with bus.subscribe() as events:
        late = clock.now() - dt.timedelta(seconds=PATIENCE_S)
        bus.publish(event(namespace, message="second", timestamp=late))
        bus.close()
        await Recorder(client, instance="i", is_crowded=lambda: True, clock=clock).run(events)
    assert {item["message"] for item in await recorded(client, namespace)} == {"first", "second"}


async def test_events_that_might_get_lost_do_not_give_way(client: Client, namespace: str) -> None:
    bus = EventBus()
    now = dt.datetime.now(dt.UTC)
    with bus.subscribe() as events:
        for number in range(SUBSCRIBER_LIMIT // 2 + 2):
            cluster = "test" if number < 2 else "other"
            involved = ObjectRef(cluster, "Kustomization", namespace, "apps")
            bus.publish(event(namespace, message=f"{number}", involved=involved, timestamp=now))
        writing = asyncio.create_task(
            Recorder(client, instance="i", is_crowded=lambda: True).run(events)
        )
        async with asyncio.timeout(api.WAIT_S):
            while len(await recorded(client, namespace)) < 1:
                pass
        writing.cancel()
    assert [item["message"] for item in await recorded(client, namespace)] == ["0"]
