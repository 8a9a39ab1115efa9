"""Git servers that ask for a client's certificate, and servers behind a proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from devcluster import certificates
from devcluster.gitserver import GitServer
from runtime.errors import TransientError
from sources import git
from sources.auth import basic
from sources.auth.basic import Credentials
from sources.auth.errors import CredentialsError
from sources.auth.proxy import Proxy
from sources.auth.tls import Trust
from tests.support import forwarder, gitfetch, github

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return certificates.Authority(tmp_path / "clients")


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> Iterator[GitServer]:
    """A server over TLS that asks for a client's certificate."""
    ca = authority.certificate_path.read_bytes()
    with GitServer(tmp_path / "git", tls=True, client_ca=ca) as each:
        each.repo("fleet").push({"a": "1"})
        yield each


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "git", tls=True, basic=("ada", "secret")) as each:
        each.repo("fleet").push({"a": "1"})
        yield each


@pytest.fixture
def clear(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "git", basic=("ada", "secret")) as each:
        each.repo("fleet").push({"a": "1"})
        yield each


async def test_certificate_of_the_secret_is_presented(
    server: GitServer, authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue("gitopsd")
    data = {"ca.crt": server.ca, "tls.crt": pair.certificate, "tls.key": pair.key}
    credentials = basic.from_secret(data, "apps/git")
    async with gitfetch.running(tmp_path / "stores") as fetching:
        assert await fetching.files(git.Repository(server.url("fleet"), credentials)) == {"a": "1"}


async def test_server_that_gets_no_certificate_says_so(server: GitServer, tmp_path: Path) -> None:
    repository = git.Repository(server.url("fleet"), Credentials(trust=Trust(server.ca)))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(TransientError, match=r"TLS handshake failed|closed the connection"):
            await fetching.commit(repository)


async def test_certificate_of_another_authority_is_refused(
    server: GitServer, tmp_path: Path
) -> None:
    pair = certificates.Authority(tmp_path / "others").issue("gitopsd")
    trust = Trust(server.ca, pair.certificate, pair.key)
    repository = git.Repository(server.url("fleet"), Credentials(trust=trust))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(TransientError, match=r"TLS handshake failed|closed the connection"):
            await fetching.commit(repository)


async def test_certificate_and_key_that_are_no_pair_are_named(
    server: GitServer, authority: Authority, tmp_path: Path
) -> None:
    trust = Trust(server.ca, authority.issue("a").certificate, authority.issue("b").key)
    repository = git.Repository(server.url("fleet"), Credentials(trust=trust))
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(CredentialsError, match="are not a pair in PEM"):
            await fetching.commit(repository)


async def test_https_goes_through_a_tunnel_and_the_proxy_sees_no_credentials(
    secure: GitServer, tmp_path: Path
) -> None:
    credentials = Credentials("ada", "secret", trust=Trust(secure.ca))
    async with (
        forwarder.running(("p", "w")) as through,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        repository = git.Repository(
            secure.url("fleet"), credentials, Proxy(through.address, "p", "w")
        )
        assert await fetching.files(repository) == {"a": "1"}
        assert set(through.requests) == {f"CONNECT 127.0.0.1:{secure.port}"}
        await asyncio.to_thread(fetching.fetcher.close)


async def test_http_is_forwarded_and_the_server_sees_no_login_of_the_proxy(
    clear: GitServer, tmp_path: Path
) -> None:
    async with (
        forwarder.running(("p", "w")) as through,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        repository = git.Repository(
            clear.url("fleet"), Credentials("ada", "secret"), Proxy(through.address, "p", "w")
        )
        assert await fetching.files(repository) == {"a": "1"}
        assert all(clear.url("fleet") in request for request in through.requests)
        await asyncio.to_thread(fetching.fetcher.close)


async def test_proxy_that_refuses_is_told_from_the_server(
    secure: GitServer, tmp_path: Path
) -> None:
    async with (
        forwarder.running(("p", "w")) as through,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        repository = git.Repository(
            secure.url("fleet"), Credentials("ada", "secret"), Proxy(through.address, "p", "x")
        )
        with pytest.raises(TransientError, match=r"proxy: .*407 Proxy Authentication Required"):
            await fetching.commit(repository)


async def test_proxy_that_is_away_is_named(secure: GitServer, tmp_path: Path) -> None:
    repository = git.Repository(
        secure.url("fleet"), Credentials("ada", "secret"), Proxy("http://127.0.0.1:1")
    )
    async with gitfetch.running(tmp_path / "stores") as fetching:
        with pytest.raises(TransientError, match=r"cannot connect to the proxy: .*refused"):
            await fetching.commit(repository)


async def test_same_repository_through_another_proxy_shares_nothing() -> None:
    keys = {
        git.Repository("https://h/x", proxy=each).key
        for each in (None, Proxy("http://p"), Proxy("http://p", "a", "b"), Proxy("http://q"))
    }
    assert len(keys) == 4


async def test_githubs_api_is_reached_through_the_proxy_too(tmp_path: Path) -> None:
    async with (
        forwarder.running(("p", "w")) as through,
        github.running() as hub,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        hub.install(7, "acme")
        app = hub.app(installation="7", proxy=Proxy(through.address, "p", "w"))
        assert hub.admits(await fetching.fetcher.apps.tokens(app).authorization())
        assert through.requests == [f"POST {hub.url}/app/installations/7/access_tokens"]
        assert "Proxy-Authorization" not in through.heads[0]
