"""Receivers that filter by expressions, on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from api.notification import Receiver
from api.source import GitRepository
from reconcilers.filters import Call
from reconcilers.receiver import Endpoint, ReceiverReconciler
from runtime.errors import TerminalError

if TYPE_CHECKING:
    from tests.support.reconciling import Desk


def hook(namespace: str, *resources: dict[str, Any], whole: str = "") -> dict[str, Any]:
    spec = {"type": "generic", "secretRef": {"name": "hook-token"}, "resources": list(resources)}
    return {
        "apiVersion": "notification.toolkit.fluxcd.io/v1",
        "kind": "Receiver",
        "metadata": {"name": "hook", "namespace": namespace},
        "spec": spec | ({"resourceFilter": whole} if whole else {}),
    }


def source(namespace: str, name: str, branch: str) -> dict[str, Any]:
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": "fleet"},
            "annotations": {"branch": branch},
        },
        "spec": {"url": "https://host/repo", "interval": "1h", "suspend": True},
    }


def one(name: str, **more: str) -> dict[str, Any]:
    return {"kind": "GitRepository", "name": name, **more}


def labelled(**more: str) -> dict[str, Any]:
    return {"kind": "GitRepository", "name": "*", "matchLabels": {"app": "fleet"}, **more}


async def call(desk: Desk, namespace: str, **body: Any) -> int:
    """Act on a call to the Receiver as the webhook listener does."""
    await desk.caught_up()
    found = desk.context.receivers.get(namespace, "hook")
    assert found
    return await Endpoint(desk.context, found).request(Call("application/json", orjson.dumps(body)))


async def requested(desk: Desk, namespace: str, *names: str) -> list[bool]:
    found = [await desk.live(GitRepository, namespace, name) for name in names]
    return [meta.REQUESTED_AT in each["metadata"]["annotations"] for each in found]


@pytest.fixture
async def two(desk: Desk, namespace: str) -> None:
    await desk.create(source(namespace, "main", "main"))
    await desk.create(source(namespace, "next", "next"))


@pytest.mark.usefixtures("two")
async def test_call_reaches_the_labelled_objects_for_which_the_expression_holds(
    desk: Desk, namespace: str
) -> None:
    expression = "req.ref == 'refs/heads/' + res.metadata.annotations.branch"
    await desk.create(hook(namespace, labelled(), whole=expression))
    assert await call(desk, namespace, ref="refs/heads/next") == 0
    assert await requested(desk, namespace, "main", "next") == [False, True]


@pytest.mark.usefixtures("two")
async def test_each_named_resource_has_its_own_filter_beside_the_common_one(
    desk: Desk, namespace: str
) -> None:
    wanted = [
        one("main", filter="res.kind == 'GitRepository' && res.metadata.name == 'main'"),
        one("next", filter="req.number > 7"),
    ]
    await desk.create(hook(namespace, *wanted, whole="req.action == 'published'"))
    assert await call(desk, namespace, action="deleted", number=8) == 0
    assert await requested(desk, namespace, "main", "next") == [False, False]
    assert await call(desk, namespace, action="published", number=7) == 0
    assert await requested(desk, namespace, "main", "next") == [True, False]


@pytest.mark.usefixtures("two")
async def test_error_inside_an_expression_fails_that_resource_alone(
    desk: Desk, namespace: str
) -> None:
    wanted = [one("main", filter="req.nothing == 1"), one("next")]
    await desk.create(hook(namespace, *wanted))
    assert await call(desk, namespace, ref="x") == 1
    assert await requested(desk, namespace, "main", "next") == [False, True]


@pytest.mark.usefixtures("two")
async def test_error_for_one_labelled_object_leaves_the_others_alone(
    desk: Desk, namespace: str
) -> None:
    expression = "res.metadata.name == 'next' || req.nothing == 1"
    await desk.create(hook(namespace, labelled(filter=expression)))
    assert await call(desk, namespace, ref="x") == 1
    assert await requested(desk, namespace, "main", "next") == [False, True]


@pytest.mark.usefixtures("two")
async def test_body_that_cannot_be_filtered_by_asks_nobody(desk: Desk, namespace: str) -> None:
    await desk.create(hook(namespace, one("main"), one("next"), whole="true"))
    await desk.caught_up()
    found = desk.context.receivers.get(namespace, "hook")
    assert found
    assert await Endpoint(desk.context, found).request(Call("application/json", b"[]")) == 2
    assert await requested(desk, namespace, "main", "next") == [False, False]


async def test_expression_that_can_never_work_stalls_the_receiver_until_it_is_mended(
    desk: Desk, namespace: str
) -> None:
    secret = {"metadata": {"name": "hook-token", "namespace": namespace}, "kind": "Secret"}
    await desk.create(secret | {"apiVersion": "v1", "stringData": {"token": "t"}})
    await desk.create(hook(namespace, one("main", filter="req.ok")))
    reconciler = ReceiverReconciler(desk.context)
    with pytest.raises(TerminalError):
        await desk.reconcile(reconciler, namespace, "hook")
    found = await desk.conditions(Receiver, namespace, "hook")
    message = (
        "Reconciliation failed terminally due to configuration error: resources[0].filter: "
        "CEL expression output type mismatch: expected bool, got dyn"
    )
    assert found["Ready"] == ("False", "InvalidCELExpression", message)
    assert found["Stalled"] == ("True", "InvalidCELExpression", message)
    live = await desk.live(Receiver, namespace, "hook")
    assert live["status"]["observedGeneration"] == 1
    mended = {"spec": {"resources": [one("main", filter="req.ok == true")]}}
    await desk.patch(Receiver, namespace, "hook", mended)
    await desk.reconcile(reconciler, namespace, "hook")
    assert (await desk.conditions(Receiver, namespace, "hook")).keys() == {"Ready"}
