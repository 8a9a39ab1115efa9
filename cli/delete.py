"""``gitopsd delete``: delete Flux objects; what they applied goes with them if they prune."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from api import durations
from cli import access, options
from inspection import failure, following, kinds, live
from kube import errors

if TYPE_CHECKING:
    import argparse

    from kube.client import Client
    from kube.objects import Resource


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("what", nargs="+", metavar="KIND NAME...", help=kinds.USAGE)
    parser.add_argument("-s", "--silent", action="store_true", help="do not ask")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is gone")
    parser.add_argument("--timeout", default="5m", help="how long to wait; default 5m")
    options.add_namespace(parser)
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Delete the named objects, after asking."""
    kind, names = kinds.parse(args.what)
    if not names:
        raise failure.UsageError("name at least one object")
    timeout_s = options.seconds(args.timeout)
    cluster = access.the_one(args)

    async def look() -> None:
        async with access.client(cluster) as client:
            for name in names:
                await live.get(client, kind.resource, args.namespace, name)

    async def main() -> None:
        async with access.client(cluster) as client:
            for name in names:
                await client.delete(kind.resource, args.namespace, name)
                print(f"► deleting {kind.name} {name} in {args.namespace} namespace")
                if not args.no_wait:
                    await _until_gone(client, kind.resource, args.namespace, name, timeout_s)
                    print(f"✔ {kind.name} {name} deleted")

    with access.explained(cluster):
        access.run(look())
        if not args.silent:
            _confirm(f"{kind.name} {', '.join(names)} in {args.namespace} of {cluster.name}")
        access.run(main(), "waiting until it is gone")
    return 0


def _confirm(what: str) -> None:
    """Ask whether to go on.

    Raises:
        failure.UsageError: nobody can be asked.
        failure.CommandError: the answer is no.
    """
    if not sys.stdin.isatty():
        raise failure.UsageError("nobody can be asked here: say --silent to delete without asking")
    answer = input(f"Delete {what}, with what it applied? [y/N] ")
    if answer.strip().lower() not in {"y", "yes"}:
        raise failure.CommandError("nothing was deleted")


async def _until_gone(
    client: Client, resource: Resource, namespace: str, name: str, timeout_s: float
) -> None:
    try:
        async with (
            asyncio.timeout(timeout_s),
            aclosing(following.changes(client, resource, namespace, name)) as changes,
        ):
            async for obj in changes:
                if obj is None:
                    return
    except errors.NotFound:
        return
    except TimeoutError as err:
        raise failure.CommandError(
            f"{resource.gvk.kind}/{namespace}/{name} is still there after "
            f"{durations.format_go(timeout_s)}: its finalizer waits for whoever reconciles it; "
            "see `gitopsd status`"
        ) from err
