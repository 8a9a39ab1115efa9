"""Edge cases that Flux's own tests pin, as far as no other file here is about them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from kube import errors
from tests.support import kustomizer
from tests.support.kustomizer import KUSTOMIZATIONS, REPOSITORIES, applied, config_map, failed, gone

RBAC = "rbac.authorization.k8s.io"

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.kustomizer import World


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


def annotated(text: str, key: str, value: str) -> str:
    return text.replace("metadata:\n", f"metadata:\n  annotations: {{{key}: {value}}}\n")


async def exists(world: World, name: str) -> bool:
    try:
        await world.live("configmaps", name)
    except errors.NotFound:
        return False
    return True


async def test_kustomization_deleted_before_it_had_our_finalizer_vanishes(
    cluster: Access, namespace: str, tmp_path: Path
) -> None:
    async with kustomizer.running(cluster, tmp_path, namespace, is_controlling=False) as world:
        spec = {
            "interval": "1h",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "repo"},
        }
        await world.create(KUSTOMIZATIONS, "apps", spec, finalizers=["example.com/theirs"])
        await world.delete("apps")
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.idle("apps")
        item = world.get("apps")
        assert item is not None
        assert item.metadata.finalizers == ("example.com/theirs",)
        await world.patch("apps", {"metadata": {"finalizers": None}})
        await world.until("apps", gone)


async def test_deletion_prunes_although_a_dependency_has_vanished(
    world: World, namespace: str
) -> None:
    await world.push(
        {"a/a.yaml": config_map("a", namespace), "b/b.yaml": config_map("b", namespace)}
    )
    await world.kustomize("first", path="a")
    await world.kustomize("second", path="b", dependsOn=[{"name": "first"}])
    await world.until("second", applied(world.revision))
    await world.delete("first")
    await world.until("first", gone)
    await world.request("second", "now")
    await world.until("second", failed(meta.DEPENDENCY_NOT_READY))
    await world.delete("second")
    await world.until("second", gone)
    assert not await exists(world, "b")


async def test_revision_of_what_an_artifact_was_made_of_is_recorded_and_told(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    origin = "main@sha1:0123456789012345678901234567890123456789"
    body = {"status": {"artifact": {"metadata": {"org.opencontainers.image.revision": origin}}}}
    raw = await world.context.client.patch(
        REPOSITORIES,
        namespace,
        "repo",
        orjson.dumps(body),
        manager=meta.SOURCE_MANAGER,
        subresource="status",
    )
    world.context.gitrepositories.observe(raw)
    await world.kustomize("apps")
    item = await world.until("apps", applied(world.revision))
    assert item.status.last_applied_origin_revision == origin
    assert item.status.history[0].metadata["originRevision"] == origin
    event = await world.until_event("Reconciliation finished")
    assert event.metadata[f"{meta.KUSTOMIZE_GROUP}/originRevision"] == origin


def _binding(namespace: str) -> bytes:
    return orjson.dumps(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reader", "namespace": namespace},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "reader"},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "ada"}],
        }
    )


def _role(namespace: str) -> bytes:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    return orjson.dumps(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": "reader", "namespace": namespace},
            "rules": [rule],
        }
    )


async def test_binding_of_a_role_beside_it_needs_the_custom_stage_where_escalation_is_checked(
    world: World, namespace: str
) -> None:
    """Whoever has all of a role's rights may create and bind it, but only one that is there."""
    create = functools.partial(world.cluster.kubectl, "-n", namespace, "create")
    for made in (
        "serviceaccount deployer",
        "role deployer --verb=get,create,patch,delete --resource=roles,rolebindings",
        f"rolebinding deployer --role=deployer --serviceaccount={namespace}:deployer",
        f"rolebinding reader-too --clusterrole=view --serviceaccount={namespace}:deployer",
    ):
        await asyncio.to_thread(create, *made.split())
    await world.push({"b.yaml": _binding(namespace), "r.yaml": _role(namespace)})
    await world.kustomize("apps", serviceAccountName="deployer")
    text = f"RoleBinding/{namespace}/reader not found: "
    await world.until("apps", failed(meta.RECONCILIATION_FAILED, text))
    stages = frozenset({f"{RBAC}/Role"})
    world.context.settings = dataclasses.replace(world.context.settings, custom_stages=stages)
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))


async def test_namespace_and_definition_and_what_is_of_them_come_in_the_first_run(
    world: World, namespace: str
) -> None:
    group, inner = f"{namespace}.example.com", f"inner-{namespace}"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inner}}
    thing = {
        "apiVersion": f"{group}/v1",
        "kind": "Thing",
        "metadata": {"name": "one", "namespace": inner},
    }
    await world.push(
        {
            "1.yaml": orjson.dumps(thing),
            "2.yaml": config_map("a", inner),
            "3.yaml": orjson.dumps(space),
            "4.yaml": orjson.dumps(_definition(group)),
        }
    )
    await world.kustomize("apps")
    item = await world.until("apps", applied(world.revision))
    assert item.status.history[0].total_reconciliations == 1
    assert not [each for each in world.events if each.severity == "error"]
    await world.delete("apps")
    await world.until("apps", gone)


def _definition(group: str) -> dict[str, object]:
    names = {"kind": "Thing", "listKind": "ThingList", "plural": "things"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_wait_leaves_out_what_is_not_applied(world: World, namespace: str) -> None:
    waits = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {
            "name": "never",
            "namespace": namespace,
            "annotations": {meta.SSA: "Ignore"},
        },
        "spec": {"url": "https://example.com/none", "interval": "1h"},
    }
    await world.push({"never.yaml": orjson.dumps(waits), "a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", wait=True, timeout="5m")
    await world.until("apps", applied(world.revision))


async def test_ignored_object_survives_prune_and_finalizer_and_one_created_once_does_not(
    world: World, namespace: str
) -> None:
    once = annotated(config_map("once", namespace), meta.SSA, "IfNotPresent")
    kept = annotated(config_map("kept", namespace), meta.SSA, "Ignore")
    plain = config_map("kept", namespace)
    await world.push(
        {"once.yaml": once, "kept.yaml": plain, "rest.yaml": config_map("rest", namespace)}
    )
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    world.cluster.kubectl("annotate", "configmap", "kept", "-n", namespace, f"{meta.SSA}=Ignore")
    await world.push({"kept.yaml": kept})
    await world.until("apps", applied(world.revision))
    await world.push({"once.yaml": None, "kept.yaml": None})
    await world.until("apps", applied(world.revision))
    assert not await exists(world, "once")
    assert await exists(world, "kept")
    await world.push({"once.yaml": once, "kept.yaml": kept})
    await world.until("apps", applied(world.revision))
    await world.delete("apps")
    await world.until("apps", gone)
    assert not await exists(world, "once")
    assert not await exists(world, "rest")
    assert await exists(world, "kept")


async def test_annotations_of_the_origin_come_and_go_with_the_spec(
    world: World, namespace: str
) -> None:
    async def annotations() -> dict[str, Any]:
        live = await world.live("configmaps", "a")
        found: dict[str, Any] = live["metadata"].get("annotations", {})
        return found

    await world.push({"apps/a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", path="apps", buildMetadata=["originAnnotations"])
    await world.until("apps", applied(world.revision))
    assert (await annotations())["config.kubernetes.io/origin"] == "path: a.yaml\n"
    await world.patch("apps", {"spec": {"buildMetadata": None}})
    await world.until("apps", applied(world.revision))
    assert await annotations() == {}


async def test_one_patch_may_delete_several_objects(world: World, namespace: str) -> None:
    await world.push({f"{name}.yaml": config_map(name, namespace) for name in "abcd"})
    both = "\n---\n".join(f"$patch: delete\n{config_map(name, namespace)}" for name in "ab")
    one = f"$patch: delete\n{config_map('c', namespace)}"
    await world.kustomize("apps", patches=[{"patch": both}, {"patch": one}])
    item = await world.until("apps", applied(world.revision))
    assert kustomizer.owned(item) == [f"{namespace}_d__ConfigMap"]
