"""The verbs, on a real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from kube import errors
from kube.client import JSON_PATCH
from kube.objects import GVK, Resource
from tests.support import api
from tests.support.api import CONFIG_MAPS, NAMESPACES

if TYPE_CHECKING:
    from devcluster.cluster import Cluster

SECRETS = Resource(GVK("", "v1", "Secret"), "secrets", is_namespaced=True)


async def test_apply_tells_creation_from_change(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        body = orjson.dumps(api.config_map(namespace, "a", k="1"))
        first = await client.apply(CONFIG_MAPS, body, namespace, "a", manager="m")
        second = await client.apply(CONFIG_MAPS, body, namespace, "a", manager="m")
    assert (first.created, second.created) == (True, False)
    one, two = orjson.loads(first.raw), orjson.loads(second.raw)
    assert one["metadata"]["resourceVersion"] == two["metadata"]["resourceVersion"]


async def test_dry_run_of_an_absent_object_says_it_would_be_created(
    cluster: Cluster, namespace: str
) -> None:
    async with api.client(cluster.kubeconfig) as client:
        body = orjson.dumps(api.config_map(namespace, "a", k="1"))
        answer = await client.apply(CONFIG_MAPS, body, namespace, "a", manager="m", dry_run=True)
        assert answer.created
        with pytest.raises(errors.NotFound):
            await client.get(CONFIG_MAPS, namespace, "a")
        assert client.requests == {("dry-run", "configmaps"): 1, ("get", "configmaps"): 1}


async def test_field_of_another_manager_is_a_conflict_unless_forced(
    cluster: Cluster, namespace: str
) -> None:
    async with api.client(cluster.kubeconfig) as client:
        await api.put(client, namespace, "a", k="1")
        body = orjson.dumps(api.config_map(namespace, "a", k="2"))
        with pytest.raises(errors.Conflict) as caught:
            await client.apply(CONFIG_MAPS, body, namespace, "a", manager="other", force=False)
        assert caught.value.details.causes[0].reason == "FieldManagerConflict"
        await client.apply(CONFIG_MAPS, body, namespace, "a", manager="other")
        obj = await client.get(CONFIG_MAPS, namespace, "a")
    assert obj["data"] == {"k": "2"}


async def test_metadata_comes_with_managers_and_without_the_object(
    cluster: Cluster, namespace: str
) -> None:
    async with api.client(cluster.kubeconfig) as client:
        await api.put(client, namespace, "a", k="1")
        metadata = await client.metadata(CONFIG_MAPS, namespace, "a")
    assert (metadata.namespace, metadata.name) == (namespace, "a")
    (entry,) = metadata.managed_fields
    assert (entry.manager, entry.operation) == ("test", "Apply")
    assert orjson.loads(bytes(entry.fields_v1)) == {"f:data": {"f:k": {}}}


async def test_patches_merge_or_edit(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        await api.put(client, namespace, "a", k="1", gone="x")
        merged = await client.patch(
            CONFIG_MAPS, namespace, "a", b'{"data":{"gone":null,"new":"2"}}', manager="m"
        )
        assert orjson.loads(merged)["data"] == {"k": "1", "new": "2"}
        edit = b'[{"op":"test","path":"/data/k","value":"1"},{"op":"remove","path":"/data/k"}]'
        edited = await client.patch(
            CONFIG_MAPS, namespace, "a", edit, manager="m", content_type=JSON_PATCH
        )
        assert orjson.loads(edited)["data"] == {"new": "2"}
        dry = await client.patch(
            CONFIG_MAPS, namespace, "a", b'{"data":{"new":"3"}}', manager="m", dry_run=True
        )
        assert orjson.loads(dry)["data"] == {"new": "3"}
        assert (await client.get(CONFIG_MAPS, namespace, "a"))["data"] == {"new": "2"}


async def test_status_is_patched_as_a_subresource(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        condition = {"type": "Test", "status": "True", "reason": "R", "message": "m"}
        condition["lastTransitionTime"] = "2026-01-02T03:04:05Z"
        patch = orjson.dumps({"status": {"conditions": [condition]}})
        raw = await client.patch(
            NAMESPACES, "", namespace, patch, manager="m", subresource="status"
        )
    assert orjson.loads(raw)["status"]["conditions"] == [condition]


async def test_patch_with_an_old_resource_version_is_a_conflict(
    cluster: Cluster, namespace: str
) -> None:
    async with api.client(cluster.kubeconfig) as client:
        old = await api.put(client, namespace, "a", k="1")
        await api.put(client, namespace, "a", k="2")
        version = old["metadata"]["resourceVersion"]
        patch = orjson.dumps({"metadata": {"resourceVersion": version}, "data": {"k": "3"}})
        with pytest.raises(errors.Conflict):
            await client.patch(CONFIG_MAPS, namespace, "a", patch, manager="m")


async def test_create_refuses_what_exists(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        body = orjson.dumps(api.config_map(namespace, "a"))
        await client.create(CONFIG_MAPS, namespace, body, manager="m", dry_run=True)
        await client.create(CONFIG_MAPS, namespace, body, manager="m")
        with pytest.raises(errors.AlreadyExists):
            await client.create(CONFIG_MAPS, namespace, body, manager="m")


async def test_delete_spares_another_object_of_that_name(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        obj = await api.put(client, namespace, "a")
        with pytest.raises(errors.Conflict):
            await client.delete(CONFIG_MAPS, namespace, "a", uid="another")
        with pytest.raises(errors.Conflict):
            await client.delete(CONFIG_MAPS, namespace, "a", resource_version="1")
        await client.delete(CONFIG_MAPS, namespace, "a", uid=obj["metadata"]["uid"])
        with pytest.raises(errors.NotFound):
            await client.delete(CONFIG_MAPS, namespace, "a")


async def test_schema_violation_names_the_field(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        body = orjson.dumps(api.config_map(namespace, "a") | {"immutable": "perhaps"})
        with pytest.raises(errors.ApiError, match="immutable"):
            await client.apply(CONFIG_MAPS, body, namespace, "a", manager="m")


async def test_absent_namespace_is_named_in_the_details(cluster: Cluster) -> None:
    async with api.client(cluster.kubeconfig) as client:
        with pytest.raises(errors.NotFound) as caught:
            await api.put(client, "absent", "a")
    assert (caught.value.details.kind, caught.value.details.name) == ("namespaces", "absent")


async def test_list_comes_in_pages_of_one_moment(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        for name in "abcdefg":
            await api.put(client, namespace, name)
        names: list[str] = []
        versions = set()
        async for page in client.list_pages(
            CONFIG_MAPS, namespace=namespace, metadata_only=True, limit=3
        ):
            decoded = orjson.loads(page)
            assert all("data" not in item for item in decoded["items"])
            names += [item["metadata"]["name"] for item in decoded["items"]]
            versions.add(decoded["metadata"]["resourceVersion"])
            await api.put(client, namespace, f"later-{len(names)}")
        assert [name for name in names if len(name) == 1] == list("abcdefg")
        assert not [name for name in names if name.startswith("later")]
        assert len(versions) == 1
        assert client.requests["list", "configmaps"] == 3


async def test_list_is_selected_by_labels_and_fields(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        await api.put(client, namespace, "a")
        await client.patch(
            CONFIG_MAPS, namespace, "a", b'{"metadata":{"labels":{"x":"y"}}}', manager="m"
        )
        await api.put(client, namespace, "b")

        async def names(labels: str, fields: str) -> list[str]:
            pages = client.list_pages(
                CONFIG_MAPS, namespace=namespace, label_selector=labels, field_selector=fields
            )
            return [
                item["metadata"]["name"]
                async for page in pages
                for item in orjson.loads(page)["items"]
            ]

        assert await names("x=y", "") == ["a"]
        assert await names("", "metadata.name=b") == ["b"]
        assert await names("x=y", "metadata.name=b") == []


async def test_impersonated_user_has_only_its_own_rights(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.kubeconfig) as client:
        nobody = client.impersonating(f"system:serviceaccount:{namespace}:nobody")
        with pytest.raises(errors.Forbidden, match="cannot patch resource"):
            await api.put(nobody, namespace, "a")
        await api.put(client, namespace, "a")


async def test_user_without_rights_is_forbidden(cluster: Cluster, namespace: str) -> None:
    async with api.client(cluster.user("stranger")) as client:
        with pytest.raises(errors.Forbidden, match='User "stranger"'):
            await client.get(CONFIG_MAPS, namespace, "a")


async def test_server_that_restarts_costs_one_error_at_most(
    cluster: Cluster, namespace: str
) -> None:
    async with api.client(cluster.kubeconfig) as client:
        await api.put(client, namespace, "a", k="1")
        await asyncio.to_thread(cluster.kill_api)
        with pytest.raises(errors.Unreachable, match="cannot connect"):
            await api.put(client, namespace, "a", k="2")
        await asyncio.to_thread(cluster.start_api)
        await api.put(client, namespace, "a", k="2")
