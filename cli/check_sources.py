"""What `gitopsd check` asks of the sources: whether this machine reaches the hosts they name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cli import access
from inspection import kinds, survey
from kube import errors
from kube.connection import AuthError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.settings import Cluster
    from inspection.flux import FluxObject

Finding = tuple[bool, str]

_TIMEOUT_S: Final = 5.0
_PORTS: Final = {"https": 443, "http": 80, "ssh": 22, "oci": 443}


async def findings(cluster: Cluster) -> list[Finding]:
    """Return a line for each host; none where the cluster does not answer, which is told before."""
    try:
        async with access.client(cluster) as client:
            found = await survey.take(client, kinds.sources())
    except (errors.ApiError, AuthError):
        return []
    named = hosts(found.objects.values())
    lines: dict[tuple[str, int], Finding] = {}

    async def look(host: str, port: int) -> None:
        lines[host, port] = await _reach(host, port, named[host, port])

    async with asyncio.TaskGroup() as tasks:
        for host, port in named:
            tasks.create_task(look(host, port), name=f"reach {host}")
    return [lines[each] for each in named]


def hosts(sources: Iterable[FluxObject]) -> dict[tuple[str, int], str]:
    """Return the hosts and ports that sources name, each with one of those sources."""
    found: dict[tuple[str, int], str] = {}
    for each in sources:
        text = str(each.spec.get("url") or each.spec.get("endpoint") or "")
        parts = urlsplit(text if "://" in text else f"https://{text}")
        if each.is_suspended or not parts.hostname or parts.scheme not in _PORTS:
            continue
        port = parts.port or _PORTS[parts.scheme]
        found.setdefault((parts.hostname, port), f"{each.kind}/{each.namespace}/{each.name}")
    return found


async def _reach(host: str, port: int, source: str) -> Finding:
    """Open a connection for a moment."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as err:
        reason = getattr(err, "strerror", "") or type(err).__name__
        return False, (
            f"source host {host}:{port}: {reason}; {source} names it: check the URL, DNS, and "
            "whether a proxy is needed (spec.proxySecretRef)"
        )
    writer.close()
    return True, f"source host {host}:{port} can be reached"
