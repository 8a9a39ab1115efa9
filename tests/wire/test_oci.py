"""The client of registries against a real one: logins, tokens, tags, sharing, TLS, proxies."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from devcluster import certificates
from sources.auth.proxy import Proxy
from sources.auth.tls import Trust
from sources.oci import errors, manifests, names, transport
from sources.oci.client import Repository
from sources.oci.keychain import Login
from tests.support import forwarder, socksproxy
from tests.support.api import ManualClock
from tests.support.oci import asking
from tests.support.registry import LOGIN, Layer, Registry, free_port, tarball
from tests.support.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRONG = Login("ada", "hunter2")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as each:
        yield each


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry over TLS that wants a login."""
    with Registry(tmp_path_factory.mktemp("locked"), login=True, tls=True) as each:
        yield each


@pytest.fixture
def path() -> str:
    return f"test/{uuid.uuid4().hex}"


def within(locked: Registry, path: str) -> Repository:
    return Repository(locked.name(path), LOGIN, Trust(locked.ca))


async def test_artifact_is_found_and_read(registry: Registry, path: str) -> None:
    chart = b"chart" * 200_000
    digest = registry.push(
        path,
        "1.0.0",
        layers=(Layer(b"prov", manifests.HELM_PROVENANCE), Layer(chart, manifests.HELM_CHART)),
        annotations={"a": "b"},
    )
    repository = Repository(registry.name(path))
    async with asking() as ask:
        assert await ask.registries.tags(repository) == ("1.0.0",)
        found = await ask.registries.resolve(repository, "1.0.0")
        assert found.digest == digest
        manifest = await ask.registries.manifest(repository, digest)
        assert manifest.annotations == {"a": "b"}
        layer = manifest.layer(manifests.HELM_CHART)
        assert await ask.registries.read(repository, layer, 2_000_000) == chart
        file = io.BytesIO()
        await ask.registries.download(repository, layer, file, 2_000_000)
        assert file.getvalue() == chart


async def test_blob_over_the_limit_is_not_asked_for(registry: Registry, path: str) -> None:
    registry.push(path, "1.0.0", {"a": "1"})
    repository = Repository(registry.name(path))
    async with asking() as ask:
        found = await ask.registries.resolve(repository, "1.0.0")
        layer = (await ask.registries.manifest(repository, found.digest)).layer()
        registry.requests()
        with pytest.raises(errors.ContentError, match="10 are allowed"):
            await ask.registries.read(repository, layer, 10)
    assert registry.requests() == []


async def test_index_stands_for_its_default_platform(registry: Registry, path: str) -> None:
    entries = []
    for architecture in ("arm64", "amd64"):
        digest = registry.push(path, architecture, {"a": architecture})
        platform = {"os": "linux", "architecture": architecture}
        media_type = manifests.OCI_MANIFEST
        entries.append({"mediaType": media_type, "digest": digest, "size": 1, "platform": platform})
    content = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries}
    digest = registry.push_manifest(path, "all", json.dumps(content).encode(), manifests.OCI_INDEX)
    repository = Repository(registry.name(path))
    async with asking() as ask:
        assert (await ask.registries.resolve(repository, "all")).digest == digest
        layer = (await ask.registries.manifest(repository, digest)).layer()
        assert await ask.registries.read(repository, layer, 1000) == tarball({"a": "amd64"})


async def test_all_who_ask_the_same_meanwhile_share_the_answer(
    registry: Registry, path: str
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    repository = Repository(registry.name(path))
    registry.requests()
    async with asking() as ask:
        await ask.registries.resolve(repository, "latest")
        registry.requests()
        async with asyncio.TaskGroup() as tasks:
            found = [
                tasks.create_task(ask.registries.resolve(repository, "latest")) for _ in range(50)
            ]
        assert {each.result().digest for each in found} == {digest}
    # The first goes at once; it might miss what the others know of, so they share another.
    assert len(registry.requests()) <= 2


async def test_who_asks_after_a_push_hears_of_it(registry: Registry, path: str) -> None:
    registry.push(path, "latest", {"a": "1"})
    repository = Repository(registry.name(path))
    async with asking() as ask:
        first = asyncio.create_task(ask.registries.resolve(repository, "latest"))
        await asyncio.sleep(0)
        second = registry.push(path, "latest", {"a": "2"})
        assert (await ask.registries.resolve(repository, "latest")).digest == second
        await first


async def test_cancelled_caller_takes_nobody_along(registry: Registry, path: str) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    repository = Repository(registry.name(path))
    async with asking() as ask:
        first = asyncio.create_task(ask.registries.resolve(repository, "latest"))
        second = asyncio.create_task(ask.registries.resolve(repository, "latest"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).digest == digest


async def test_login_is_presented_once_it_is_asked_for(locked: Registry, path: str) -> None:
    locked.push(path, "latest", {"a": "1"})
    locked.requests()
    async with asking() as ask:
        for _ in range(2):
            await ask.registries.resolve(within(locked, path), "latest")
    statuses = [each.split()[-1] for each in locked.requests() if "manifests" in each]
    assert statuses == ["401", "200", "200"]


@pytest.mark.parametrize(
    ("login", "words"),
    [(Login(), "authentication required"), (WRONG, "the registry refused the credentials")],
)
async def test_refused_login_is_told(locked: Registry, path: str, login: Login, words: str) -> None:
    locked.push(path, "latest", {"a": "1"})
    repository = replace(within(locked, path), login=login)
    async with asking() as ask:
        with pytest.raises(errors.DeniedError, match=words) as caught:
            await ask.registries.resolve(repository, "latest")
        with pytest.raises(errors.DeniedError, match=words):
            await ask.registries.tags(repository)
    assert "hunter2" not in str(caught.value)


async def test_client_certificate_is_presented(tmp_path: Path, path: str) -> None:
    authority = certificates.Authority(tmp_path / "clients")
    pair = authority.issue("gitopsd")
    with Registry(tmp_path / "r", tls=True, client_ca=authority.certificate_path) as registry:
        trust = Trust(registry.ca, pair.certificate, pair.key)
        async with asking() as ask:
            with pytest.raises(errors.NotFoundError):
                await ask.registries.resolve(Repository(registry.name(path), trust=trust), "1")
            with pytest.raises(errors.ConnectionFailed):
                await ask.registries.resolve(
                    Repository(registry.name(path), trust=Trust(registry.ca)), "1"
                )


async def test_unknown_authority_is_refused_and_nothing_goes_out_in_clear(
    locked: Registry, path: str
) -> None:
    locked.push(path, "latest", {"a": "1"})
    async with asking() as ask:
        with pytest.raises(errors.ConnectionFailed, match=r"TLS handshake with .* failed"):
            await ask.registries.resolve(replace(within(locked, path), trust=Trust()), "latest")
        trust = Trust(accepts_any=True)
        found = await ask.registries.resolve(
            replace(within(locked, path), trust=trust, insecure=True), "latest"
        )
        assert found.digest


async def test_registry_that_speaks_tls_from_now_on_is_found_again(
    tmp_path: Path, path: str
) -> None:
    port = free_port()
    async with asking() as ask:
        for tls in (False, True):
            with Registry(tmp_path / str(tls), tls=tls, port=port) as registry:
                digest = registry.push(path, "latest", {"a": str(tls)})
                trust = Trust(accepts_any=True)
                repository = Repository(registry.name(path), trust=trust, insecure=True)
                with suppress(errors.ConnectionFailed):  # of the address of before
                    await ask.registries.resolve(repository, "latest")
                assert (await ask.registries.resolve(repository, "latest")).digest == digest


async def test_proxies_are_used_and_see_no_login(
    registry: Registry, locked: Registry, path: str
) -> None:
    registry.push(path, "latest", {"a": "1"})
    locked.push(path, "latest", {"a": "1"})
    async with forwarder.running(("p", "w")) as through, asking() as ask:
        proxy = Proxy(through.address, "p", "w")
        await ask.registries.resolve(Repository(registry.name(path), proxy=proxy), "latest")
        assert f"HEAD http://{registry.host}/v2/{path}/manifests/latest" in through.requests
        through.requests.clear()
        await ask.registries.resolve(replace(within(locked, path), proxy=proxy), "latest")
        assert set(through.requests) == {f"CONNECT {locked.host}"}
        await ask.registries.aclose()


async def test_proxy_that_refuses_is_told(registry: Registry, path: str) -> None:
    async with forwarder.running(("p", "w")) as through, asking() as ask:
        proxy = Proxy(through.address, "p", "hunter2")
        with pytest.raises(errors.RegistryError) as caught:
            await ask.registries.resolve(Repository(registry.name(path), proxy=proxy), "latest")
        assert "hunter2" not in str(caught.value)
        await ask.registries.aclose()


async def test_socks_proxy_leads_to_registries_that_it_alone_can_name(
    registry: Registry, locked: Registry, path: str
) -> None:
    digest = registry.push(path, "latest", {"a": "1"})
    locked.push(path, "latest", {"a": "1"})
    async with socksproxy.running(("p", "w")) as through, asking() as ask:
        proxy = Proxy(through.address, "p", "w")
        through.hosts["registry.local"] = "127.0.0.1"
        inside = names.parse(f"oci://registry.local:{registry.port}/{path}")
        found = await ask.registries.resolve(Repository(inside, proxy=proxy), "latest")
        assert found.digest == digest
        await ask.registries.resolve(replace(within(locked, path), proxy=proxy), "latest")
        assert set(through.targets) == {f"registry.local:{registry.port}", locked.host}
        await ask.registries.aclose()


async def test_connections_of_a_socks_proxy_are_its_own_and_not_too_many(
    registry: Registry, path: str
) -> None:
    registry.push(path, "latest", {"a": "1"})
    where = Repository(registry.name(path))
    async with socksproxy.running(("p", "w")) as through, asking() as ask:
        mine = replace(where, proxy=Proxy(through.address, "p", "w"))
        await ask.registries.resolve(mine, "latest")
        made = len(through.targets)
        await ask.registries.resolve(mine, "latest")
        assert len(through.targets) == made
        stranger = replace(where, proxy=Proxy(through.address, "p", "hunter2"))
        with pytest.raises(errors.RegistryError) as caught:
            await ask.registries.resolve(stranger, "latest")
        assert str(caught.value) == (
            f"cannot connect to the proxy on the way to {registry.host}: it refused its user name "
            "and password"
        )
        for number in range(transport.SOCKS):
            other = Proxy(through.address.replace("127.0.0.1", "localhost"), "p", str(number))
            with pytest.raises(errors.RegistryError):
                await ask.registries.resolve(replace(where, proxy=other), "latest")
        await ask.registries.resolve(mine, "latest")
        assert len(through.targets) == made + 1
        await ask.registries.aclose()


async def test_certificates_are_checked_behind_a_socks_proxy(locked: Registry, path: str) -> None:
    async with socksproxy.running() as through, asking() as ask:
        where = replace(within(locked, path), proxy=Proxy(through.address), trust=Trust())
        with pytest.raises(errors.RegistryError, match="TLS handshake with "):
            await ask.registries.resolve(where, "latest")
        await ask.registries.aclose()


async def test_tokens_are_fetched_and_renewed_before_they_end(tmp_path: Path, path: str) -> None:
    clock = ManualClock()
    async with Tokens(tmp_path / "tokens") as tokens, asking(clock) as ask:
        with Registry(tmp_path / "registry", tokens=tokens.for_registry()) as registry:
            repository = Repository(registry.name(path), LOGIN)
            for _ in range(2):
                with pytest.raises(errors.NotFoundError):
                    await ask.registries.manifest(repository, "sha256:" + "0" * 64)
            scope = f"scope=repository:{path}:pull"
            assert tokens.requests == [f"GET /token?service=registry.example&{scope}"]
            registry.requests()
            clock.move(tokens.lasts_s)
            with pytest.raises(errors.NotFoundError):
                await ask.registries.manifest(repository, "sha256:" + "0" * 64)
            assert len(tokens.requests) == 2
            assert [each.split()[-1] for each in registry.requests()] == ["404"]


async def test_identity_token_is_exchanged(tmp_path: Path, path: str) -> None:
    async with Tokens(tmp_path / "tokens") as tokens, asking() as ask:
        with Registry(tmp_path / "registry", tokens=tokens.for_registry()) as registry:
            login = Login("ada", refresh_token="refresh-me")
            with pytest.raises(errors.NotFoundError):
                await ask.registries.tags(Repository(registry.name(path), login))
            assert tokens.requests == [f"POST refresh_token repository:{path}:pull"]


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (Login(), "authentication required"),
        (WRONG, "the token server of .* refused the credentials"),
        (Login(refresh_token="hunter2"), "the token server of .* refused the credentials"),
        (Login(access_token="hunter2"), "the registry refused the credentials"),
    ],
    ids=["nobody", "password", "identity token", "registry token"],
)
async def test_login_that_the_token_server_refuses_is_told(
    tmp_path: Path, path: str, login: Login, words: str
) -> None:
    async with Tokens(tmp_path / "tokens") as tokens, asking() as ask:
        with Registry(tmp_path / "registry", tokens=tokens.for_registry()) as registry:
            with pytest.raises(errors.DeniedError, match=words) as caught:
                await ask.registries.tags(Repository(registry.name(path), login))
            assert "hunter2" not in str(caught.value)
