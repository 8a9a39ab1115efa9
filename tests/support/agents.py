"""The official MCP client on our server: in this process, over standard input, and over HTTP.

::

    async with agents.over_stdio(config) as client:
        result = await client.call_tool("list_clusters", {})

The last two start ``gitopsd mcp`` as its users do.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from daemon import settings
from mcp_server import catalogue, serving
from mcp_server.desk import Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from mcp.server.lowlevel.server import Server

COMMAND = (sys.executable, "-m", "cli.main", "mcp")
_ADDRESS = re.compile(rb"serving (http://\S+),")


class Served(NamedTuple):
    """A server over HTTP."""

    url: str
    token: str


@asynccontextmanager
async def inside(config: Path, **options: Any) -> AsyncIterator[Client]:
    """Serve in this process, without any transport."""
    desk = Desk(config, await asyncio.to_thread(settings.load, config))
    offer = serving.Offer(desk, catalogue.offered(**options))
    async with Client(offer.server()) as client:
        yield client


def client(server: Server[Any]) -> Client:
    """Return a client of a server in this process, without any transport."""
    return Client(server)


@asynccontextmanager
async def over_stdio(config: Path, *options: str) -> AsyncIterator[Client]:
    """Serve over the standard input of a process."""
    python, *arguments = (*COMMAND, "--config", str(config), *options)
    server = StdioServerParameters(command=python, args=arguments, env=dict(os.environ))
    async with Client(stdio_client(server)) as client:
        yield client


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[Client]:
    """Connect to a server over HTTP, with its token."""
    headers = {"Authorization": f"Bearer {served.token}"}
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(served.url, http_client=http)) as client,
    ):
        yield client


@contextmanager
def listening(config: Path, *options: str) -> Iterator[Served]:
    """Start a process that serves over HTTP on a free port."""
    token_file = config.parent / "token"
    address = ("--http", "127.0.0.1:0", "--token-file", str(token_file))
    process = subprocess.Popen(
        [*COMMAND, "--config", str(config), *address, *options], stderr=subprocess.PIPE
    )
    try:
        url = _address(process)
        yield Served(url, token_file.read_text().strip())
    finally:
        process.terminate()
        process.communicate()


def _address(process: subprocess.Popen[bytes]) -> str:
    """Read what the server says of itself until it has said where it serves."""
    told = b""
    while process.stderr is not None and (line := process.stderr.readline()):
        told += line
        if found := _ADDRESS.search(line):
            return found[1].decode()
    raise RuntimeError(f"the server ended: {told.decode()}")


def text_of(result: Any) -> str:
    """Return the text of a result."""
    return "\n".join(str(each.text) for each in result.content)
