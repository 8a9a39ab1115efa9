"""``gitopsd mcp``: the MCP server, for agents; on standard input and output, or on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli import settings
from inspection import failure

if TYPE_CHECKING:
    import argparse

_DEFAULT_ADDRESS = "127.0.0.1:9393"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--http",
        nargs="?",
        const=_DEFAULT_ADDRESS,
        default="",
        metavar="HOST:PORT",
        help=f"serve streamable HTTP on a loopback address (default {_DEFAULT_ADDRESS})",
    )
    parser.add_argument("--read-only", action="store_true", help="offer no tool that writes")
    parser.add_argument("--tools", default="", help="offer these tools alone, with commas between")
    parser.add_argument(
        "--token-file", type=Path, help="HTTP: file of mode 0600 with the token; made if missing"
    )
    parser.add_argument("--audit-file", type=Path, help="where writes are noted, one JSON a line")
    settings.add_option(parser)


def execute(args: argparse.Namespace) -> int:
    """Serve until the client goes, or a signal comes."""
    loaded = settings.load(args)
    try:
        from mcp_server import main
    except ModuleNotFoundError as err:
        raise failure.CommandError(
            f"the MCP server is not installed ({err.name} is missing): pip install 'gitopsd[mcp]'"
        ) from err
    options = main.Options(
        address=args.http,
        read_only=args.read_only,
        tools=tuple(filter(None, (each.strip() for each in args.tools.split(",")))),
        token_file=args.token_file,
        audit_file=args.audit_file,
    )
    main.run(settings.path(args), loaded, options)
    return 0
