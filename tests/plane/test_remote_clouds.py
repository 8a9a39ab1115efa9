"""What is applied to a cluster of a cloud, to which a ConfigMap leads.

The cluster is a second API server, which asks a doorman about bearer tokens as EKS does; the clouds
are local servers that look at what they are asked.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from devcluster.cluster import Cluster
from kube import connection, remotes
from kube.references import CONFIG_MAP
from sources import web as sources_web
from sources.auth import tls
from sources.auth.ambient.machine import Machine
from sources.auth.clusters import eks
from tests.support import helmcharts, kubeclouds, kustomizer, releaser, served
from tests.support.kubeclouds import NAMES, USERS
from tests.support.kustomizer import applied, config_map, failed, gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.kubeclouds import Cloud
    from tests.support.kustomizer import World

WAY: dict[str, Any] = {"kubeConfig": {"configMapRef": {"name": "away"}}}
PROVIDERS = sorted(NAMES)
EVIL = "https://evil.example:6443"


def _kubeconfig(server: str) -> bytes:
    context = {"name": "it", "context": {"cluster": "it"}}
    clusters = [{"name": "it", "cluster": {"server": server}}]
    told = {"current-context": "it", "contexts": [context], "clusters": clusters}
    return json.dumps(told).encode()


@pytest.fixture(scope="module")
def door() -> Iterator[socket.socket]:
    """Where the clouds and the doorman are."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory, door: socket.socket) -> Iterator[Cluster]:
    """The cluster of the clouds."""
    directory = tmp_path_factory.mktemp("away")
    doorman = directory / "doorman"
    doorman.write_text(kubeclouds.doorman(door.getsockname()[1]))
    with Cluster(directory, doorman=doorman) as started:
        yield started


@pytest.fixture
async def cloud(
    away: Cluster, door: socket.socket, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cloud]:
    monkeypatch.setattr(remotes, "PULSE_S", 0.2)
    authority = away.ca_path.read_text()
    async with kubeclouds.serving(away.server, authority, door, monkeypatch) as serving:
        serving.subject = f"system:serviceaccount:{namespace}:deployer"
        yield serving


@pytest.fixture
async def world(
    cluster: Cluster, away: Cluster, cloud: Cloud, namespace: str, tmp_path: Path
) -> AsyncIterator[World]:
    """Somebody who applies, and a ServiceAccount that each cloud knows."""
    del cloud
    await asyncio.to_thread(away.kubectl, "create", "namespace", namespace)
    await prepare(cluster, namespace)
    async with kustomizer.running(cluster, tmp_path, namespace) as running:
        yield running
    await asyncio.to_thread(away.kubectl, "delete", "namespace", namespace, "--wait=false")


async def prepare(cluster: Cluster, namespace: str) -> None:
    metadata = {"name": "deployer", "namespace": namespace, "annotations": kubeclouds.NOTES}
    account = json.dumps({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    await asyncio.to_thread(cluster.kubectl, "apply", "-f", "-", input=account)


async def admit(away: Cluster, namespace: str, provider: str) -> None:
    """Let the bearer of what a cloud lends do as he likes in a namespace."""
    who = ("--clusterrole=admin", f"--user={USERS[provider]}")
    arguments = ("-n", namespace, "create", "rolebinding", provider, *who)
    await asyncio.to_thread(away.kubectl, *arguments)


async def lead(world: World, provider: str, **values: str) -> None:
    """Write the ConfigMap; an empty value takes a key away."""
    told = {"provider": provider, "cluster": NAMES.get(provider, ""), **values}
    given = {key: text for key, text in told.items() if text}
    await world.put(CONFIG_MAP, "away", None, **given)


def be_somebody(world: World, cloud: Cloud, tmp_path: Path) -> None:
    """Give the cluster's objects the identity of a machine in all three clouds."""
    environ = {
        "AWS_ACCESS_KEY_ID": kubeclouds.MACHINE.access_key,
        "AWS_SECRET_ACCESS_KEY": kubeclouds.MACHINE.secret_key,
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": cloud.url,
        "GCE_METADATA_HOST": cloud.url.removeprefix("http://"),
    }
    context = world.context
    context.machine = Machine(environ, tmp_path, tls.Contexts(), context.threads, context.clock)


async def start(world: World, **spec: Any) -> None:
    await world.push({"a.yaml": config_map("a", world.namespace, k="1")})
    await world.kustomize("apps", **WAY, **spec)


async def shown(away: Cluster, world: World) -> dict[str, str]:
    arguments = ("-n", world.namespace, "get", "cm", "a", "-o", "json")
    found: dict[str, str] = json.loads(await asyncio.to_thread(away.kubectl, *arguments))["data"]
    return found


async def edit(away: Cluster, world: World) -> None:
    change = '{"data": {"k": "2"}}'
    arguments = ("-n", world.namespace, "patch", "cm", "a", "-p", change)
    await asyncio.to_thread(away.kubectl, *arguments)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_a_cloud_lends_to_a_service_account_opens_its_cluster(
    world: World,
    away: Cluster,
    cloud: Cloud,
    namespace: str,
    provider: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await lead(world, provider, serviceAccountName="deployer")
    await start(world)
    await world.until("apps", failed("ReconciliationFailed", f'User "{USERS[provider]}" cannot'))
    await admit(away, namespace, provider)
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))
    assert await shown(away, world) == {"k": "1"}
    await edit(away, world)
    await world.until_event("corrected")
    assert await shown(away, world) == {"k": "1"}
    assert {tuple(each) for each in cloud.audiences} == {(kubeclouds.AUDIENCES[provider],)}
    told = repr([world.events, world.get("apps"), caplog.records])
    assert not [each for each in cloud.shown if each in told]
    await world.delete("apps")
    await world.until_shown("apps", gone)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_machine_opens_the_cluster_of_its_cloud_where_it_may(
    world: World, away: Cluster, cloud: Cloud, namespace: str, provider: str, tmp_path: Path
) -> None:
    await lead(world, provider)
    await admit(away, namespace, provider)
    await start(world)
    text = "set ambient_cloud_identity = true in its [[clusters]] table of config.toml"
    await world.until("apps", failed("ReconciliationFailed", text))
    be_somebody(world, cloud, tmp_path)
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))
    assert await shown(away, world) == {"k": "1"}
    assert not cloud.audiences


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_machine_is_shown_to_no_server_but_those_that_the_cloud_names(
    world: World, away: Cluster, cloud: Cloud, namespace: str, provider: str, tmp_path: Path
) -> None:
    be_somebody(world, cloud, tmp_path)
    await lead(world, provider, address=EVIL)
    await start(world)
    text = f"the cluster does not answer at '{EVIL}' but at {away.server}"
    await world.until("apps", failed("ReconciliationFailed", text))
    await lead(world, provider, address=away.server, **{"ca.crt": away.ca_path.read_text()})
    await world.until("apps", failed("ReconciliationFailed", "leave out ca.crt, or name a serv"))
    assert not cloud.shown
    await admit(away, namespace, provider)
    await lead(world, provider, address=away.server.removeprefix("https://"))
    await world.until("apps", applied(world.revision))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_config_map_with_address_and_authority_needs_no_right_to_look(
    world: World, away: Cluster, cloud: Cloud, namespace: str, provider: str
) -> None:
    await admit(away, namespace, provider)
    given = {"address": away.server, "ca.crt": away.ca_path.read_text()}
    await lead(world, provider, serviceAccountName="deployer", **given)
    await start(world)
    await world.until("apps", applied(world.revision))
    assert not {"eks", "arm", "gke"} & set(cloud.asked)


async def test_address_alone_is_believed_with_the_authority_of_the_cluster(
    world: World, away: Cluster, cloud: Cloud, namespace: str
) -> None:
    await admit(away, namespace, "gcp")
    cloud.server = "https://10.255.255.1:6443"  # where nobody is
    await lead(world, "gcp", serviceAccountName="deployer", address=away.server)
    await start(world)
    await world.until("apps", applied(world.revision))


async def test_token_is_renewed_and_the_connection_stays(
    world: World,
    away: Cluster,
    cloud: Cloud,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eks, "LASTS", dt.timedelta(seconds=2))
    monkeypatch.setattr(connection, "RENEW_PAUSE_S", 0.1)
    await admit(away, namespace, "aws")
    await lead(world, "aws", serviceAccountName="deployer")
    await start(world)
    await world.until("apps", applied(world.revision))
    remote = world.context.remotes.held(world.ref("apps"))
    assert remote is not None
    before = remote.client.requests.copy()
    await served.until(lambda: len(set(cloud.shown)) > 2)
    await edit(away, world)
    await world.until_event("corrected")
    assert world.context.remotes.held(world.ref("apps")) is remote
    sent = {verb for verb, _ in remote.client.requests - before}
    assert not sent & {"list", "watch"}  # nothing was begun anew
    assert (cloud.asked.count("sts"), cloud.asked.count("eks")) == (1, 1)


REFUSED = "<E><Code>AccessDenied</Code><Message>Not authorized to perform sts:Assume</Message></E>"


@pytest.mark.parametrize(
    ("operation", "refusal", "text"),
    [
        ("sts", (403, REFUSED), "its trust policy has to name this cluster's issuer"),
        ("eks", (403, {"message": "not authorized"}), "allow eks:DescribeCluster, or put address"),
        (
            "eks",
            (404, {"message": "No cluster found"}),
            "there is no EKS cluster 'prod' in eu-west",
        ),
    ],
)
async def test_refusal_of_a_cloud_says_what_to_do_and_passes(
    world: World,
    away: Cluster,
    cloud: Cloud,
    namespace: str,
    operation: str,
    refusal: tuple[int, Any],
    text: str,
) -> None:
    cloud.refusals[operation] = refusal
    await admit(away, namespace, "aws")
    await lead(world, "aws", serviceAccountName="deployer")
    await start(world)
    item = await world.until("apps", failed("ReconciliationFailed", text))
    message = kustomizer.ready(item).message
    assert message.startswith("failed to build kube client: ")
    del cloud.refusals[operation]
    await world.request("apps", "now")
    await world.until("apps", applied(world.revision))


async def test_cloud_that_does_not_answer_is_told(
    world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources_web, "SILENCE_S", 0.2)
    cloud.silent.add("sts")
    await lead(world, "aws", serviceAccountName="deployer")
    await start(world)
    text = "AWS's token service cannot be used: http"
    await world.until("apps", failed("ReconciliationFailed", text))


async def test_cluster_that_does_not_know_the_bearer_says_what_to_do(
    world: World, away: Cluster, cloud: Cloud, namespace: str
) -> None:
    cloud.strangers.add("aws")
    await admit(away, namespace, "aws")
    await lead(world, "aws", serviceAccountName="deployer")
    await start(world)
    text = f"{away.server}: Unauthorized; give the role an access entry in the EKS cluster"
    await world.until("apps", failed("ReconciliationFailed", text))
    cloud.strangers.clear()
    await world.until("apps", applied(world.revision))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"provider": "aws", "cluster": "prod"}, "invalid EKS cluster ARN: 'prod' is not such as"),
        ({"provider": "azure", "cluster": "prod"}, "invalid AKS cluster ID: 'prod' is not such as"),
        ({"provider": "gcp", "cluster": "prod"}, "invalid GKE cluster ID: 'prod' is not such as"),
        ({"provider": "ibm"}, "provider 'ibm' is none of aws, azure, gcp, generic"),
        ({"provider": "gcp", "address": "http://a"}, "address 'http://a' is not such as https://"),
        ({"provider": "gcp", "address": "https://u@a"}, "is not such as https://host:port"),
        (
            {"provider": "gcp", "serviceAccountName": "none"},
            "none' cannot be read: serviceaccounts",
        ),
        ({"provider": "gcp", "serviceAccountName": "a/b"}, "'a/b' is not the name of one"),
    ],
)
async def test_config_map_that_cannot_be_right_is_told(
    world: World, values: dict[str, str], text: str
) -> None:
    await lead(world, **{"serviceAccountName": "deployer", **values})
    await start(world)
    await world.until("apps", failed("ReconciliationFailed", text))


@pytest.mark.parametrize(
    ("kubeconfigs", "text"),
    [
        ([], "the cloud does not say where AKS cluster 'prod' is"),
        ([b"]"], "the cloud does not say where AKS cluster 'prod' is"),
        ([b"{}"], "the cloud does not say where AKS cluster 'prod' is"),
        ([_kubeconfig("")], "the cloud does not say where AKS cluster 'prod' is"),
        (
            [_kubeconfig("http://a")],
            "the cloud names an address of the cluster that is none of https",
        ),
    ],
)
async def test_cloud_that_tells_no_address_is_told(
    world: World, cloud: Cloud, kubeconfigs: list[bytes], text: str
) -> None:
    cloud.kubeconfigs = kubeconfigs
    await lead(world, "azure", serviceAccountName="deployer")
    await start(world)
    await world.until("apps", failed("ReconciliationFailed", text))
    assert not cloud.shown


async def test_words_of_the_cluster_are_for_whom_the_config_map_says(
    world: World, away: Cluster, cloud: Cloud, namespace: str
) -> None:
    await admit(away, namespace, "azure")
    given = {"serviceAccountName": "deployer", "audiences": "of-the-config-map\n"}
    await lead(world, "azure", **given)
    await start(world)
    await world.until("apps", applied(world.revision))
    assert cloud.audiences == [["of-the-config-map"]] * 2  # for the cluster, and for where it is


async def test_tenants_that_name_nobody_are_their_default_account(
    world: World, away: Cluster, cloud: Cloud, namespace: str, tmp_path: Path
) -> None:
    be_somebody(world, cloud, tmp_path)
    world.context.settings = replace(world.context.settings, default_service_account="deployer")
    for made in (
        f"rolebinding tenant --clusterrole=admin --serviceaccount={namespace}:deployer",
        "role impersonator --verb=impersonate --resource=serviceaccounts",
        f"rolebinding impersonator --role=impersonator --user={USERS['gcp']}",
    ):
        await asyncio.to_thread(away.kubectl, "-n", namespace, "create", *made.split())
    await lead(world, "gcp")
    await start(world)
    await world.until("apps", applied(world.revision))
    assert cloud.audiences == [[kubeclouds.AUDIENCES["gcp"]]]


async def test_release_is_installed_in_a_cluster_of_a_cloud(
    cluster: Cluster, away: Cluster, cloud: Cloud, namespace: str, tmp_path: Path
) -> None:
    await asyncio.to_thread(away.kubectl, "create", "namespace", namespace)
    await prepare(cluster, namespace)
    await admit(away, namespace, "aws")
    async with releaser.running(cluster, tmp_path, namespace) as world:
        told = {"provider": "aws", "cluster": NAMES["aws"], "serviceAccountName": "deployer"}
        await world.put(CONFIG_MAP, "away", **told)
        await world.push(helmcharts.pack("demo"))
        await world.release("demo", **WAY)
        await world.until("demo", releaser.ready)
        assert world.history("demo") == []  # here there is nothing
        listed = await asyncio.to_thread(
            away.kubectl, "-n", namespace, "get", "cm,secret", "-o", "name"
        )
        assert "configmap/demo" in listed
        assert "secret/sh.helm.release.v1.demo.v1" in listed
        await world.delete("demo")
        await world.until("demo", releaser.gone)
    listed = await asyncio.to_thread(away.kubectl, "-n", namespace, "get", "cm", "-o", "name")
    assert "configmap/demo" not in listed
