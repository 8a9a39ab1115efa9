"""Receivers on a real API server: path, conditions, and what a call does to the objects."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from api.notification import Receiver
from api.source import GitRepository
from reconcilers import receiver
from reconcilers.context import ReconcileSettings
from reconcilers.filters import Call
from reconcilers.receiver import Endpoint, ReceiverReconciler
from runtime.errors import TerminalError, TransientError
from tests.support import reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.reconciling import Desk

TOKEN = "a-token-nobody-guesses"


@pytest.fixture
async def desk(cluster: Access, tmp_path: Path) -> AsyncIterator[Desk]:
    async with reconciling.running(cluster, tmp_path) as each:
        yield each


def secret(namespace: str, token: str = TOKEN, key: str = "token") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hook-token", "namespace": namespace},
        "stringData": {key: token},
    }


def hook(namespace: str, *resources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    wanted = list(resources) or [{"kind": "GitRepository", "name": "fleet"}]
    base = {"type": "generic", "secretRef": {"name": "hook-token"}, "resources": wanted}
    return {
        "apiVersion": "notification.toolkit.fluxcd.io/v1",
        "kind": "Receiver",
        "metadata": {"name": "hook", "namespace": namespace},
        "spec": base | spec,
    }


def source(
    namespace: str, name: str = "fleet", labels: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"url": "https://host/repo", "interval": "1h", "suspend": True},
    }


async def call(desk: Desk, namespace: str) -> int:
    """Act on a call to the Receiver as the webhook listener does."""
    await desk.caught_up()
    found = desk.context.receivers.get(namespace, "hook")
    assert found
    return await Endpoint(desk.context, found).request(Call())


async def requested(desk: Desk, namespace: str, name: str) -> str | None:
    annotations = (await desk.live(GitRepository, namespace, name))["metadata"].get(
        "annotations", {}
    )
    found: str | None = annotations.get(meta.REQUESTED_AT)
    return found


async def test_a_receiver_gets_the_path_that_flux_would_give_it(desk: Desk, namespace: str) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace, interval="5m"))
    result = await desk.reconcile(ReceiverReconciler(desk.context), namespace, "hook")
    digest = hashlib.sha256(f"{TOKEN}hook{namespace}".encode()).hexdigest()
    live = await desk.live(Receiver, namespace, "hook")
    assert live["status"]["webhookPath"] == f"/hook/{digest}"
    assert live["status"]["observedGeneration"] == 1
    assert live["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    assert await desk.conditions(Receiver, namespace, "hook") == {
        "Ready": ("True", "Succeeded", f"Receiver initialized for path: /hook/{digest}")
    }
    assert result.requeue_after_s == 300
    assert [event.message for event in desk.events] == ["Reconciliation finished, next run in 5m"]


async def test_a_run_that_finds_everything_in_place_writes_nothing(
    desk: Desk, namespace: str
) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace))
    reconciler = ReceiverReconciler(desk.context)
    await desk.reconcile(reconciler, namespace, "hook")
    desk.events.clear()
    with desk.counting() as counts:
        await desk.reconcile(reconciler, namespace, "hook")
    assert counts == {"get": 1}, "the Secret, and nothing else"
    assert not desk.events


async def test_a_request_is_echoed(desk: Desk, namespace: str) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace))
    change = {"metadata": {"annotations": {meta.REQUESTED_AT: "now"}}}
    await desk.patch(Receiver, namespace, "hook", change)
    await desk.reconcile(ReceiverReconciler(desk.context), namespace, "hook")
    assert (await desk.live(Receiver, namespace, "hook"))["status"][
        "lastHandledReconcileAt"
    ] == "now"


async def test_a_new_token_moves_the_path(desk: Desk, namespace: str) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace))
    reconciler = ReceiverReconciler(desk.context)
    await desk.reconcile(reconciler, namespace, "hook")
    await desk.create(secret(namespace, "another"))
    await desk.reconcile(reconciler, namespace, "hook")
    path = (await desk.live(Receiver, namespace, "hook"))["status"]["webhookPath"]
    assert path == receiver.webhook_path(b"another", "hook", namespace)


async def test_a_missing_secret_takes_the_path_back_until_it_is_there(
    desk: Desk, namespace: str
) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace))
    reconciler = ReceiverReconciler(desk.context)
    await desk.reconcile(reconciler, namespace, "hook")
    desk.cluster.kubectl("delete", "secret", "hook-token", "-n", namespace)
    desk.events.clear()
    for _ in range(2):
        with pytest.raises(TransientError):
            await desk.reconcile(reconciler, namespace, "hook")
    live = await desk.live(Receiver, namespace, "hook")
    assert "webhookPath" not in live["status"]
    found = await desk.conditions(Receiver, namespace, "hook")
    text = (
        f"unable to read token from secret '{namespace}/hook-token' error: "
        'secrets "hook-token" not found'
    )
    assert found["Ready"] == ("False", "TokenNotFound", text)
    assert found["Reconciling"][:2] == ("True", "ProgressingWithRetry")
    assert [(each.severity, each.reason, each.message) for each in desk.events] == [
        ("error", "Failed", text)
    ], "told once"
    await desk.create(secret(namespace))
    await desk.reconcile(reconciler, namespace, "hook")
    assert list(await desk.conditions(Receiver, namespace, "hook")) == ["Ready"]


@pytest.mark.parametrize(("token", "key"), [("x", "password"), ("", "token")])
async def test_a_secret_without_a_token_is_named(
    desk: Desk, namespace: str, token: str, key: str
) -> None:
    await desk.create(secret(namespace, token, key))
    await desk.create(hook(namespace))
    with pytest.raises(TransientError, match="required fields 'token'") as caught:
        await desk.reconcile(ReceiverReconciler(desk.context), namespace, "hook")
    assert caught.value.message == (
        f"invalid '{namespace}/hook-token' secret data: required fields 'token'"
    )


async def test_a_type_that_is_not_served_stalls(desk: Desk, namespace: str) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace, type="gitlab"))
    with pytest.raises(TerminalError, match="type=gitlab"):
        await desk.reconcile(ReceiverReconciler(desk.context), namespace, "hook")
    found = await desk.conditions(Receiver, namespace, "hook")
    assert found["Stalled"][:2] == ("True", "FieldNotServed")
    assert found["Ready"][:2] == ("False", "FieldNotServed")
    assert (await desk.live(Receiver, namespace, "hook"))["status"]["observedGeneration"] == 1


async def test_a_suspended_receiver_is_left_as_it_is(desk: Desk, namespace: str) -> None:
    await desk.create(hook(namespace, suspend=True))
    result = await desk.reconcile(ReceiverReconciler(desk.context), namespace, "hook")
    assert result.requeue_after_s is None
    assert await desk.conditions(Receiver, namespace, "hook") == {}


async def test_a_deleted_receiver_is_let_go(desk: Desk, namespace: str) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace))
    reconciler = ReceiverReconciler(desk.context)
    await desk.reconcile(reconciler, namespace, "hook")
    await desk.delete(Receiver, namespace, "hook")
    await desk.reconcile(reconciler, namespace, "hook")
    assert await desk.names(namespace, Receiver) == []
    assert (await desk.reconcile(reconciler, namespace, "hook")).requeue_after_s is None


async def test_a_call_requests_each_resource(desk: Desk, namespace: str) -> None:
    await desk.create(source(namespace))
    await desk.create(source(namespace, "other"))
    await desk.create(hook(namespace))
    assert await call(desk, namespace) == 0
    first = await requested(desk, namespace, "fleet")
    assert first
    assert await requested(desk, namespace, "other") is None
    assert await call(desk, namespace) == 0
    assert await requested(desk, namespace, "fleet") != first, "each call is a new request"


async def test_a_star_requests_all_that_have_the_labels(desk: Desk, namespace: str) -> None:
    for name, labels in {
        "a": {"app": "x", "tier": "1"},
        "b": {"app": "x", "tier": "1"},
        "c": {"app": "x"},
    }.items():
        await desk.create(source(namespace, name, labels))
    wanted = {"kind": "GitRepository", "name": "*", "matchLabels": {"app": "x", "tier": "1"}}
    await desk.create(hook(namespace, wanted))
    assert await call(desk, namespace) == 0
    assert [bool(await requested(desk, namespace, name)) for name in "abc"] == [True, True, False]


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "GitRepository", "name": "missing"},
        {"kind": "GitRepository", "name": "*"},
        {"kind": "Kustomization", "name": "apps"},
        {"kind": "Bucket", "name": "b"},
        {"apiVersion": "source.toolkit.fluxcd.io/v9", "kind": "GitRepository", "name": "fleet"},
    ],
)
async def test_a_resource_that_cannot_be_asked_does_not_keep_the_others(
    desk: Desk, namespace: str, broken: dict[str, Any]
) -> None:
    await desk.create(source(namespace))
    await desk.create(hook(namespace, broken, {"kind": "GitRepository", "name": "fleet"}))
    assert await call(desk, namespace) == 1
    assert await requested(desk, namespace, "fleet")


async def test_match_labels_count_only_with_a_star(desk: Desk, namespace: str) -> None:
    await desk.create(source(namespace))
    wanted = {"kind": "GitRepository", "name": "fleet", "matchLabels": {"no": "such"}}
    await desk.create(hook(namespace, wanted))
    assert await call(desk, namespace) == 0
    assert await requested(desk, namespace, "fleet")


async def test_another_namespace_can_be_forbidden(
    cluster: Access, tmp_path: Path, namespace: str
) -> None:
    settings = ReconcileSettings(no_cross_namespace_refs=True)
    async with reconciling.running(cluster, tmp_path, settings) as desk:
        await desk.create(source(namespace))
        elsewhere = {"kind": "GitRepository", "name": "fleet", "namespace": "default"}
        await desk.create(hook(namespace, elsewhere, {"kind": "GitRepository", "name": "fleet"}))
        assert await call(desk, namespace) == 1
        assert await requested(desk, namespace, "fleet")


async def test_the_token_of_an_endpoint_is_the_secret_s(desk: Desk, namespace: str) -> None:
    await desk.create(secret(namespace))
    await desk.create(hook(namespace))
    await desk.caught_up()
    found = desk.context.receivers.get(namespace, "hook")
    assert found
    assert await Endpoint(desk.context, found).token() == TOKEN.encode()
