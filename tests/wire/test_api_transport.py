"""What happens to requests when the server, the network or the credentials misbehave.

The server here speaks HTTP for real and misbehaves on purpose; what a real API server does with the
same requests is in ``tests/plane``.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
import pytest
import trustme
from aiohttp import web

from kube import errors
from kube.client import JSON_PATCH, Client
from kube.connection import AuthError, Material, open_connection
from runtime.metrics import Metrics
from tests.support.api import CONFIG_MAPS, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from kube.connection import Connection


@asynccontextmanager
async def server(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve every path by one handler and yield the address."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    _, port = runner.addresses[0][:2]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def connect(*materials: Material) -> Connection:
    """Return a connection whose source gives one material after the other, then fails."""
    left = list(materials)

    async def source() -> Material:
        await asyncio.sleep(0)
        if not left:
            raise AuthError("nothing left")
        return left.pop(0)

    return await open_connection(source, ManualClock())


def status(code: int, message: str, **headers: str) -> web.Response:
    body = {"kind": "Status", "message": message, "code": code}
    return web.Response(status=code, body=orjson.dumps(body), headers=headers)


async def test_refused_token_is_renewed_once_and_the_request_sent_again() -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        if seen[-1] != "Bearer new":
            return status(401, "Unauthorized")
        return web.Response(body=b"{}")

    async with server(handler) as url:
        old = Material(server=url, authorization="Bearer old")
        new = Material(server=url, authorization="Bearer new")
        async with Client(await connect(old, new), cluster="c") as client:
            await client.get_raw("/version")
            await client.get_raw("/version")
    assert seen == ["Bearer old", "Bearer new", "Bearer new"]


async def test_requests_refused_together_renew_once() -> None:
    everyone = asyncio.Barrier(8)

    async def handler(request: web.Request) -> web.Response:
        if request.headers["Authorization"] == "Bearer old":
            await everyone.wait()
            return status(401, "Unauthorized")
        return web.Response(body=b"{}")

    async with server(handler) as url:
        connection = await connect(
            Material(server=url, authorization="Bearer old"),
            Material(server=url, authorization="Bearer new"),
        )
        async with Client(connection, cluster="c") as client, asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(client.get_raw("/version"))
    assert connection.generation == 1


async def test_token_that_stays_refused_is_an_error() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return status(401, "Unauthorized")

    async with server(handler) as url:
        material = Material(server=url, authorization="Bearer old")
        async with Client(await connect(material, material), cluster="c") as client:
            with pytest.raises(errors.Unauthorized):
                await client.get_raw("/version")
            assert client.requests["get", "/version"] == 1


async def test_busy_server_is_asked_again_after_the_time_it_names() -> None:
    answers = [status(429, "slow down", **{"Retry-After": "0"}), web.Response(body=b"{}")]

    async def handler(_request: web.Request) -> web.Response:
        return answers.pop(0)

    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c") as client,
    ):
        assert await client.get_raw("/version") == b"{}"


async def test_server_that_stays_busy_is_an_error_with_its_time() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return status(429, "slow down", **{"Retry-After": "0"})

    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c") as client,
    ):
        with pytest.raises(errors.TooManyRequests, match="slow down") as caught:
            await client.get_raw("/version")
        assert caught.value.retry_after_s == 0
        assert client.requests["get", "/version"] == 3


async def test_lost_connection_is_tried_again_only_if_that_does_no_harm() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c") as client,
    ):
        with pytest.raises(errors.Unreachable, match="closed the connection"):
            await client.apply(CONFIG_MAPS, b"{}", "n", "a", manager="m")
        with pytest.raises(errors.Unreachable):
            await client.create(CONFIG_MAPS, "n", b"{}", manager="m")
        with pytest.raises(errors.Unreachable):
            await client.patch(CONFIG_MAPS, "n", "a", b"[]", manager="m", content_type=JSON_PATCH)
        assert client.requests == {
            ("apply", "configmaps"): 3,
            ("create", "configmaps"): 1,
            ("patch", "configmaps"): 1,
        }


async def test_body_of_megabytes_arrives_whole_also_on_the_second_try() -> None:
    sent = orjson.dumps({"data": {"k": "x" * 3_000_000}})
    seen: list[bytes] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(await request.read())
        if len(seen) == 1:
            return status(429, "busy", **{"Retry-After": "0"})
        return web.Response(body=b"{}")

    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c") as client,
    ):
        await client.patch(CONFIG_MAPS, "ns", "a", sent, manager="m")
    assert seen == [sent, sent]


async def test_server_that_is_away_is_named(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with Client(await connect(Material(server=url)), cluster="c") as client:
        with pytest.raises(errors.Unreachable, match=f"cannot connect to {url}"):
            await client.get_raw("/version")


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_proxy_s_answer_is_not_quoted_and_redirects_are_not_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.path == "/version"
        return web.Response(status=302, headers={"Location": "/login?token=secret"}, text="secret")

    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c") as client,
    ):
        with pytest.raises(errors.ApiError) as caught:
            await client.get_raw("/version")
    assert str(caught.value) == "the server answered with HTTP status 302"


async def test_requests_in_flight_are_bounded_and_watches_are_not_counted() -> None:
    inside, most = 0, 0
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal inside, most
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"{}\n")
            await release.wait()
            return response
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.001)
        inside -= 1
        return web.Response(body=b"{}")

    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c", max_connections=4) as client,
        client.watch(CONFIG_MAPS, resource_version="1", timeout_s=60) as one,
        client.watch(CONFIG_MAPS, resource_version="1", timeout_s=60) as two,
    ):
        assert [await anext(one), await anext(two)] == [b"{}\n", b"{}\n"]
        async with asyncio.TaskGroup() as tasks:
            for _ in range(40):
                tasks.create_task(client.get_raw("/version"))
        release.set()
    assert most == 4


async def test_headers_say_who_we_are_and_what_we_want() -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers)
        return web.Response(body=b"{}")

    async with server(handler) as url:
        material = Material(
            server=url, authorization="Bearer t", impersonate="jane", impersonate_groups=("a", "b")
        )
        async with Client(await connect(material), cluster="c", user_agent="me/1") as client:
            await client.get_raw("/version")
            other = client.impersonating("system:serviceaccount:x:y")
            await other.apply(CONFIG_MAPS, b"{}", "n", "a", manager="m")
    first, second = seen
    assert first["User-Agent"] == "me/1"
    assert first["Authorization"] == "Bearer t"
    assert first.getall("Impersonate-User") == ["jane"]
    assert first.getall("Impersonate-Group") == ["a", "b"]
    assert first["Accept-Encoding"] == "identity"
    assert second.getall("Impersonate-User") == ["system:serviceaccount:x:y"]
    assert "Impersonate-Group" not in second
    assert second["Content-Type"] == "application/apply-patch+yaml"


async def test_requests_are_counted_by_status_in_the_metrics() -> None:
    async def handler(request: web.Request) -> web.Response:
        return status(404, "no") if request.path == "/absent" else web.Response(body=b"{}")

    metrics = Metrics()
    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c", metrics=metrics) as client,
    ):
        await client.get_raw("/version")
        with pytest.raises(errors.NotFound):
            await client.get_raw("/absent")
    for code in ("200", "404"):
        counter = metrics.rest_client_requests.labels(
            code=code, method="GET", host="127.0.0.1", cluster="c"
        )
        assert counter._value.get() == 1


async def test_open_watches_are_counted_in_the_metrics() -> None:
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{}\n")
        await release.wait()
        return response

    metrics = Metrics()

    def count() -> float | None:
        return metrics.registry.get_sample_value("gitopsd_watches", {"cluster": "c"})

    async with (
        server(handler) as url,
        Client(await connect(Material(server=url)), cluster="c", metrics=metrics) as client,
    ):
        async with client.watch(CONFIG_MAPS, resource_version="1", timeout_s=60) as lines:
            await anext(lines)
            assert count() == 1
            release.set()
        assert count() == 0


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def tls(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


async def answer(_request: web.Request) -> web.Response:
    return web.Response(body=b"{}")


async def get(material: Material) -> bytes:
    async with Client(await connect(material), cluster="c") as client:
        return await client.get_raw("/version")


async def test_server_s_certificate_is_checked_against_the_authority(ca: trustme.CA) -> None:
    pem = ca.cert_pem.bytes()
    async with server(answer, tls(ca, "127.0.0.1")) as url:
        assert await get(Material(server=url, authority=pem)) == b"{}"
        stranger = trustme.CA().cert_pem.bytes()
        with pytest.raises(errors.Unreachable, match=f"certificate of {url} is not accepted"):
            await get(Material(server=url, authority=stranger))
        assert await get(Material(server=url, is_verified=False)) == b"{}"


async def test_server_s_certificate_is_checked_against_the_name(ca: trustme.CA) -> None:
    pem = ca.cert_pem.bytes()
    async with server(answer, tls(ca, "api.example.org")) as url:
        with pytest.raises(errors.Unreachable, match="is not accepted"):
            await get(Material(server=url, authority=pem))
        named = Material(server=url, authority=pem, tls_server_name="api.example.org")
        assert await get(named) == b"{}"


async def test_client_certificate_is_presented(ca: trustme.CA) -> None:
    context = tls(ca, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    issued = ca.issue_cert("client@example.org")
    pair = issued.cert_chain_pems[0].bytes() + issued.private_key_pem.bytes()
    async with server(answer, context) as url:
        material = Material(server=url, authority=ca.cert_pem.bytes(), certificate=pair)
        assert await get(material) == b"{}"
        with pytest.raises(errors.Unreachable):
            await get(Material(server=url, authority=ca.cert_pem.bytes()))


async def test_proxy_is_used() -> None:
    seen = []

    async def proxy(request: web.Request) -> web.Response:
        seen.append(str(request.url))
        return web.Response(body=b"{}")

    async with server(proxy) as url:
        assert await get(Material(server="http://api.invalid:1", proxy=url)) == b"{}"
    assert seen == ["http://api.invalid:1/version"]


async def test_closed_client_says_so() -> None:
    client = Client(await connect(Material(server="http://127.0.0.1:1")), cluster="c")
    with pytest.raises(RuntimeError, match="not open"):
        await client.get_raw("/version")
