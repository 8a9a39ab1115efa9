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
from tests.support import forwarder, gitfetch, github, socksproxy

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


@pytest.mark.parametrize("login", [None, ("p", "w")])
async def test_socks_proxy_leads_to_servers_that_it_alone_can_name(
    secure: GitServer, clear: GitServer, tmp_path: Path, login: tuple[str, str] | None
) -> None:
    async with (
        socksproxy.running(login) as through,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        proxy = Proxy(through.address, *(login or ()))
        trusted = Credentials("ada", "secret", trust=Trust(secure.ca))
        repository = git.Repository(secure.url("fleet"), trusted, proxy)
        assert await fetching.files(repository) == {"a": "1"}
        through.hosts["git.inside.test"] = "127.0.0.1"
        url = clear.url("fleet").replace("127.0.0.1", "git.inside.test")
        repository = git.Repository(url, Credentials("ada", "secret"), proxy)
        assert await fetching.files(repository) == {"a": "1"}
        assert set(through.targets) == {
            f"127.0.0.1:{secure.port}",
            f"git.inside.test:{clear.port}",
        }
        await asyncio.to_thread(fetching.fetcher.close)


@pytest.mark.parametrize(
    ("login", "reply", "text"),
    [
        (("p", "x"), 0, "it refused its user name and password"),
        ((), 0, "it asks for a user name and password"),
        (("p", "w"), 2, "its rules forbid the connection"),
        (("p", "w"), 5, "the connection was refused"),
        (("p", "w"), 99, "it answered 99"),
    ],
)
async def test_socks_proxy_that_refuses_says_why(
    secure: GitServer, tmp_path: Path, login: tuple[str, ...], reply: int, text: str
) -> None:
    async with (
        socksproxy.running(("p", "w"), reply) as through,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        repository = git.Repository(secure.url("fleet"), proxy=Proxy(through.address, *login))
        with pytest.raises(TransientError) as caught:
            await fetching.commit(repository)
    assert caught.value.message.endswith(f"cannot connect to the proxy: {text}")


async def test_proxy_that_speaks_no_socks_is_named(tmp_path: Path) -> None:
    async def page(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with forwarder.serving(page) as port, gitfetch.running(tmp_path / "stores") as fetching:
        repository = git.Repository("http://h/x", proxy=Proxy(f"socks5://127.0.0.1:{port}"))
        with pytest.raises(TransientError, match="the proxy: it does not speak SOCKS5"):
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


async def test_githubs_api_is_reached_through_a_socks_proxy_too(tmp_path: Path) -> None:
    async with (
        socksproxy.running(("p", "w")) as through,
        github.running() as hub,
        gitfetch.running(tmp_path / "stores") as fetching,
    ):
        hub.install(7, "acme")
        app = hub.app(installation="7", proxy=Proxy(through.address, "p", "w"))
        assert hub.admits(await fetching.fetcher.apps.tokens(app).authorization())
        assert through.targets == [hub.url.removeprefix("http://")]
