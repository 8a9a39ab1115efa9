"""GitHub Apps against a server that speaks GitHub's API, and Git with the tokens it grants."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devcluster import certificates
from devcluster.gitserver import GitServer
from runtime.clock import SystemClock
from runtime.errors import TransientError
from runtime.limits import Threads
from sources import git
from sources.auth import basic, github_tokens, tls
from tests.support import gitfetch, github

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from sources.auth.github_app import App
    from sources.auth.github_tokens import Apps
    from tests.support.github import GitHub


class Clock(SystemClock):
    """The machine's clock, which can be put forward."""

    ahead = dt.timedelta()

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()

    def now(self) -> dt.datetime:
        return super().now() + self.ahead


@pytest.fixture
async def hub() -> AsyncIterator[GitHub]:
    async with github.running() as each:
        each.install(7, "acme", repositories=("acme/fleet",))
        yield each


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def apps(clock: Clock) -> AsyncIterator[Apps]:
    threads = Threads(2)
    yield github_tokens.Apps(threads, tls.Contexts(), clock)
    await threads.aclose()


OTHER_KEY = github.pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


async def refusal(apps: Apps, app: App) -> TransientError:
    with pytest.raises(TransientError) as caught:
        await apps.tokens(app).authorization()
    assert caught.value.reason == "AuthenticationFailed"
    assert "PRIVATE KEY-----" not in caught.value.message
    return caught.value


async def test_token_is_granted_for_a_signature_that_the_public_key_verifies(
    hub: GitHub, apps: Apps
) -> None:
    header = await apps.tokens(hub.app(installation="7")).authorization()
    assert hub.admits(header)
    assert hub.requests == ["POST /app/installations/7/access_tokens"]


@pytest.mark.parametrize("is_organisation", [True, False])
async def test_installation_of_an_owner_is_found(
    hub: GitHub, apps: Apps, *, is_organisation: bool
) -> None:
    hub.install(9, "Ada", is_organisation=is_organisation)
    await apps.tokens(hub.app(owner="ada")).authorization()
    assert [number for number, _ in hub.tokens.values()] == [9]


async def test_all_who_ask_share_one_token(hub: GitHub, apps: Apps) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(apps.tokens(hub.app(installation="7")).authorization())
            for _ in range(20)
        ]
    assert len({task.result() for task in asked}) == 1
    assert len(hub.requests) == 1


async def test_who_does_not_know_the_key_gets_no_share_of_the_token(
    hub: GitHub, apps: Apps
) -> None:
    await apps.tokens(hub.app(installation="7")).authorization()
    guessed = hub.app(installation="7", private_key=OTHER_KEY)
    await refusal(apps, guessed)


async def test_token_is_renewed_before_it_ends(hub: GitHub, apps: Apps, clock: Clock) -> None:
    tokens = apps.tokens(hub.app(installation="7"))
    first = await tokens.authorization()
    clock.ahead = hub.ahead = dt.timedelta(minutes=45)
    assert await tokens.authorization() == first
    clock.ahead = hub.ahead = dt.timedelta(minutes=51)
    second = await tokens.authorization()
    assert second != first
    assert hub.admits(first)


async def test_token_that_still_holds_covers_for_a_failed_renewal(
    hub: GitHub, apps: Apps, clock: Clock
) -> None:
    tokens = apps.tokens(hub.app(installation="7"))
    first = await tokens.authorization()
    hub.answer = github.said(502, "")
    clock.ahead = hub.ahead = dt.timedelta(minutes=55)
    assert await tokens.authorization() == first
    clock.ahead = hub.ahead = dt.timedelta(minutes=60)
    with pytest.raises(TransientError, match="answered with status 502"):
        await tokens.authorization()


async def test_machine_whose_clock_is_wrong_takes_githubs_time(hub: GitHub, apps: Apps) -> None:
    hub.ahead = -dt.timedelta(hours=3)
    tokens = apps.tokens(hub.app(installation="7"))
    header = await tokens.authorization()
    assert hub.admits(header)
    assert len(hub.requests) == 2
    assert await tokens.authorization() == header


async def test_token_of_a_machine_whose_clock_is_behind_is_renewed_in_time(
    hub: GitHub, apps: Apps
) -> None:
    hub.ahead = dt.timedelta(hours=3)
    tokens = apps.tokens(hub.app(installation="7"))
    first = await tokens.authorization()
    hub.ahead += dt.timedelta(minutes=55)
    tokens.doubt()
    assert await tokens.authorization() == first


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"installation": "8"}, "github app 4711 has no installation 8: correct"),
        ({"owner": "nobody"}, "github app 4711 is not installed by 'nobody': correct"),
        (
            {"installation": "7", "private_key": OTHER_KEY},
            "github refused the signature of app 4711: 'githubAppPrivateKey' must be a key of",
        ),
        (
            {"installation": "7", "private_key": b"-----BEGIN RSA PRIVATE KEY-----\nx\n"},
            "'githubAppPrivateKey' cannot be read: it must be the whole PEM file",
        ),
    ],
)
async def test_wrong_description_says_what_to_correct(
    hub: GitHub, apps: Apps, change: dict[str, Any], text: str
) -> None:
    error = await refusal(apps, hub.app(**change))
    assert error.message.startswith(f"failed to configure authentication options: {text}")


async def test_suspended_installation_is_named(hub: GitHub, apps: Apps) -> None:
    hub.installations[7].is_suspended = True
    error = await refusal(apps, hub.app(installation="7"))
    assert "the installation of github app 4711 is suspended: unsuspend it" in error.message


@pytest.mark.parametrize(
    ("answer", "text", "retry_after_s"),
    [
        (github.said(503, "We are down"), "answered with status 503 (We are down)", None),
        (github.said(403, "Resource not accessible"), "may not do this: check its perm", None),
        (github.said(429, "Slow down", **{"Retry-After": "30"}), "next try in 30s", 30),
        (github.said(403, "secondary rate limit", **{"Retry-After": "90"}), "try in 1m30s", 90),
        (github.said(403, "API rate limit", **{"X-RateLimit-Remaining": "0"}), "in 1m0s", 60),
        (github.said(302, "", Location="http://127.0.0.1:1/"), "answered with status 302", None),
        (github.said(200, "a proxy's page"), "does not answer as GitHub's API does", None),
    ],
)
async def test_refusal_says_what_to_do(
    hub: GitHub, apps: Apps, answer: web.Response, text: str, retry_after_s: float | None
) -> None:
    hub.answer = answer
    error = await refusal(apps, hub.app(installation="7"))
    assert text in error.message
    assert error.retry_after_s == retry_after_s


async def test_reset_of_the_rate_limit_is_waited_for(hub: GitHub, apps: Apps) -> None:
    ends = str(int(dt.datetime.now(dt.UTC).timestamp()) + 600)
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": ends}
    hub.answer = github.said(403, "API rate limit exceeded", **headers)
    error = await refusal(apps, hub.app(installation="7"))
    assert error.retry_after_s is not None
    assert 590 < error.retry_after_s <= 600


async def test_github_that_cannot_be_reached_is_named(hub: GitHub, apps: Apps) -> None:
    app = hub.app(installation="7")
    hub.url = "http://127.0.0.1:1"
    error = await refusal(apps, hub.app(installation="7"))
    assert "cannot reach http://127.0.0.1:1: " in error.message
    assert hub.admits(await apps.tokens(app).authorization())


async def test_connection_that_github_drops_is_made_again(hub: GitHub, apps: Apps) -> None:
    hub.drops = 1
    assert hub.admits(await apps.tokens(hub.app(installation="7")).authorization())
    assert len(hub.requests) == 2


async def test_enterprise_server_with_an_authority_of_its_own(apps: Apps, tmp_path: Path) -> None:
    context, ca = await asyncio.to_thread(_server_context, tmp_path)
    async with github.running(context) as hub:
        hub.install(7, "acme")
        error = await refusal(apps, hub.app(installation="7"))
        assert "certificate verify failed" in error.message
        trusted = hub.app(installation="7", trust=tls.Trust(ca))
        assert hub.admits(await apps.tokens(trusted).authorization())


def _server_context(folder: Path) -> tuple[ssl.SSLContext, bytes]:
    authority = certificates.Authority(folder)
    pair = authority.issue("github", hosts=("127.0.0.1",))
    (folder / "pair.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    return context, authority.certificate_path.read_bytes()


@asynccontextmanager
async def serving(hub: GitHub, folder: Path) -> AsyncIterator[GitServer]:
    server = GitServer(folder, admits=hub.admits)
    await asyncio.to_thread(server.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def test_repositories_are_fetched_with_one_token_that_is_nowhere_to_be_seen(
    hub: GitHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = basic.Credentials(app=hub.app(installation="7"))
    async with (
        serving(hub, tmp_path / "git") as server,
        gitfetch.running(tmp_path / "s") as fetching,
    ):
        for name in ("fleet", "apps"):
            server.repo(name).push({"name": name})
            repository = git.Repository(server.url(name), credentials)
            assert await fetching.files(repository) == {"name": name}
        assert [request for request in hub.requests if "access_tokens" in request] == hub.requests
        assert len(hub.requests) == 1
        (token,) = hub.tokens
        assert token not in caplog.text
        assert all(token not in request.path for request in server.requests)


async def test_renewed_token_keeps_store_and_connections(hub: GitHub, tmp_path: Path) -> None:
    hub.lives = dt.timedelta(seconds=github_tokens.RENEW_BEFORE_S - 1)
    credentials = basic.Credentials(app=hub.app(installation="7"))
    async with (
        serving(hub, tmp_path / "git") as server,
        gitfetch.running(tmp_path / "s") as fetching,
    ):
        repo = server.repo("fleet")
        repo.push({"a": "1"})
        repository = git.Repository(server.url("fleet"), credentials)
        first = await fetching.commit(repository)
        repo.push({"a": "2"})
        assert (await fetching.commit(repository)).store is first.store
        assert len(hub.tokens) > 1


async def test_repository_that_the_installation_does_not_include_says_so(
    hub: GitHub, tmp_path: Path
) -> None:
    credentials = basic.Credentials(app=hub.app(installation="7"))
    async with (
        serving(hub, tmp_path / "git") as server,
        gitfetch.running(tmp_path / "s") as fetching,
    ):
        server.repo("fleet")
        repository = git.Repository(server.url("other"), credentials)
        with pytest.raises(TransientError) as caught:
            await fetching.commit(repository)
    assert caught.value.message.endswith(
        "repository not found; the installation of github app 4711 must include this repository, "
        "and the App have the permission to read contents: see `gitopsd github check`"
    )


async def test_refusal_by_github_reaches_everybody_who_listed(hub: GitHub, tmp_path: Path) -> None:
    hub.installations[7].is_suspended = True
    credentials = basic.Credentials(app=hub.app(installation="7"))
    async with gitfetch.running(tmp_path / "s") as fetching:
        repository = git.Repository("http://127.0.0.1:1/fleet.git", credentials)
        for _ in range(2):
            with pytest.raises(TransientError, match="suspended") as caught:
                await fetching.commit(repository)
            assert caught.value.reason == "AuthenticationFailed"
