"""A forward HTTP proxy: ``CONNECT`` for https, whole URLs for http, and a record of both.

::

    async with forwarder.running(("ada", "secret")) as proxy:
        ...
        assert proxy.requests == ["CONNECT 127.0.0.1:4711"]
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


@dataclass
class Forwarder:
    """One proxy."""

    expected: str
    """The ``Proxy-Authorization`` that it asks for; empty for none."""
    port: int = 0
    requests: list[str] = field(default_factory=list)
    """``METHOD target`` of each request it let through."""
    heads: list[str] = field(default_factory=list)
    """What it passed on, head by head."""

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one request, or one tunnel."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        method, target, _ = first.split()
        given = [line.partition(": ")[2] for line in lines if "proxy-auth" in line.lower()]
        if self.expected and given != [self.expected]:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        self.requests.append(f"{method} {target}")
        where = urlsplit(f"//{target}" if method == "CONNECT" else target)
        upstream_in, upstream_out = await asyncio.open_connection(where.hostname, where.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            kept = [
                line for line in lines
                if not line.lower().startswith(("proxy-", "connection:"))
            ]  # fmt: skip
            path = f"{where.path}?{where.query}" if where.query else where.path
            passed = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""])
            self.heads.append(passed)
            upstream_out.write(passed.encode())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(copy(reader, upstream_out))
            tasks.create_task(copy(upstream_in, writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until it ends, then close."""
    try:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def running(login: tuple[str, str] | None = None) -> AsyncIterator[Forwarder]:
    """Run one on a free port of 127.0.0.1."""
    pair = base64.b64encode(":".join(login).encode()).decode() if login else ""
    proxy = Forwarder(f"Basic {pair}" if pair else "")
    async with serving(proxy.serve) as proxy.port:
        yield proxy


@asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]],
) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1, which is returned; what is open then ends with it."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        if connections:
            await asyncio.wait(connections)
