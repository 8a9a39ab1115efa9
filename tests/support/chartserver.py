"""A static file server over HTTP or TLS, as chart repositories are, and one that misbehaves.

::

    async with chartserver.running() as server:
        server.publish(helming.chart("web", "1.0.0"))
        ...
        assert server.requests == ["GET /index.yaml", "GET /web-1.0.0.tgz"]
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sources.auth import basic
from tests.support import helming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from devcluster.certificates import Pair

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ChartServer:
    """One such server and what tests change of it."""

    url: str = ""
    """Its address, without a slash at the end."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Content by path, without the first slash."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """What to do instead of serving a file."""
    basic: tuple[str, str] | None = None
    """Whom to admit; anybody where None."""
    bearer: str = ""
    """The token to admit; anybody where empty."""
    etags: bool = True
    """Whether to say what changes with a file, and to heed who knows it."""
    requests: list[str] = field(default_factory=list)
    """``METHOD /path`` of each request."""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    """The headers of each request."""
    statuses: list[int] = field(default_factory=list)
    """What was answered."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """The index, entry by entry."""

    def publish(self, files: Mapping[str, str], name: str = "web", **entry: Any) -> bytes:
        """Serve a chart and list it in the index.

        Args:
            files: of the chart.
            name: of the chart.
            entry: what to list otherwise than it is.
        """
        content = helming.packed(files, name)
        version = next(
            line.partition(":")[2].strip()
            for line in files["Chart.yaml"].splitlines()
            if line.startswith("version:")
        )
        path = f"{name}-{version}.tgz"
        self.files[path] = content
        listed = {
            "name": name,
            "version": version,
            "urls": [path],
            "digest": hashlib.sha256(content).hexdigest(),
            "created": "2026-01-02T03:04:05.000000006Z",
            "apiVersion": "v2",
        }
        self.entries.append(listed | entry)
        self.write_index()
        return content

    def write_index(self) -> None:
        """Serve the index of all entries, as YAML."""
        lines = ["apiVersion: v1", "entries:"]
        for name in dict.fromkeys(entry["name"] for entry in self.entries):
            lines.append(f"  {name}:")
            for entry in (each for each in self.entries if each["name"] == name):
                lines.append("  -")
                lines += [f"    {key}: {value!r}" for key, value in entry.items() if value]
        lines.append("generated: '2026-01-02T03:04:05Z'")
        self.files["index.yaml"] = "\n".join(lines).encode()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append(f"{request.method} {request.path_qs}")
        self.headers.append(request.headers)
        response = await self._answer(request)
        self.statuses.append(response.status)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/")
        sent = request.headers.get("Authorization", "")
        if self.basic and sent != basic.header(*self.basic):
            return web.Response(status=401)
        if self.bearer and sent != f"Bearer {self.bearer}":
            return web.Response(status=403)
        if path in self.answers:
            return await self.answers[path](request)
        if path not in self.files:
            return web.Response(status=404)
        content = self.files[path]
        if not self.etags:
            return web.Response(body=content)
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.Response(body=content, headers={"ETag": etag})


@asynccontextmanager
async def running(
    pair: Pair | None = None, *, directory: Path | None = None, client_ca: Path | None = None
) -> AsyncIterator[ChartServer]:
    """Serve until the end of the block.

    Args:
        pair: the server's certificate; in clear where None.
        directory: where to write that, since nothing reads it from memory.
        client_ca: whose certificates clients must have.
    """
    server, context = ChartServer(), None
    if pair is not None and directory is not None:
        context = await asyncio.to_thread(_context, pair, directory, client_ca)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def _context(pair: Pair, directory: Path, client_ca: Path | None) -> ssl.SSLContext:
    chain = directory / "server.pem"
    chain.write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def redirecting(target: str) -> Answer:
    """Return what sends everybody elsewhere."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": target})

    return answer


def failing(status: int, *, times: int = 1_000, content: bytes = b"") -> Answer:
    """Return what answers with a status, and from some time on with content."""
    left = times

    async def answer(_request: web.Request) -> web.StreamResponse:
        nonlocal left
        left -= 1
        return web.Response(status=status) if left >= 0 else web.Response(body=content)

    return answer


def lying(length: int, content: bytes) -> Answer:
    """Return what announces another length than it sends, and hangs up."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(length)})
        await response.prepare(request)
        await response.write(content)
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def dripping(part: bytes, *, every_s: float) -> Answer:
    """Return what sends a part now and then and never ends; after none, what stalls."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        with suppress(ConnectionError):
            await response.prepare(request)
            while True:
                await response.write(part or b"#")
                await asyncio.sleep(every_s)
        return response

    return answer
