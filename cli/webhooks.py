"""``gitopsd webhooks``: the addresses that wake sources, and whether each can be called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cli import access, options, settings, table
from inspection import daemon_client, kinds, survey

if TYPE_CHECKING:
    import argparse

    from inspection.flux import FluxObject
    from inspection.survey import Survey
    from kube.client import Client

GITHUB_PATH = "/webhooks/github"


class Hook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One address."""

    cluster: str
    receiver: str
    type: str
    ready: str
    url: str
    wakes: tuple[str, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--url", default="", help="the daemon's address as senders reach it")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options.add_cluster(parser)


def execute(args: argparse.Namespace) -> int:
    """Print every webhook; fails when a cluster did not answer."""
    loaded = settings.load(args)
    running = daemon_client.status(loaded.control_socket)
    bound = running.listeners.get("webhooks", "") if running else loaded.listen.webhooks
    base = args.url.rstrip("/") or (f"http://{bound}" if bound else "")

    async def read(client: Client) -> Survey:
        return await survey.take(client, [kinds.find("Receiver")])

    answers, is_whole = access.ask(args, read)
    found = [hook(each, base) for _, seen in answers for each in seen.objects.values()]
    if args.output == "json":
        print(msgspec.json.encode(found).decode())
        return 0 if is_whole else 1
    print(f"GitHub's push webhook, for all clusters: {base}{GITHUB_PATH}")
    if not bound:
        print("(switched off: [listen] webhooks is empty)")
    if not loaded.github.webhook_secret_file:
        print("(refuses every delivery: [github] webhook_secret_file is not set)")
    if found:
        print()
        print(render(found))
    return 0 if is_whole else 1


def hook(obj: FluxObject, base: str) -> Hook:
    """Return the webhook of a Receiver."""
    path = str(obj.status.get("webhookPath") or "")
    named = obj.spec.get("resources") or ()
    return Hook(
        cluster=obj.cluster,
        receiver=f"{obj.namespace}/{obj.name}",
        type=str(obj.spec.get("type") or ""),
        ready="Suspended" if obj.is_suspended else obj.ready or "False",
        url=f"{base}{path}" if path else "(not reconciled yet)",
        wakes=tuple(f"{each.get('kind')}/{each.get('name')}" for each in named),
    )


def render(found: list[Hook]) -> str:
    """Return webhooks as a table."""
    rows = [
        (each.cluster, each.receiver, each.type, each.ready, each.url, ", ".join(each.wakes))
        for each in found
    ]
    return table.render(("CLUSTER", "RECEIVER", "TYPE", "READY", "URL", "WAKES"), rows)
