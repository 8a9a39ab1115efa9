"""A Kustomization works with the rights of its ServiceAccount, and with no others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from api import meta
from kube import errors
from reconcilers.context import ReconcileSettings
from runtime import conditions
from tests.support import kustomizer
from tests.support.kustomizer import applied, config_map, failed, gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.kustomize import Kustomization
    from devcluster.access import Access
    from tests.support.kustomizer import World

ACCOUNT = "deployer"


@pytest.fixture
def account(cluster: Access, namespace: str) -> str:
    """A ServiceAccount that may do with ConfigMaps of its namespace what an apply needs."""
    cluster.kubectl("create", "serviceaccount", ACCOUNT, "-n", namespace)
    verbs = "--verb=get,create,update,patch,delete"
    cluster.kubectl("create", "role", ACCOUNT, verbs, "--resource=configmaps", "-n", namespace)
    subject = f"--serviceaccount={namespace}:{ACCOUNT}"
    cluster.kubectl("create", "rolebinding", ACCOUNT, f"--role={ACCOUNT}", subject, "-n", namespace)
    return ACCOUNT


@pytest.fixture
async def world(
    cluster: Access, namespace: str, tmp_path: Path, account: str
) -> AsyncIterator[World]:
    del account
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


def _secret(namespace: str) -> str:
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {namespace}}}\n"


async def _kubectl(world: World, *arguments: str) -> str:
    return await asyncio.to_thread(world.cluster.kubectl, *arguments, "-n", world.namespace)


async def test_account_with_rights_applies_corrects_and_prunes(
    world: World, namespace: str
) -> None:
    await world.push(
        {"a.yaml": config_map("a", namespace, k="1"), "b.yaml": config_map("b", namespace)}
    )
    await world.kustomize("apps", serviceAccountName=ACCOUNT)
    await world.until("apps", applied(world.revision))
    await _kubectl(world, "patch", "configmap", "a", "-p", '{"data": {"k": "2"}}')
    await world.until_event("corrected")
    assert (await world.live("configmaps", "a"))["data"] == {"k": "1"}
    await world.push({"b.yaml": None})
    await world.until("apps", applied(world.revision))
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "b")
    await world.delete("apps")
    await world.until_shown("apps", gone)
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "a")


async def test_account_without_a_right_fails_with_who_may_not_do_what(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace), "s.yaml": _secret(namespace)})
    await world.kustomize("apps", serviceAccountName=ACCOUNT)
    item = await world.until("apps", failed("ReconciliationFailed"))
    said = kustomizer.ready(item).message
    assert f'secrets "s" is forbidden: User "system:serviceaccount:{namespace}:{ACCOUNT}"' in said
    assert 'cannot patch resource "secrets"' in said
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "a")  # nothing of a stage is written that is refused
    await _allow(world, "get,patch,create,delete", "secrets")
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))


async def test_account_reaches_no_other_namespace(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", "default", k=namespace)})
    await world.kustomize("apps", serviceAccountName=ACCOUNT)
    item = await world.until("apps", failed("ReconciliationFailed"))
    assert 'in the namespace "default"' in kustomizer.ready(item).message


async def test_account_that_is_no_name_is_refused_for_good(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", serviceAccountName="a\nImpersonate-Group: system:masters")
    item = await world.until("apps", failed("ReconciliationFailed", "is not the name of"))
    assert kustomizer.condition(item, "Stalled").status == "True"


async def test_health_is_read_with_the_rights_of_the_account(world: World, namespace: str) -> None:
    await _kubectl(world, "create", "secret", "generic", "hidden")
    await world.push({"a.yaml": config_map("a", namespace)})
    check = {"apiVersion": "v1", "kind": "Secret", "name": "hidden", "namespace": namespace}
    await world.kustomize("apps", serviceAccountName=ACCOUNT, healthChecks=[check])
    await world.until_shown("apps", _is_waiting)
    await _allow(world, "get", "secrets")
    await world.until("apps", applied(world.revision))


def _is_waiting(item: Kustomization | None) -> bool:
    found = conditions.get(item.status.conditions, meta.HEALTHY) if item else None
    return found is not None and found.message.startswith("Running health checks")


async def _allow(world: World, verbs: str, resource: str) -> None:
    role = (f"--verb={verbs}", f"--resource={resource}")
    await _kubectl(world, "create", "role", f"more-{resource}", *role)
    subject = f"--serviceaccount={world.namespace}:{ACCOUNT}"
    binding = (f"more-{resource}", f"--role=more-{resource}", subject)
    await _kubectl(world, "create", "rolebinding", *binding)


async def test_default_account_stands_in_where_none_is_named(world: World, namespace: str) -> None:
    world.context.settings = ReconcileSettings(default_service_account="nobody")
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps")
    who = f'User "system:serviceaccount:{namespace}:nobody" cannot'
    await world.until("apps", failed("ReconciliationFailed", who))
    await world.patch("apps", {"spec": {"serviceAccountName": ACCOUNT}})
    await world.until("apps", applied(world.revision))


async def test_lockdown_refuses_the_source_of_another_namespace(world: World) -> None:
    world.context.settings = ReconcileSettings(no_cross_namespace_refs=True)
    await world.kustomize(
        "apps", sourceRef={"kind": "GitRepository", "name": "fleet", "namespace": "flux-system"}
    )
    text = (
        "can't access 'GitRepository/flux-system/fleet', "
        "cross-namespace references have been blocked"
    )
    item = await world.until("apps", failed("AccessDenied", text))
    assert kustomizer.condition(item, "Stalled").reason == "AccessDenied"


async def test_settings_that_tighten_act_upon_what_is_applied_already(
    world: World, namespace: str
) -> None:
    await world.push({"s.yaml": _secret(namespace)})
    await world.kustomize("apps")
    await world.until("apps", applied(world.revision))
    world.context.settings = ReconcileSettings(default_service_account=ACCOUNT)
    await _kubectl(world, "delete", "secret", "s")
    await world.until("apps", failed("ReconciliationFailed", f":{ACCOUNT}"))


async def test_deletion_whose_account_is_gone_leaves_the_objects_and_says_so(
    world: World, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", serviceAccountName=ACCOUNT)
    await world.until("apps", applied(world.revision))
    await _kubectl(world, "delete", "serviceaccount", ACCOUNT)
    await world.delete("apps")
    await world.until_shown("apps", gone)
    event = await world.until_event("unable to prune objects")
    assert event.message == f"unable to prune objects: \nConfigMap/{namespace}/a"
    assert event.severity == "error"
    assert await world.live("configmaps", "a")


async def test_deletion_without_rights_keeps_the_finalizer(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", serviceAccountName=ACCOUNT)
    await world.until("apps", applied(world.revision))
    await _kubectl(world, "delete", "rolebinding", ACCOUNT)
    await world.delete("apps")
    event = await world.until_event("pruning for deleted resource failed")
    assert f'User "system:serviceaccount:{namespace}:{ACCOUNT}" cannot' in event.message
    subject = f"--serviceaccount={namespace}:{ACCOUNT}"
    await _kubectl(world, "create", "rolebinding", ACCOUNT, f"--role={ACCOUNT}", subject)
    await world.until_shown("apps", gone)
    with pytest.raises(errors.NotFound):
        await world.live("configmaps", "a")
