"""An HTTP server that answers as it is told, byte for byte: stalls, lies and breaks off.

::

    async with faults.running(lambda head: [b"HTTP/1.1 200 OK\\r\\n", 0.5, faults.STALL]) as server:
        ...
        assert server.heads[0].startswith("GET /")
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable

TLS_HELLO: Final = b"\x16"
STALL: Final = float("inf")
"""Say nothing more, and leave the connection open."""


def answer(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Faults:
    """One such server."""

    script: Callable[[str], Iterable[bytes | float]]
    """From the head of a request to what is sent: bytes, and pauses in seconds."""
    port: int = 0
    heads: list[str] = field(default_factory=list)
    """The head of each request."""

    @property
    def endpoint(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one request."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == TLS_HELLO:
            return  # a server that speaks no TLS hangs up
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        for part in self.script(head):
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            elif part == STALL:
                await asyncio.Event().wait()
            else:
                await asyncio.sleep(part)


@asynccontextmanager
async def running(
    script: Callable[[str], Iterable[bytes | float]], context: ssl.SSLContext | None = None
) -> AsyncIterator[Faults]:
    """Run one on a free port of 127.0.0.1, over TLS where there is a context for that."""
    faults = Faults(script)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(faults.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    faults.port = server.sockets[0].getsockname()[1]
    try:
        yield faults
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        if connections:
            await asyncio.wait(connections)
