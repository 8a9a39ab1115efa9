from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import prometheus_client
import pytest
from aiohttp import web

from daemon import server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.blocking("aiohttp answers for a file's status in the loop")


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    listener = server.Listener("metrics", "127.0.0.1:0", app)
    await listener.open()
    try:
        yield f"http://{listener.bound}"
    finally:
        await listener.close()


async def get(url: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.read()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts" / "home" / "gitrepository" / "apps" / "fleet"
    folder.mkdir(parents=True)
    (folder / "abc.tar.gz").write_bytes(b"0123456789")
    (folder / "abc.lock").write_bytes(b"not an artifact")
    (folder / ".writing-1.tar.gz").write_bytes(b"not whole, as from outside")
    (tmp_path / "secret.tar.gz").write_bytes(b"outside")
    (folder / "link.tar.gz").symlink_to(tmp_path / "secret.tar.gz")
    return tmp_path / "artifacts"


ARTIFACT = "/home/gitrepository/apps/fleet/abc.tar.gz"


async def test_artifact_is_served_in_whole_and_in_part(root: Path) -> None:
    async with serving(server.artifacts_app(root)) as url:
        assert await get(url + ARTIFACT) == (200, b"0123456789")
        assert await get(url + ARTIFACT, Range="bytes=3-5") == (206, b"345")


async def test_head_tells_the_size(root: Path) -> None:
    async with (
        serving(server.artifacts_app(root)) as url,
        aiohttp.ClientSession() as session,
        session.head(url + ARTIFACT) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Length"] == "10"
        assert answer.headers["Content-Type"] == "application/gzip"


async def test_what_is_unchanged_is_not_sent_again(root: Path) -> None:
    async with serving(server.artifacts_app(root)) as url, aiohttp.ClientSession() as session:
        async with session.get(url + ARTIFACT) as answer:
            tag = answer.headers["ETag"]
            since = answer.headers["Last-Modified"]
        assert await get(url + ARTIFACT, **{"If-None-Match": tag}) == (304, b"")
        assert await get(url + ARTIFACT, **{"If-Modified-Since": since}) == (304, b"")
        assert (await get(url + ARTIFACT, **{"If-Match": '"another"'}))[0] == 412
        assert await get(url + ARTIFACT, **{"If-None-Match": '"another"'}) == (200, b"0123456789")


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=3-5"}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_digest_of_the_whole_file_is_told_with_every_part(
    root: Path, method: str, headers: dict[str, str]
) -> None:
    digest = base64.b64encode(hashlib.sha256(b"0123456789").digest()).decode()
    async with serving(server.artifacts_app(root)) as url, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.request(method, url + ARTIFACT, headers=headers) as answer:
                assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
        (root / ARTIFACT[1:]).write_bytes(b"replaced")
        async with session.request(method, url + ARTIFACT) as answer:
            assert digest not in answer.headers["Repr-Digest"]


@pytest.mark.parametrize("range_", ["bytes=20-30", "bytes=5-2"])
async def test_range_outside_the_file_is_refused(root: Path, range_: str) -> None:
    async with serving(server.artifacts_app(root)) as url:
        assert (await get(url + ARTIFACT, Range=range_))[0] == 416


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("latest.tar.gz", "application/gzip"),
        ("web-1.0.0.tgz", "application/gzip"),
        ("index.yaml", "application/yaml"),
    ],
)
async def test_artifact_of_any_kind_is_served_under_a_name_that_stays(
    root: Path, name: str, type_: str
) -> None:
    folder = (root / ARTIFACT[1:]).parent
    stored = folder / f"0{name[name.index('.') :] if name[0] == 'l' else name}"
    stored.write_bytes(b"x")
    (folder / name).symlink_to(stored.name)
    path = ARTIFACT.replace("abc.tar.gz", name)
    async with (
        serving(server.artifacts_app(root)) as url,
        aiohttp.ClientSession() as session,
        session.get(url + path) as answer,
    ):
        assert (answer.status, answer.headers["Content-Type"]) == (200, type_)
        assert await answer.read() == b"x"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/home/gitrepository/apps/fleet/.writing-1.tar.gz",
        "/home/gitrepository/apps/fleet/",
        "/home/gitrepository/apps/fleet/abc.lock",
        "/home/gitrepository/apps/fleet/missing.tar.gz",
        "/home/gitrepository/apps/fleet/link.tar.gz",
        "/home/%2e%2e/%2e%2e/secret.tar.gz",
        "/%2fetc/passwd",
        "/nul%00.tar.gz",
    ],
)
async def test_nothing_but_artifacts_below_the_root_is_served(root: Path, path: str) -> None:
    async with serving(server.artifacts_app(root)) as url:
        status, body = await get(url + path)

    assert status == 404
    assert b"outside" not in body


async def test_artifacts_cannot_be_written(root: Path) -> None:
    async with (
        serving(server.artifacts_app(root)) as url,
        aiohttp.ClientSession() as session,
        session.put(url + ARTIFACT, data=b"x") as answer,
    ):
        assert answer.status == 405


async def test_metrics_and_health_are_answered() -> None:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("things", "Things.", registry=registry).inc()
    state = server.Health(is_ready=False, text="home: connecting")

    async with serving(server.metrics_app(registry, lambda: state)) as url:
        status, body = await get(f"{url}/metrics")
        assert status == 200
        assert b"things_total 1.0" in body
        assert await get(f"{url}/healthz") == (200, b"ok\n")
        assert await get(f"{url}/readyz") == (503, b"home: connecting\n")
        state = server.Health(is_ready=True, text="ok")
        assert await get(f"{url}/readyz") == (200, b"ok\n")


async def test_port_in_use_is_told_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        listener = server.Listener("webhooks", address, web.Application())

        with pytest.raises(server.ListenError) as caught:
            await listener.open()

    assert str(caught.value) == (
        f"[listen] webhooks = '{address}': another process listens there; choose another port"
    )


async def test_address_of_another_machine_is_told() -> None:
    listener = server.Listener("webhooks", "203.0.113.1:0", web.Application())

    with pytest.raises(server.ListenError, match=r"\[listen\] webhooks"):
        await listener.open()


async def test_empty_address_switches_a_listener_off() -> None:
    listener = server.Listener("webhooks", "", web.Application())

    await listener.open()

    assert listener.bound == ""
    await listener.close()


async def test_ipv6_address_is_shown_in_brackets() -> None:
    listener = server.Listener("metrics", "[::1]:0", web.Application())
    try:
        await listener.open()
    except server.ListenError:
        pytest.skip("this machine has no IPv6 loopback")

    assert listener.bound.startswith("[::1]:")
    await listener.close()
    await asyncio.sleep(0)


async def test_many_consumers_are_served_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_DIGESTS", 2)
    folder = (root / ARTIFACT[1:]).parent
    for number in range(8):
        (folder / f"{number}.tar.gz").write_bytes(str(number).encode() * 1000)

    async with serving(server.artifacts_app(root)) as url, aiohttp.ClientSession() as session:

        async def fetch(number: int) -> bytes:
            path = ARTIFACT.replace("abc", str(number))
            async with session.get(url + path) as answer:
                body = await answer.read()
                digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
                assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
                return body

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetch(number % 8)) for number in range(64)]
    assert [task.result()[:1] for task in tasks[:8]] == [str(n).encode() for n in range(8)]
