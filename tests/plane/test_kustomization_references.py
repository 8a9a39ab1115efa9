"""A changed ConfigMap or Secret reaches the cluster at once, labelled or not."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from daemon import settings
from tests.support import api, kustomizer, served
from tests.support.kustomizer import applied, config_map, failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.cluster import Cluster
    from kube.objects import JsonObject
    from tests.support.kustomizer import World

"""Within this a change must have arrived."""


@pytest.fixture
async def world(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running


def post_build(kind: str, **more: Any) -> dict[str, Any]:
    return {"substituteFrom": [{"kind": kind, "name": "vars", **more}]}


async def becomes(world: World, value: str) -> None:
    """Wait until the ConfigMap ``a`` says something."""
    seen: JsonObject = {}
    try:
        async with asyncio.timeout(api.WAIT_S):
            while seen.get("data") != {"k": value}:
                seen = await world.live("configmaps", "a")
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"still {seen.get('data')}") from None


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_changed_variable_is_applied_without_waiting_for_the_interval(
    world: World, namespace: str, kind: str
) -> None:
    await world.put(kind, "vars", v="one")
    await world.push({"a.yaml": config_map("a", namespace, k="${v}")})
    await world.kustomize("apps", postBuild=post_build(kind))
    await world.until("apps", applied(world.revision))
    await world.put(kind, "vars", v="two")
    await becomes(world, "two")
    assert (world.ref("apps"), f"{kind}/{namespace}/vars") in world.wakes


async def test_missing_source_that_appears_ends_the_failure(world: World, namespace: str) -> None:
    await world.push({"a.yaml": config_map("a", namespace, k="${v}")})
    await world.kustomize("apps", postBuild=post_build("Secret"))
    await world.until("apps", failed(meta.BUILD_FAILED))
    await world.put("Secret", "vars", v="one")
    await world.until("apps", applied(world.revision))
    await becomes(world, "one")


async def test_deleted_optional_source_counts_too(world: World, namespace: str) -> None:
    await world.put("ConfigMap", "vars", v="one")
    await world.push({"a.yaml": config_map("a", namespace, k="${v:=none}")})
    await world.kustomize(
        "apps", postBuild=post_build("ConfigMap", optional=True) | {"substituteStrategy": "Always"}
    )
    await world.until("apps", applied(world.revision))
    await becomes(world, "one")
    await world.remove("ConfigMap", "vars")
    await becomes(world, "none")


async def test_nothing_to_do_reads_no_source(world: World, namespace: str) -> None:
    await world.put("ConfigMap", "vars", v="one")
    await world.push({"a.yaml": config_map("a", namespace, k="${v}")})
    await world.kustomize("apps", postBuild=post_build("ConfigMap"))
    await world.until("apps", applied(world.revision))
    world.controller.wake(world.ref("apps"), "interval")
    await world.idle("apps")
    before = world.requests()
    world.controller.wake(world.ref("apps"), "interval")
    await world.idle("apps")
    assert world.requests() == before


async def test_variable_that_breaks_the_build_is_told_until_it_is_right_again(
    world: World, namespace: str
) -> None:
    await world.put("ConfigMap", "vars", v="one")
    await world.push({"a.yaml": config_map("a", namespace, k="${v}")})
    await world.kustomize("apps", postBuild=post_build("ConfigMap"), retryInterval="1s")
    await world.until("apps", applied(world.revision))
    await world.put("ConfigMap", "vars", v="a: b: c")
    await world.until("apps", failed(meta.BUILD_FAILED, "YAMLToJSON"))
    world.controller.wake(world.ref("apps"), "interval")
    await world.until("apps", failed(meta.BUILD_FAILED, "YAMLToJSON"))
    assert (await world.live("configmaps", "a"))["data"] == {"k": "one"}
    await world.put("ConfigMap", "vars", v="two")
    await world.until("apps", applied(world.revision))
    await becomes(world, "two")


async def test_unlabelled_source_waits_for_the_interval_where_settings_say_so(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with kustomizer.running(cluster, tmp_path, namespace, is_labelled_only=True) as world:
        await world.put("ConfigMap", "vars", v="one")
        await world.push({"a.yaml": config_map("a", namespace, k="${v}")})
        await world.kustomize("apps", postBuild=post_build("ConfigMap"))
        await world.until("apps", applied(world.revision))
        await world.put("ConfigMap", "vars", v="two")
        await world.request("apps", "now")
        await world.until("apps", kustomizer.handled("now"))
        assert (await world.live("configmaps", "a"))["data"] == {"k": "two"}
        await world.put("ConfigMap", "vars", {meta.WATCH_LABEL: "Enabled"}, v="three")
        await becomes(world, "three")


async def test_changed_token_moves_the_path_of_a_receiver_at_once(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    def path(token: str) -> str:
        return f"/hook/{hashlib.sha256(f'{token}hook{namespace}'.encode()).hexdigest()}"

    def put(kind: str, **more: Any) -> None:
        version = "v1" if kind == "Secret" else "notification.toolkit.fluxcd.io/v1"
        name = "token" if kind == "Secret" else "hook"
        manifest = {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
        }
        cluster.kubectl("apply", "-f", "-", input=orjson.dumps(manifest | more).decode())

    def shown() -> str:
        wanted = ("-n", namespace, "-o", "jsonpath={.status.webhookPath}")
        return cluster.kubectl("get", "receiver", "hook", *wanted)

    cluster.kubectl("delete", "lease", "-n", "flux-system", "--all", "--ignore-not-found")
    home = settings.Cluster(name="home", kubeconfig=cluster.kubeconfig, namespace=namespace)
    async with served.fleet(tmp_path, home) as fleet:
        await served.until(lambda: fleet.mode("Receiver") == "reconciling")
        await asyncio.to_thread(put, "Secret", stringData={"token": "one"})
        spec = {
            "type": "generic",
            "secretRef": {"name": "token"},
            "resources": [{"kind": "GitRepository", "name": "x"}],
        }
        await asyncio.to_thread(put, "Receiver", spec=spec)
        await served.until(lambda: fleet.ready("Receiver", namespace, "hook") == "True")
        assert await asyncio.to_thread(shown) == path("one")
        await asyncio.to_thread(put, "Secret", stringData={"token": "two"})
        async with asyncio.timeout(api.WAIT_S):
            while await asyncio.to_thread(shown) != path("two"):  # noqa: ASYNC110 - kubectl has no event
                await asyncio.sleep(0.05)
