"""A SOCKS5 proxy, and a record of where it led.

::

    async with socksproxy.running(("ada", "secret")) as proxy:
        ...
        assert proxy.targets == ["127.0.0.1:4711"]
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support import forwarder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class SocksProxy:
    """One proxy."""

    login: tuple[str, str] | None
    reply: int = 0
    """What it answers to every request; 0 is success."""
    port: int = 0
    targets: list[str] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=dict)
    """Names that only it knows, and what they mean."""

    @property
    def address(self) -> str:
        """Where it is."""
        return f"socks5://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self.login else 0
        writer.write(bytes((5, wanted if wanted in methods else 0xFF)))
        if wanted not in methods:
            return
        if self.login and not await self._admits(reader, writer):
            return
        target = await self._target(reader)
        writer.write(bytes((5, self.reply, 0, 1, 0, 0, 0, 0, 0, 0)))
        if self.reply:
            return
        self.targets.append(target)
        host, _, port = target.rpartition(":")
        upstream_in, upstream_out = await asyncio.open_connection(self.hosts.get(host, host), port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(forwarder.copy(reader, upstream_out))
            tasks.create_task(forwarder.copy(upstream_in, writer))

    async def _admits(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, size = await reader.readexactly(2)
        username = (await reader.readexactly(size)).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        is_known = (username, password) == self.login
        writer.write(bytes((1, 0 if is_known else 1)))
        return is_known

    async def _target(self, reader: asyncio.StreamReader) -> str:
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        return f"{host}:{int.from_bytes(await reader.readexactly(2), 'big')}"


@asynccontextmanager
async def running(
    login: tuple[str, str] | None = None, reply: int = 0
) -> AsyncIterator[SocksProxy]:
    """Run a proxy on a free port of 127.0.0.1."""
    proxy = SocksProxy(login, reply)
    async with forwarder.serving(proxy.serve) as proxy.port:
        yield proxy
