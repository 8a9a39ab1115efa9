"""Kustomizations that are applied to another cluster: a second API server."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from daemon import report
from devcluster.access import KubectlError
from devcluster.cluster import Cluster
from kube import remotes
from reconcilers.context import ReconcileSettings
from tests.support import kustomizer, served
from tests.support.kustomizer import applied, config_map, failed, gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.kustomizer import World

AWAY = {"kubeConfig": {"secretRef": {"name": "away"}}}


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The other cluster."""
    with Cluster(tmp_path_factory.mktemp("away")) as started:
        yield started


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at remote clusters often, so that a test takes no minute."""
    monkeypatch.setattr(remotes, "PULSE_S", 0.2)


@pytest.fixture
async def world(
    cluster: Cluster, away: Cluster, namespace: str, tmp_path: Path
) -> AsyncIterator[World]:
    await asyncio.to_thread(away.kubectl, "create", "namespace", namespace)
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running
    await asyncio.to_thread(away.kubectl, "delete", "namespace", namespace, "--wait=false")


async def put_secret(
    world: World, content: bytes, *, key: str = "value", name: str = "away"
) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": world.namespace},
        "data": {key: base64.b64encode(content).decode()},
    }
    text = json.dumps(manifest)
    await asyncio.to_thread(world.cluster.kubectl, "replace", "--force", "-f", "-", input=text)


async def at(cluster: Cluster, world: World, *arguments: str) -> str:
    return await asyncio.to_thread(cluster.kubectl, "-n", world.namespace, *arguments)


async def data(cluster: Cluster, world: World, name: str) -> dict[str, str]:
    found: dict[str, Any] = json.loads(await at(cluster, world, "get", "cm", name, "-o", "json"))
    return found.get("data") or {}


async def test_objects_go_to_the_other_cluster_and_drift_there_is_put_right(
    world: World, away: Cluster, namespace: str
) -> None:
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.push(
        {"a.yaml": config_map("a", namespace, k="1"), "b.yaml": config_map("b", namespace)}
    )
    await world.kustomize("apps", **AWAY)
    await world.until("apps", applied(world.revision))
    assert await data(away, world, "a") == {"k": "1"}
    name = f"test/{namespace}/away"
    assert report.watches(world.context) == {f"Kustomization ConfigMap in {name}": "watch"}
    with pytest.raises(KubectlError):
        await data(world.cluster, world, "a")  # type: ignore[arg-type]  # it has kubectl
    await at(away, world, "patch", "cm", "a", "-p", '{"data": {"k": "2"}}')
    await world.until_event("corrected")
    assert await data(away, world, "a") == {"k": "1"}
    await world.push({"b.yaml": None})
    await world.until("apps", applied(world.revision))
    with pytest.raises(KubectlError):
        await data(away, world, "b")
    await world.delete("apps")
    await world.until_shown("apps", gone)
    with pytest.raises(KubectlError):
        await data(away, world, "a")
    assert not world.context.remotes.held(world.ref("apps"))


async def test_health_and_prune_order_look_at_the_other_cluster(
    world: World, away: Cluster, namespace: str
) -> None:
    await put_secret(world, away.kubeconfig.read_bytes(), key="value.yaml")
    await world.push({"a.yaml": config_map("a", namespace)})
    check = {"apiVersion": "v1", "kind": "ConfigMap", "name": "there", "namespace": namespace}
    await world.kustomize("apps", healthChecks=[check], **AWAY)
    await world.until_shown(
        "apps",
        lambda item: (
            item is not None
            and any("health checks" in each.message for each in item.status.conditions)
        ),
    )
    await at(away, world, "create", "configmap", "there")
    await world.until("apps", applied(world.revision))


async def test_missing_secret_is_told_and_its_arrival_is_enough(
    world: World, away: Cluster, namespace: str
) -> None:
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **AWAY)
    text = f"unable to read KubeConfig secret '{namespace}/away': secrets \"away\" not found"
    item = await world.until("apps", failed("ReconciliationFailed", text))
    assert kustomizer.ready(item).message.startswith("failed to build kube client: ")
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.until("apps", applied(world.revision))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"]", "what the Secret holds is not YAML"),
        (b"just text", "this is not a kubeconfig"),
        (b"clusters: [3]", "this is not a kubeconfig"),
        (b"{}", "no current context"),
    ],
)
async def test_secret_that_is_no_kubeconfig_is_told_without_its_content(
    world: World, namespace: str, content: bytes, text: str
) -> None:
    await put_secret(world, content)
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **AWAY)
    await world.until("apps", failed("ReconciliationFailed", text))


async def test_named_key_is_the_only_one_that_counts(
    world: World, away: Cluster, namespace: str
) -> None:
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", kubeConfig={"secretRef": {"name": "away", "key": "prod"}})
    text = "KubeConfig secret 'away' does not contain a 'prod' key with a kubeconfig"
    await world.until("apps", failed("ReconciliationFailed", text))
    await put_secret(world, away.kubeconfig.read_bytes(), key="prod")
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({"exec": {"command": "/bin/true", "apiVersion": "x"}}, "exec"),
        ({"tokenFile": "/etc/hostname"}, "tokenFile"),
        ({"client-certificate": "/etc/hostname"}, "client-certificate"),
    ],
)
async def test_kubeconfig_of_a_tenant_does_not_act_on_this_machine(
    world: World, namespace: str, section: dict[str, Any], field: str
) -> None:
    await put_secret(world, _kubeconfig("https://127.0.0.1:1", section))
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **AWAY)
    text = f"a kubeconfig in the cluster may not use {field}"
    await world.until("apps", failed("ReconciliationFailed", text))


async def test_insecure_kubeconfig_is_refused_unless_the_settings_allow_it(
    world: World, away: Cluster, namespace: str
) -> None:
    config = (await asyncio.to_thread(away.kubeconfig.read_text)).splitlines()
    insecure = "\n".join(
        line[: len(line) - len(line.lstrip())] + "insecure-skip-tls-verify: true"
        if "certificate-authority-data" in line and "- " not in line
        else line
        for line in config
    )
    assert "insecure-skip-tls-verify" in insecure
    await put_secret(world, insecure.encode())
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **AWAY)
    await world.until("apps", failed("ReconciliationFailed", "insecure-skip-tls-verify"))
    world.context.settings = ReconcileSettings(allow_kubeconfig_insecure_tls=True)
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))


async def test_program_in_a_kubeconfig_runs_where_the_settings_allow_it(
    world: World, away: Cluster, namespace: str, tmp_path: Path
) -> None:
    program = tmp_path / "plugin"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    plugin = {"command": str(program), "apiVersion": "client.authentication.k8s.io/v1"}
    await put_secret(world, _kubeconfig(away.server, {"exec": plugin}))
    world.context.settings = ReconcileSettings(allow_kubeconfig_exec=True)
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **AWAY)
    await world.until("apps", failed("ReconciliationFailed", "plugin"))


async def test_account_beside_a_kubeconfig_is_one_of_the_other_cluster(
    world: World, away: Cluster, namespace: str
) -> None:
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.push({"a.yaml": config_map("a", namespace, k="1")})
    await world.kustomize("apps", serviceAccountName="deployer", **AWAY)
    who = f'User "system:serviceaccount:{namespace}:deployer" cannot'
    await world.until("apps", failed("ReconciliationFailed", who))
    who = f"--serviceaccount={namespace}:deployer"
    await at(away, world, "create", "rolebinding", "deployer", "--clusterrole=admin", who)
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))
    assert await data(away, world, "a") == {"k": "1"}


async def test_one_connection_serves_all_that_have_the_same_secret_and_ends_with_the_last(
    world: World, away: Cluster, namespace: str
) -> None:
    content = await asyncio.to_thread(away.kubeconfig.read_bytes)
    await put_secret(world, content)
    await put_secret(world, content, name="copy")
    await world.push(
        {"a/a.yaml": config_map("a", namespace), "b/b.yaml": config_map("b", namespace)}
    )
    await world.kustomize("a", path="./a", **AWAY)
    await world.kustomize("b", path="./b", kubeConfig={"secretRef": {"name": "copy"}})
    await world.until("a", applied(world.revision))
    await world.until("b", applied(world.revision))
    held = world.context.remotes.held
    assert held(world.ref("a")) is held(world.ref("b")) is not None
    await world.delete("a")
    await world.until_shown("a", gone)
    await world.idle("a")
    await at(away, world, "delete", "cm", "b")
    await world.until_event("corrected")
    await world.patch("b", {"spec": {"kubeConfig": None}})
    await world.until("b", applied(world.revision))
    assert held(world.ref("b")) is None
    assert await data(world.cluster, world, "b") == {}  # type: ignore[arg-type]  # it has kubectl


async def test_changed_secret_is_another_connection(
    world: World, away: Cluster, namespace: str
) -> None:
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **AWAY)
    await world.until("apps", applied(world.revision))
    first = world.context.remotes.held(world.ref("apps"))
    user = await asyncio.to_thread(away.user, "other", groups=("system:masters",))
    await put_secret(world, user.read_bytes())
    held = world.context.remotes.held
    await served.until(lambda: held(world.ref("apps")) not in {first, None})
    await world.idle("apps")
    await at(away, world, "delete", "cm", "a")
    await world.until_event("corrected")


@pytest.mark.leftovers("the API server that is started again is another process")
@pytest.mark.usefixtures("quick")
async def test_cluster_that_goes_away_fails_its_own_and_is_taken_up_when_it_is_back(
    world: World, away: Cluster, namespace: str
) -> None:
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.push({"a.yaml": config_map("a", namespace, k="1")})
    await world.kustomize("far", **AWAY)
    await world.kustomize("near")
    await world.until("far", applied(world.revision))
    await world.until("near", applied(world.revision))
    await asyncio.to_thread(away.stop_api)
    remote = world.context.remotes.held(world.ref("far"))
    assert remote is not None
    await served.until(lambda: bool(remote.fault))
    await world.push({"a.yaml": config_map("a", namespace, k="2")})
    text = f"failed to build kube client: cannot connect to {away.server}"
    await world.until("far", failed("ReconciliationFailed", text))
    await world.until("near", applied(world.revision))
    await asyncio.to_thread(away.start_api)
    await world.until("far", applied(world.revision))
    assert await data(away, world, "a") == {"k": "2"}


async def test_cluster_that_was_never_reached_is_told_and_the_others_go_on(
    world: World, namespace: str
) -> None:
    await put_secret(world, _kubeconfig("https://127.0.0.1:1", {"token": "hunter2"}))
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("far", **AWAY)
    await world.kustomize("near")
    text = "failed to build kube client: cannot connect to https://127.0.0.1:1"
    item = await world.until("far", failed("ReconciliationFailed", text))
    assert "hunter2" not in repr(item.status)
    await world.until("near", applied(world.revision))


async def test_restart_finds_the_other_cluster_as_it_left_it(
    cluster: Cluster, away: Cluster, namespace: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(away.kubectl, "create", "namespace", namespace)
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await put_secret(world, away.kubeconfig.read_bytes())
        await world.push({"a.yaml": config_map("a", namespace, k="1")})
        await world.kustomize("apps", **AWAY)
        await world.until("apps", applied(world.revision))
    async with kustomizer.running(cluster, tmp_path, namespace) as world:
        await world.idle("apps")
        remote = world.context.remotes.held(world.ref("apps"))
        assert remote is not None
        sent = {verb for verb, plural in remote.client.requests if plural == "configmaps"}
        assert sent == {"list", "watch"}


async def test_deletion_waits_for_a_cluster_that_cannot_be_reached(
    world: World, away: Cluster, namespace: str
) -> None:
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **AWAY)
    await world.until("apps", applied(world.revision))
    await at(world.cluster, world, "delete", "secret", "away")  # type: ignore[arg-type]  # kubectl
    await world.delete("apps")
    event = await world.until_event("pruning for deleted resource failed")
    assert "unable to read KubeConfig secret" in event.message
    await put_secret(world, away.kubeconfig.read_bytes())
    await world.until_shown("apps", gone)
    with pytest.raises(KubectlError):
        await data(away, world, "a")


# A ConfigMap that says how to get a token -------------------------------------------------------


async def put_config_map(world: World, **values: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "away", "namespace": world.namespace},
        "data": values,
    }
    await asyncio.to_thread(world.cluster.kubectl, "apply", "-f", "-", input=json.dumps(manifest))


TOKEN = {"kubeConfig": {"configMapRef": {"name": "away"}}}


async def test_token_of_an_account_opens_a_cluster_that_trusts_it(
    world: World, cluster: Cluster, namespace: str
) -> None:
    await put_config_map(
        world,
        provider="generic",
        address=cluster.server.removeprefix("https://"),
        serviceAccountName="deployer",
        audiences=_issuer(
            await asyncio.to_thread(cluster.get, "/.well-known/openid-configuration")
        ),
        **{"ca.crt": cluster.ca_path.read_text()},
    )
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **TOKEN)
    await world.until("apps", failed("ReconciliationFailed", "no token for the ServiceAccount"))
    await at(cluster, world, "create", "serviceaccount", "deployer")
    await world.request("apps", "1")
    who = f'User "system:serviceaccount:{namespace}:deployer" cannot'
    await world.until("apps", failed("ReconciliationFailed", who))
    who = f"--serviceaccount={namespace}:deployer"
    await at(cluster, world, "create", "rolebinding", "deployer", "--clusterrole=admin", who)
    await world.request("apps", "2")
    await world.until("apps", applied(world.revision))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"serviceAccountName": "a"}, "it has no address"),
        ({"serviceAccountName": "a", "address": "http://x"}, "address 'http://x' is not such as"),
        ({"address": "https://x"}, "it has no serviceAccountName"),
        ({"address": "https://x", "serviceAccountName": "a/b"}, "'a/b' is not the name of one"),
    ],
)
async def test_config_map_that_lacks_something_says_what(
    world: World, namespace: str, values: dict[str, str], text: str
) -> None:
    await put_config_map(world, provider="generic", **values)
    await world.push({"a.yaml": config_map("a", namespace)})
    await world.kustomize("apps", **TOKEN)
    await world.until("apps", failed("ReconciliationFailed", text))


def _issuer(configuration: bytes) -> str:
    return str(orjson.loads(configuration)["issuer"])


def _kubeconfig(server: str, user: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": server}}],
            "users": [{"name": "it", "user": user}],
        }
    )
