"""HelmCharts from a real registry, pushed there by the real helm."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from api.charts import HelmRepository
from devcluster import toolcache
from reconcilers.helmrepository import remote
from runtime.errors import TransientError
from sources.oci import keychain
from tests.support import chartserver, cosigning, helming, notary, reconciling
from tests.support.chartsource import CHART, World
from tests.support.registry import LOGIN, Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from devcluster.access import Access


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("charts")
    with Registry(folder) as each:
        for version in ("1.0.0", "1.1.0+b.7", "2.0.0-rc.1"):
            push(each, folder, version)
        each.requests()
        yield each


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry over TLS that wants a login."""
    folder = tmp_path_factory.mktemp("locked")
    with Registry(folder, login=True, tls=True) as each:
        (folder / "helm-ca.crt").write_bytes(each.ca)
        login = ["--username", LOGIN.username, "--password", LOGIN.password]
        push(each, folder, "1.0.0", "--ca-file", str(folder / "helm-ca.crt"), *login)
        yield each


def push(registry: Registry, folder: Path, version: str, *options: str) -> None:
    chart = helming.write(folder / f"web-{version}", helming.chart(version=version))
    home = folder / "home"
    helming.helm("package", chart, "--destination", folder, home=home)
    archive = folder / f"web-{version}.tgz"
    options = options or ("--plain-http",)
    helming.helm("push", archive, f"oci://{registry.host}/charts", *options, home=home)


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        reconciling.running(cluster, tmp_path) as desk,
        chartserver.running() as nothing,
    ):
        yield World(desk, nothing, namespace)


def asked(registry: Registry) -> list[str]:
    """Return what the registry was asked for, without blobs and what tells whether it is one."""
    seen = [each.split()[:2] for each in registry.requests()]
    return [
        f"{method} {path.partition('?')[0]}"
        for method, path in seen
        if "/blobs/" not in path and path != "/v2/"
    ]


async def test_range_means_a_tag(world: World, registry: Registry) -> None:
    await world.repository(type="oci", url=registry.url("charts"))
    await world.chart(version="1.x")
    registry.requests()
    await world.reconcile()
    said = "pulled 'web' chart with version '1.1.0+b.7'"
    assert world.conditions()["Ready"] == ("True", "ChartPullSucceeded", said)
    assert world.artifact()["path"].endswith("/web-1.1.0+b.7.tgz")
    assert "observedSourceArtifactRevision" not in world.status()
    assert set(await world.packed()) >= {"web/Chart.yaml", "web/values.yaml"}
    registry.requests()
    with world.desk.counting() as counts:
        await world.reconcile()
    assert counts == {"get": 1}
    assert asked(registry) == ["GET /v2/charts/web/tags/list"]


async def test_whole_version_is_taken_at_its_word(world: World, registry: Registry) -> None:
    await world.repository(type="oci", url=f"{registry.url('charts')}/")
    await world.chart(version="2.0.0-rc.1")
    registry.requests()
    await world.reconcile()
    assert "GET /v2/charts/web/tags/list" not in asked(registry)
    await world.reconcile()
    assert asked(registry) == []


async def test_chart_below_a_path_of_the_registry_is_named_by_its_end(
    world: World, registry: Registry
) -> None:
    await world.repository(type="oci", url=f"oci://{registry.host}")
    await world.chart(chart="charts/web", version="1.0.0")
    await world.reconcile()
    assert world.conditions()["Ready"][2] == "pulled 'charts/web' chart with version '1.0.0'"
    assert world.artifact()["path"].endswith(f"/{CHART}/web-1.0.0.tgz")


async def test_tag_that_is_not_there_is_tried_again(world: World, registry: Registry) -> None:
    await world.repository(type="oci", url=registry.url("charts"))
    for version, said in (
        ("9.9.9", "failed to download chart for remote reference: "),
        (">9", "could not locate a version matching provided version string >9"),
    ):
        await world.chart(version=version)
        text = await world.fails()
        assert text.startswith("chart pull error: ")
        assert said in text
        assert world.conditions()["FetchFailed"] == ("True", "ChartPullError", text)


async def test_logins_of_both_layouts_open_a_registry(world: World, locked: Registry) -> None:
    entry = {"username": LOGIN.username, "password": LOGIN.password}
    config = json.dumps({"auths": {locked.host: entry}})
    await world.secret("plain", entry)
    await world.secret("config", {keychain.CONFIG_KEY: config})
    await world.secret("wrong", entry | {"password": "x"})
    await world.secret("ca", {"ca.crt": locked.ca})
    certificates = {"certSecretRef": {"name": "ca"}}
    spec = {"type": "oci", "url": locked.url("charts")}
    for name in ("plain", "config"):
        await world.repository(**spec, **certificates, secretRef={"name": name})
        await world.chart(version="1.0.0", valuesFiles=["values.yaml"])
        await world.reconcile()
        assert world.conditions()["Ready"][0] == "True"
        await world.chart(version="1.0.0")
    for options in (certificates, certificates | {"secretRef": {"name": "wrong"}}, {}):
        await world.repository(**spec, **options)
        await world.chart(version="1.x")
        text = await world.fails()
        assert text.startswith("failed to authenticate with the Helm repository: ")
        assert world.conditions()["FetchFailed"][1] == "AuthenticationFailed"


async def test_signed_chart_is_verified(world: World, registry: Registry) -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    await world.secret("keys", {"cosign.pub": cosigning.public(key)})
    await world.repository(type="oci", url=registry.url("charts"))
    verify = {"provider": "cosign", "secretRef": {"name": "keys"}}
    await world.chart(version="1.0.0", verify=verify)
    text = await world.fails()
    assert text.startswith(
        f"chart verification error: failed to verify {registry.url('charts/web')}:1.0.0: "
    )
    assert world.conditions()["BuildFailed"] == ("True", "ChartVerificationError", text)
    refused = ("False", "VerificationError", text)
    assert world.conditions()["SourceVerified"] == world.conditions()["Ready"] == refused
    digest = await _digest(world)
    await asyncio.to_thread(cosigning.sign_simply, registry, "charts/web", digest, other)
    await world.fails()
    await asyncio.to_thread(cosigning.sign_simply, registry, "charts/web", digest, key)
    await world.reconcile()
    verified = ("True", "Succeeded", "verified signature of version 1.0.0")
    assert world.conditions()["SourceVerified"] == verified
    assert world.conditions()["Ready"][0] == "True"
    await world.chart(version="1.0.0")
    await world.reconcile()
    assert "SourceVerified" not in world.conditions()


async def test_chart_signed_by_the_notary_project_is_verified(
    world: World, registry: Registry
) -> None:
    acme, stranger = notary.Signer(), notary.Signer("stranger")
    verify = {"provider": "notation", "secretRef": {"name": "notary"}}
    await world.repository(type="oci", url=registry.url("charts"))
    await world.chart(version="2.0.0-rc.1", verify=verify)
    path, prefix = "charts/web", "failed to verify the signature using provider 'notation': "

    async def unready(data: dict[str, bytes], why: str) -> None:
        await world.secret("notary", data)
        assert await world.fails() == prefix + why
        told = ("False", "VerificationError", prefix + why)
        assert world.conditions()["Ready"] == world.conditions()["SourceVerified"] == told
        assert "BuildFailed" not in world.conditions()

    await unready({}, f"'trustpolicy.json' not found in secret '{world.namespace}/notary'")
    trusted = {notary.POLICY: notary.policy(), "acme.crt": acme.root}
    await unready(trusted, "notation is not installed")
    program = toolcache.ensure(toolcache.NOTATION) / "notation"
    world.desk.context.tools = replace(world.desk.context.tools, notation=program)

    async def refused(why: str) -> None:
        text = await world.fails()
        begin = f"failed to verify {registry.url(path)}:2.0.0-rc.1: "
        assert text == f"chart verification error: {begin}{why}"
        assert world.conditions()["BuildFailed"] == ("True", "ChartVerificationError", text)
        told = ("False", "VerificationError", text)
        assert world.conditions()["SourceVerified"] == world.conditions()["Ready"] == told

    name = await _digest(world, "2.0.0-rc.1")
    what = f'"{registry.host}/{path}@{name}"'
    end = "make sure the artifact was signed successfully"
    await refused(f"no signature is associated with {what}, {end}")
    (signature,) = await asyncio.to_thread(notary.sign, registry, path, name, stranger)
    why = "the signature's certificate chain does not contain any trusted certificate"
    first = f"failed to verify signature with digest {signature}, {why}"
    await refused(f"signature verification failed\n{first}")
    await asyncio.to_thread(notary.sign, registry, path, name, stranger, acme)
    await world.reconcile()
    verified = ("True", "Succeeded", "verified signature of version 2.0.0-rc.1")
    assert world.conditions()["SourceVerified"] == verified
    assert world.conditions()["Ready"][0] == "True"
    lenient = notary.policy(notary.statement(level="audit"))
    await world.secret("notary", {notary.POLICY: lenient, "acme.crt": notary.Signer().root})
    await world.reconcile()
    assert world.conditions()["Ready"][0] == "True"
    assert "SourceVerified" not in world.conditions()


async def test_notation_without_a_secret_is_told_as_flux_tells_it(
    world: World, registry: Registry
) -> None:
    await world.repository(type="oci", url=registry.url("charts"))
    await world.chart(version="1.0.0", verify={"provider": "notation"})
    assert await world.fails() == (
        "failed to verify the signature using provider 'notation': verification secret cannot be "
        f"empty: '{CHART}'"
    )


async def _digest(world: World, tag: str = "1.0.0") -> str:
    source = world.desk.context.informer(HelmRepository).get(world.namespace, "charts")
    assert source is not None
    repository = await remote.registry(world.desk.context, source, "web")
    return (await world.desk.context.oci.resolve(repository, tag)).digest


async def test_provider_lends_nothing_without_the_switch(world: World, registry: Registry) -> None:
    await world.repository(type="oci", url=registry.url("charts"), provider="aws")
    await world.chart(version="1.0.0")
    text = await world.fails(TransientError)
    assert "set ambient_cloud_identity = true in its [[clusters]] table" in text
