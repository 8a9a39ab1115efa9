"""Chart repositories over real HTTP and TLS: what is fetched, how often, and who learns what."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import web

from devcluster import certificates
from devcluster.certificates import Pair
from runtime.clock import SystemClock
from runtime.limits import Processes, Threads
from runtime.metrics import Metrics
from sources.auth import basic
from sources.auth.basic import Credentials
from sources.auth.proxy import Proxy
from sources.auth.tls import Trust
from sources.helm import index, repositories
from sources.helm.convert import InvalidIndexError
from sources.helm.repositories import Repositories
from sources.helm.server import Repository
from sources.oci.errors import ContentError, DeniedError, NotFoundError, RegistryError
from tests.support import chartserver, forwarder, helming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sources.helm.index import Entry
    from tests.support.chartserver import ChartServer

CHART = helming.chart()
ADA = Credentials("ada", "secret")


@pytest.fixture
async def server() -> AsyncIterator[ChartServer]:
    async with chartserver.running() as each:
        each.publish(CHART)
        yield each


@pytest.fixture
async def other() -> AsyncIterator[ChartServer]:
    async with chartserver.running() as each:
        yield each


@pytest.fixture
async def charts(tmp_path: Path) -> AsyncIterator[Repositories]:
    async with asking(tmp_path / "helm") as each:
        yield each


@asynccontextmanager
async def asking(directory: Path) -> AsyncIterator[Repositories]:
    threads, clock = Threads(), SystemClock()
    each = Repositories(directory, threads, Processes(Metrics()), clock)
    try:
        yield each
    finally:
        await each.aclose()
        await threads.aclose()


def at(
    server: ChartServer, credentials: Credentials = basic.ANONYMOUS, **more: object
) -> Repository:
    return Repository(f"{server.url}/", credentials, **more)  # type: ignore[arg-type]


async def listed(charts: Repositories, repository: Repository) -> Entry:
    found = await charts.index(repository)
    return await asyncio.to_thread(index.find, found.path, "web", "*")


async def fetched(charts: Repositories, repository: Repository) -> bytes:
    return await charts.chart(repository, await listed(charts, repository))


async def failure(wait: Awaitable[object], error: type[Exception] = RegistryError) -> str:
    with pytest.raises(error) as caught:
        await wait
    return str(caught.value)


async def test_index_and_chart_are_fetched(server: ChartServer, charts: Repositories) -> None:
    assert await fetched(charts, at(server)) == server.files["web-1.0.0.tgz"]
    assert server.requests == ["GET /index.yaml", "GET /web-1.0.0.tgz"]


async def test_unchanged_index_costs_one_304(server: ChartServer, charts: Repositories) -> None:
    first = await charts.index(at(server))
    again = await charts.index(at(server))
    assert (first, server.statuses) == (again, [200, 304])


async def test_index_that_has_a_date_alone_costs_one_304_too(
    server: ChartServer, charts: Repositories
) -> None:
    date, content = "Mon, 05 Jan 2026 01:02:03 GMT", server.files["index.yaml"]

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("If-Modified-Since") == date:
            return web.Response(status=304)
        return web.Response(body=content, headers={"Last-Modified": date})

    server.answers["index.yaml"] = answer
    assert await charts.index(at(server)) == await charts.index(at(server))
    assert server.statuses == [200, 304]


async def test_another_start_knows_the_index_still(server: ChartServer, tmp_path: Path) -> None:
    async with asking(tmp_path) as charts:
        first = await charts.index(at(server))
    async with asking(tmp_path) as charts:
        assert await charts.index(at(server)) == first
    assert server.statuses == [200, 304]


async def test_changed_index_is_another_file(server: ChartServer, charts: Repositories) -> None:
    first = await charts.index(at(server))
    server.publish(helming.chart(version="1.1.0"))
    again = await charts.index(at(server))
    assert first.revision != again.revision
    assert (await listed(charts, at(server))).version == "1.1.0"
    assert first.path.exists()  # for whoever still reads it


async def test_index_without_validators_is_compared_by_its_digest(
    server: ChartServer, charts: Repositories
) -> None:
    server.etags = False
    first = await charts.index(at(server))
    modified = first.path.stat().st_mtime_ns
    assert await charts.index(at(server)) == first
    assert first.path.stat().st_mtime_ns == modified
    assert server.statuses == [200, 200]


async def test_all_who_ask_meanwhile_share_a_request(
    server: ChartServer, charts: Repositories
) -> None:
    await charts.index(at(server))
    server.requests.clear()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(charts.index(at(server)))
    assert len(server.requests) <= 2  # one had begun when the others asked


async def test_other_credentials_are_asked_for_apart(
    server: ChartServer, charts: Repositories
) -> None:
    await charts.index(at(server))
    server.basic = ("ada", "secret")
    assert "401 Unauthorized" in await failure(charts.index(at(server, Credentials("eve", "x"))))
    await charts.index(at(server, ADA))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (basic.ANONYMOUS, "401 Unauthorized (it was asked without credentials)"),
        (Credentials("ada", "wrong"), "401 Unauthorized (credentials refused)"),
    ],
)
async def test_wrong_login_is_told(
    server: ChartServer, charts: Repositories, sent: Credentials, said: str
) -> None:
    server.basic = ("ada", "secret")
    text = await failure(charts.index(at(server, sent)), DeniedError)
    assert text == f"failed to fetch {server.url}/index.yaml : {said}"


async def test_bearer_token_is_presented(server: ChartServer, charts: Repositories) -> None:
    server.bearer = "token"
    await fetched(charts, at(server, Credentials(bearer_token="token")))
    refused = at(server, Credentials(bearer_token="old"))
    assert "403 Forbidden" in await failure(charts.index(refused), DeniedError)


async def test_query_of_the_repository_goes_along_and_stays_out_of_messages(
    server: ChartServer, charts: Repositories
) -> None:
    private = Repository(f"{server.url}/?token=secret")
    await fetched(charts, private)
    assert server.requests == ["GET /index.yaml?token=secret", "GET /web-1.0.0.tgz?token=secret"]
    server.files.clear()
    assert "secret" not in await failure(charts.index(private), NotFoundError)


async def test_credentials_stay_with_the_repository_s_host(
    server: ChartServer, other: ChartServer, charts: Repositories
) -> None:
    server.basic = ("ada", "secret")
    other.files["web-1.0.0.tgz"] = server.files["web-1.0.0.tgz"]
    server.entries[0]["urls"] = [f"{other.url}/web-1.0.0.tgz"]
    server.write_index()
    await fetched(charts, at(server, ADA))
    assert "Authorization" not in other.headers[-1]


async def test_credentials_are_passed_where_that_is_asked_for(
    server: ChartServer, other: ChartServer, charts: Repositories
) -> None:
    other.basic = server.basic = ("ada", "secret")
    other.files["web-1.0.0.tgz"] = server.files["web-1.0.0.tgz"]
    server.entries[0]["urls"] = [f"{other.url}/web-1.0.0.tgz"]
    server.write_index()
    assert "401" in await failure(fetched(charts, at(server, ADA)), DeniedError)
    await fetched(charts, at(server, ADA, passes_credentials=True))


@pytest.mark.parametrize("passes", [False, True])
async def test_credentials_never_follow_a_redirect_to_another_host(
    server: ChartServer, other: ChartServer, charts: Repositories, passes: bool
) -> None:
    server.basic = ("ada", "secret")
    other.files["index.yaml"] = server.files["index.yaml"]
    server.answers["index.yaml"] = chartserver.redirecting(f"{other.url}/index.yaml")
    await charts.index(at(server, ADA, passes_credentials=passes))
    assert other.requests == ["GET /index.yaml"]
    assert "Authorization" not in other.headers[-1]


async def test_redirect_within_the_host_keeps_them(
    server: ChartServer, charts: Repositories
) -> None:
    server.basic = ("ada", "secret")
    server.files["other/index.yaml"] = server.files["index.yaml"]
    server.answers["index.yaml"] = chartserver.redirecting("/other/index.yaml")
    await charts.index(at(server, ADA))


async def test_endless_redirect_is_left(server: ChartServer, charts: Repositories) -> None:
    server.answers["index.yaml"] = chartserver.redirecting("/index.yaml")
    assert "redirects without end" in await failure(charts.index(at(server)))


async def test_proxy_is_gone_through(server: ChartServer, charts: Repositories) -> None:
    async with forwarder.running(("bob", "hidden")) as between:
        through = Proxy(between.address, "bob", "hidden")
        await fetched(charts, at(server, proxy=through))
        assert between.requests == [
            f"GET {server.url}/index.yaml",
            f"GET {server.url}/web-1.0.0.tgz",
        ]
        await charts.aclose()


async def test_restarting_server_is_asked_again(server: ChartServer, charts: Repositories) -> None:
    content = server.files["index.yaml"]
    server.answers["index.yaml"] = chartserver.failing(503, times=2, content=content)
    await charts.index(at(server))
    assert server.statuses == [503, 503, 200]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (chartserver.failing(404), "index.yaml : 404 Not Found"),
        (chartserver.failing(500), "index.yaml : 500 Internal Server Error"),
        (chartserver.failing(304), "is said to be unchanged, unasked"),
        (chartserver.dripping(b"", every_s=60), "index.yaml : not done after 1s"),
        (chartserver.dripping(b"#", every_s=0.01), "index.yaml : not done after 1s"),
        (chartserver.lying(1000, b"apiVersion: v1\n"), "before its answer was complete"),
        (chartserver.lying(repositories.INDEX_BYTES + 1, b""), "exceeds the maximum size"),
    ],
    ids=["missing", "broken", "unasked", "stalls", "drips", "short", "large"],
)
async def test_misbehaving_server_is_told(
    server: ChartServer,
    charts: Repositories,
    answer: Callable[..., Awaitable[object]],
    said: str,
) -> None:
    server.answers["index.yaml"] = answer  # type: ignore[assignment]
    timeout_s = 1.0 if "not done" in said else 60.0
    assert said in await failure(charts.index(at(server, timeout_s=timeout_s)))


async def test_index_that_grows_without_end_is_cut(
    server: ChartServer, charts: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "INDEX_BYTES", 100_000)
    server.answers["index.yaml"] = chartserver.dripping(b"# a\n" * 10_000, every_s=0)
    text = await failure(charts.index(at(server)), ContentError)
    assert text == f"{server.url}/index.yaml exceeds the maximum size of 100000 bytes"


async def test_index_that_is_none_is_refused_and_the_one_before_stays(
    server: ChartServer, charts: Repositories, tmp_path: Path
) -> None:
    before = await charts.index(at(server))
    server.files["index.yaml"] = b"<html><body>Sign in</body></html>"
    await failure(charts.index(at(server)), InvalidIndexError)
    assert before.path.exists()
    assert not [path for path in before.path.parent.iterdir() if path.suffix == ".new"]


async def test_large_index_is_converted_beside(
    server: ChartServer, charts: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "_LARGE_BYTES", 10)
    assert (await listed(charts, at(server))).version == "1.0.0"
    server.files["index.yaml"] = b"entries: [1]"
    text = await failure(charts.index(at(server)), InvalidIndexError)
    assert text == "line 1: entries is not a mapping from chart names to versions"


async def test_chart_of_another_digest_is_refused(
    server: ChartServer, charts: Repositories
) -> None:
    server.files["web-1.0.0.tgz"] += b"\0"
    text = await failure(fetched(charts, at(server)), ContentError)
    assert "and not sha256:" in text


async def test_chart_without_a_digest_is_taken(server: ChartServer, charts: Repositories) -> None:
    server.entries[0]["digest"] = ""
    server.write_index()
    assert await fetched(charts, at(server))


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ([], "chart 'web' has no downloadable URLs"),
        (["file:///etc/passwd"], "which is no http(s) URL"),
        (["oci://ghcr.io/a/web:1"], "which is no http(s) URL"),
        (["http://[::1"], "which is no URL"),
    ],
)
async def test_chart_at_no_address_is_refused(
    server: ChartServer, charts: Repositories, urls: list[str], said: str
) -> None:
    server.entries[0]["urls"] = urls
    server.write_index()
    assert said in await failure(fetched(charts, at(server)), ContentError)


async def test_chart_that_is_too_large_is_refused(
    server: ChartServer, charts: Repositories
) -> None:
    server.answers["web-1.0.0.tgz"] = chartserver.lying(repositories.CHART_BYTES + 1, b"")
    text = await failure(fetched(charts, at(server)), ContentError)
    assert "web-1.0.0.tgz exceeds the maximum size of 10485760 bytes" in text


async def test_full_disk_leaves_nothing_behind(
    server: ChartServer, charts: Repositories, tmp_path: Path
) -> None:
    before = await charts.index(at(server))
    folder = before.path.parent
    server.publish(helming.chart(version="2.0.0"))
    (folder / f"{'0' * 64}.new").mkdir()

    async def full() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(repositories, "_convert_here", _no_space)
            await charts.index(at(server))

    assert "No space left" in await failure(full(), OSError)
    kept = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert kept == sorted([before.path.name, "state.json"])
    assert (await listed(charts, at(server))).version == "2.0.0"


def _no_space(_source: Path, target: Path) -> None:
    target.write_bytes(b"{")
    raise OSError(28, "No space left on device")


async def test_certificate_of_the_server_is_verified(tmp_path: Path) -> None:
    authority = certificates.Authority(tmp_path / "ca")
    pair = authority.issue("charts", hosts=("127.0.0.1",))
    ca = authority.certificate_path.read_bytes()
    async with (
        chartserver.running(pair, directory=tmp_path) as server,
        asking(tmp_path / "helm") as charts,
    ):
        server.publish(CHART)
        await fetched(charts, at(server, Credentials(trust=Trust(ca))))
        text = await failure(charts.index(at(server)))
        assert "TLS handshake with 127.0.0.1" in text
        assert "issuer certificate" in text


async def test_expired_certificate_is_told(tmp_path: Path) -> None:
    authority = trustme.CA()
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    issued = authority.issue_cert("127.0.0.1", not_after=past)
    pair = Pair(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())
    trust = Trust(authority.cert_pem.bytes())
    async with (
        chartserver.running(pair, directory=tmp_path) as server,
        asking(tmp_path / "helm") as charts,
    ):
        text = await failure(charts.index(at(server, Credentials(trust=trust))))
        assert "certificate has expired" in text


async def test_certificate_of_the_client_goes_to_its_host_alone(tmp_path: Path) -> None:
    authority = certificates.Authority(tmp_path / "ca")
    pair = authority.issue("charts", hosts=("127.0.0.1",))
    ca, own = authority.certificate_path, authority.issue("gitopsd")
    trust = Trust(ca.read_bytes(), own.certificate, own.key)
    async with (
        chartserver.running(pair, directory=tmp_path, client_ca=ca) as server,
        chartserver.running(pair, directory=tmp_path, client_ca=ca) as other,
        asking(tmp_path / "helm") as charts,
    ):
        other.publish(CHART)
        server.publish(CHART, urls=[f"{other.url}/web-1.0.0.tgz"])
        known = Credentials(trust=trust)
        assert "127.0.0.1" in await failure(fetched(charts, at(server, known)))
        assert other.requests == []
        await fetched(charts, at(server, known, passes_credentials=True))
        unknown = Credentials(trust=Trust(ca.read_bytes()))
        await failure(charts.index(at(server, unknown)))


async def test_index_that_nobody_asks_for_is_deleted_at_a_later_start(
    server: ChartServer, tmp_path: Path
) -> None:
    class Later(SystemClock):
        def now(self) -> dt.datetime:
            return super().now() + dt.timedelta(seconds=repositories.UNUSED_S + 60)

    async with asking(tmp_path) as charts:
        old = await charts.index(at(server))
    threads = Threads()
    charts = Repositories(tmp_path, threads, Processes(Metrics()), Later())
    used = await charts.index(at(server, ADA))
    await charts.aclose()
    await threads.aclose()
    assert (old.path.exists(), used.path.exists()) == (False, True)


def test_repr_of_a_repository_tells_no_secret() -> None:
    shown = repr(Repository("https://h/", ADA))
    assert "secret" not in shown
    assert base64.b64encode(b"ada:secret").decode() not in shown
