"""The values of a release, read from a real API server."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from api.helm import HelmRelease
from kube import references
from kube.helm import digest
from kube.objects import ObjectId
from reconcilers.helmrelease import values
from runtime.errors import TransientError
from tests.support import api, reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.cluster import Cluster
    from tests.support.reconciling import Desk


@pytest.fixture
async def desk(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Desk]:
    async with reconciling.running(cluster, tmp_path) as opened:
        yield opened


def release(namespace: str, *references: dict[str, Any], **inline: Any) -> HelmRelease:
    """Return a HelmRelease with these values."""
    spec = {"interval": "1m", "valuesFrom": references, "values": inline}
    metadata = {"name": "app", "namespace": namespace}
    return msgspec.json.decode(orjson.dumps({"metadata": metadata, "spec": spec}), type=HelmRelease)


async def test_references_are_read_and_merged_in_their_order(desk: Desk, namespace: str) -> None:
    client = desk.context.client
    await api.put(client, namespace, "base", **{"values.yaml": "a: 1\nb: {c: 1, d: 1}\n", "n": "7"})
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "more", "namespace": namespace},
        "data": {"own.yaml": base64.b64encode(b"b: {c: 2}\n").decode()},
    }
    body = orjson.dumps(secret)
    resource = references.RESOURCES[references.SECRET]
    await client.apply(resource, body, namespace, "more", manager="test")
    item = release(
        namespace,
        {"kind": "ConfigMap", "name": "base"},
        {"kind": "Secret", "name": "more", "valuesKey": "own.yaml"},
        {"kind": "ConfigMap", "name": "base", "valuesKey": "n", "targetPath": "e.f"},
        {"kind": "ConfigMap", "name": "nowhere", "optional": True},
        b={"d": 3},
    )
    owner = item.ref(desk.context.name)
    targets = [
        ObjectId(namespace, "base", "", "ConfigMap"),
        ObjectId(namespace, "more", "", "Secret"),
    ]
    desk.context.references.refer(owner, targets)
    before = client.requests["get", "configmaps"]
    found = await values.compose(desk.context, item)
    assert found.merged == {"a": 1, "b": {"c": 2, "d": 3}, "e": {"f": 7}}
    assert found.digest == digest.of_values(found.merged)
    assert client.requests["get", "configmaps"] == before + 2  # each object is read once
    assert {target for target, _ in desk.context.references.seen(owner)} == set(targets)


@pytest.mark.parametrize(
    ("kind", "name", "key", "reason"),
    [
        ("Secret", "nowhere", "values.yaml", "resource not found"),
        ("ConfigMap", "bad", "missing", "key not found"),
        ("ConfigMap", "bad", "values.yaml", "the values are no map"),
    ],
)
async def test_a_reference_that_cannot_be_resolved_is_named(
    desk: Desk, namespace: str, kind: str, name: str, key: str, reason: str
) -> None:
    await api.put(desk.context.client, namespace, "bad", **{"values.yaml": "- a list"})
    reference = {"kind": kind, "name": name, "valuesKey": key}
    with pytest.raises(TransientError) as caught:
        await values.compose(desk.context, release(namespace, reference))
    assert caught.value.reason == "ValuesError"
    assert str(caught.value) == (
        f"could not resolve {kind} chart values reference '{namespace}/{name}' with key '{key}': "
        f"{reason}"
    )
