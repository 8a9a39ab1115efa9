"""Definitions are installed, extended and left alone on a real API server."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import crds as shipped
from api import meta
from kube import crds, errors, manifests
from kube.crds import Action
from kube.objects import GVK, Resource
from tests.support import api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devcluster.cluster import Cluster
    from kube.client import Client
    from kube.objects import JsonObject


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with api.client(cluster.kubeconfig) as opened:
        yield opened


def schema(**fields: str) -> JsonObject:
    spec = {"type": "object", "properties": {name: {"type": kind} for name, kind in fields.items()}}
    return {"type": "object", "properties": {"spec": spec}}


def definition(group: str, **versions: JsonObject) -> JsonObject:
    newest = list(versions)[-1]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boats.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Boat", "plural": "boats", "singular": "boat"},
            "versions": [
                {
                    "name": name,
                    "served": True,
                    "storage": name == newest,
                    "schema": {"openAPIV3Schema": each},
                }
                for name, each in versions.items()
            ],
        },
    }


@pytest.fixture
async def group(client: Client, namespace: str) -> AsyncIterator[str]:
    name = f"{namespace}.example.org"
    yield name
    try:
        await client.delete(crds.RESOURCE, "", f"boats.{name}")
    except errors.NotFound:
        return


def boats(group: str, version: str) -> Resource:
    return Resource(GVK(group, version, "Boat"), "boats", is_namespaced=True)


async def put_boat(client: Client, resource: Resource, namespace: str, **spec: Any) -> JsonObject:
    body = {
        "apiVersion": resource.gvk.api_version,
        "kind": "Boat",
        "metadata": {"name": "a"},
        "spec": spec,
    }
    applied = await client.apply(resource, orjson.dumps(body), namespace, "a", manager="m")
    obj: JsonObject = orjson.loads(applied.raw)
    return obj


async def test_absent_definition_is_created_and_served(
    client: Client, namespace: str, group: str
) -> None:
    (outcome,) = await crds.install(client, [definition(group, v1=schema(a="string"))])
    assert outcome == crds.Outcome(f"boats.{group}", Action.CREATED)
    boat = await put_boat(client, boats(group, "v1"), namespace, a="x")
    assert boat["spec"] == {"a": "x"}


async def test_same_definition_again_writes_nothing(client: Client, group: str) -> None:
    wanted = definition(group, v1=schema(a="string"))
    await crds.install(client, [wanted])
    before = client.requests.copy()
    (outcome,) = await crds.install(client, [wanted])
    assert outcome.action is Action.UNCHANGED
    assert client.requests - before == {("get", "customresourcedefinitions"): 1}


async def test_our_own_definition_follows_a_new_version_of_the_daemon(
    client: Client, group: str
) -> None:
    wanted = definition(group, v1=schema(a="string"))
    await crds.install(client, [wanted])
    described = copy.deepcopy(wanted)
    described["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "better"
    (outcome,) = await crds.install(client, [described])
    assert outcome.action is Action.UPDATED
    live = await client.get(crds.RESOURCE, "", f"boats.{group}")
    assert live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] == "better"


async def test_definition_of_a_newer_daemon_stays(client: Client, group: str) -> None:
    wanted = definition(group, v1=schema(a="string"))
    await crds.install(client, [wanted])
    stamp = orjson.dumps({"metadata": {"annotations": {crds.DEFINITION: "999.0.0 abc"}}})
    await client.patch(crds.RESOURCE, "", f"boats.{group}", stamp, manager="m")
    (outcome,) = await crds.install(client, [wanted])
    assert outcome.action is Action.UNCHANGED


async def test_older_foreign_definition_is_extended_and_loses_nothing(
    client: Client, namespace: str, group: str
) -> None:
    old = definition(group, v1beta1=schema(a="string", old="string"))
    old["metadata"]["labels"] = {"app.kubernetes.io/part-of": "flux"}
    await client.create(crds.RESOURCE, "", orjson.dumps(old), manager="flux")
    await crds.wait_served(client, old)
    await put_boat(client, boats(group, "v1beta1"), namespace, a="x", old="kept")
    (outcome,) = await crds.install(
        client, [definition(group, v1=schema(a="string", new="string"))]
    )
    assert outcome.action is Action.UPDATED
    live = await client.get(crds.RESOURCE, "", f"boats.{group}")
    assert live["metadata"]["labels"] == {"app.kubernetes.io/part-of": "flux"}
    assert {each["name"]: each["storage"] for each in live["spec"]["versions"]} == {
        "v1beta1": False,
        "v1": True,
    }
    assert live["status"]["storedVersions"] == ["v1beta1", "v1"]
    boat = await client.get(boats(group, "v1beta1"), namespace, "a")
    assert boat["spec"] == {"a": "x", "old": "kept"}


async def test_newer_foreign_definition_stays(client: Client, group: str) -> None:
    newer = definition(group, v1=schema(a="string", more="string"))
    await client.create(crds.RESOURCE, "", orjson.dumps(newer), manager="flux")
    (outcome,) = await crds.install(client, [definition(group, v1=schema(a="string"))])
    assert outcome == crds.Outcome(f"boats.{group}", Action.UNCHANGED)


async def test_definition_that_a_kustomization_owns_is_left_to_it(
    client: Client, group: str
) -> None:
    owned = definition(group, v1=schema(a="string"))
    owned["metadata"]["labels"] = {meta.OWNER_NAME: "flux-system", meta.OWNER_NAMESPACE: "x"}
    await client.create(crds.RESOURCE, "", orjson.dumps(owned), manager="flux")
    wanted = definition(group, v1=schema(a="string", new="string"))
    (outcome,) = await crds.install(client, [wanted])
    assert outcome == crds.Outcome(
        f"boats.{group}", Action.LEFT, owner="flux-system", lacks=("v1.spec.new",)
    )


def read_shipped() -> list[JsonObject]:
    return [manifests.load(each) for each in shipped.load()]


async def test_definitions_of_the_daemon_are_accepted(client: Client) -> None:
    definitions = await asyncio.to_thread(read_shipped)
    outcomes = await crds.install(client, definitions)
    assert {each.action for each in outcomes} <= {Action.CREATED, Action.UNCHANGED, Action.UPDATED}
    again = await crds.install(client, definitions)
    assert {each.action for each in again} == {Action.UNCHANGED}


async def test_user_without_rights_is_told(cluster: Cluster, group: str) -> None:
    async with api.client(cluster.user("stranger")) as stranger:
        with pytest.raises(errors.Forbidden):
            await crds.install(stranger, [definition(group, v1=schema(a="string"))])
