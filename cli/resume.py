"""``gitopsd resume``: reconcile suspended objects again and wait for the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import access, options, suspend
from inspection import objects, requests, waiting

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    suspend.configure(parser)
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the result")
    parser.add_argument("--timeout", default="5m", help="how long to wait; default 5m")


def execute(args: argparse.Namespace) -> int:
    """Resume the named objects."""
    kind, names = suspend.named(args)
    cluster = access.the_one(args)
    timeout_s = options.seconds(args.timeout)

    async def main() -> None:
        async with access.client(cluster) as client:
            for name in names:
                await requests.suspend(
                    client, kind.resource, args.namespace, name, is_suspended=False
                )
                print(f"✔ {kind.name} {name} in {args.namespace} namespace resumed")
                if not args.no_wait:
                    obj = await objects.get(client, kind, args.namespace, name)
                    print(f"◎ waiting for {kind.name} reconciliation")
                    await waiting.until(client, kind, obj, waiting.judged, timeout_s)
                    print(f"✔ {kind.name} {name} is ready")

    with access.explained(cluster):
        access.run(main())
    return 0
