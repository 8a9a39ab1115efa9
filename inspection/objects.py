"""Flux objects as commands read and change them: straight from the API server, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from daemon import report
from kube import client as kube_client
from kube import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.served import AnyKind
    from daemon.kinds import Kind
    from kube.client import Client
    from kube.objects import JsonObject

MANAGER = "gitopsd-cli"
"""Field manager of what commands write: annotations and ``spec.suspend``."""


class _Page(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


_PAGE = msgspec.json.Decoder(_Page)


async def listed(client: Client, kind: Kind, namespace: str) -> AsyncIterator[AnyKind]:
    """Yield the objects of a kind; none where the cluster does not serve it.

    Args:
        client: the cluster.
        kind: which kind.
        namespace: of one namespace; empty for all.
    """
    decoder = msgspec.json.Decoder(kind.type)
    try:
        async for raw in client.list_pages(kind.resource, namespace=namespace):
            for item in _PAGE.decode(raw).items:
                yield decoder.decode(item)
    except errors.NotFound:
        return


async def rows(client: Client, kind: Kind, namespace: str) -> list[report.Row]:
    """Return a row for each object of a kind."""
    return [report.row(kind.name, obj) async for obj in listed(client, kind, namespace)]


async def get(client: Client, kind: Kind, namespace: str, name: str) -> AnyKind:
    """Return one object.

    Raises:
        errors.NotFound: there is none.
    """
    raw = await client.get_raw(kind.resource.path(namespace, name))
    return msgspec.json.decode(raw, type=kind.type)


async def patch(client: Client, kind: Kind, namespace: str, name: str, body: JsonObject) -> AnyKind:
    """Change one object by a merge patch and return what it is now.

    Raises:
        errors.NotFound: there is none.
    """
    raw = await client.patch(
        kind.resource,
        namespace,
        name,
        msgspec.json.encode(body),
        content_type=kube_client.MERGE,
        manager=MANAGER,
    )
    return msgspec.json.decode(raw, type=kind.type)
