"""Starts the server: on standard input and output, or on a loopback address."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcp.server.stdio import stdio_server

from inspection import failure
from mcp_server import catalogue, listening, serving, signals
from mcp_server.audit import Audit
from mcp_server.desk import Desk
from runtime import clock

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve."""

    address: str = ""
    """``host:port`` to listen on; standard input and output where empty."""
    read_only: bool = False
    tools: tuple[str, ...] = ()
    """These tools alone; all where empty."""
    token_file: Path | None = None
    audit_file: Path | None = None


def run(config: Path, settings: Settings, options: Options) -> None:
    """Serve until the client goes, or a signal comes.

    Raises:
        failure.CommandError: it cannot be served as asked.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    try:
        tools = catalogue.offered(read_only=options.read_only, allowed=options.tools)
    except ValueError as err:
        raise failure.UsageError(str(err)) from err
    audit = Audit(options.audit_file or settings.data_dir / "mcp-audit.log", clock.SystemClock())
    offer = serving.Offer(Desk(config, settings, audit), tools)
    if asyncio.run(_serve(offer, settings, options)) is signal.SIGINT:
        raise KeyboardInterrupt


def _announce(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def _serve(
    offer: serving.Offer, settings: Settings, options: Options
) -> signal.Signals | None:
    """Serve, and return the signal that ended it."""
    server = offer.server()
    if options.address:
        token_file = options.token_file or settings.data_dir / "mcp-token"
        return await listening.serve(server, options.address, token_file, _announce)
    async with stdio_server() as (reading, writing):
        how = server.create_initialization_options()
        number = await signals.until_one(server.run(reading, writing, how))
        if number is not None:
            # A thread waits for the next line of standard input, and nothing wakes it.
            os._exit(signals.status_of(number))
    return None
