"""Follows one object of any kind: by a watch of its metadata, read whole whenever it changes."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import TYPE_CHECKING

from kube import errors, watch
from kube.objects import PartialObject
from runtime import clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from kube.client import Client
    from kube.objects import JsonObject, Resource


async def changes(
    client: Client, resource: Resource, namespace: str, name: str
) -> AsyncGenerator[JsonObject | None, None]:
    """Yield an object as it is now and after each change; None whenever it is not there.

    Ends never; the caller sets a time limit.

    Raises:
        errors.Unauthorized: the credentials are refused.
        errors.Forbidden: it may not be watched.
    """
    selection = watch.Selection(
        namespace=namespace, field_selector=f"metadata.name={name}", metadata_only=True
    )
    seen = watch.watch(
        client,
        resource,
        PartialObject,
        selection,
        clock=clock.SystemClock(),
        rng=random.Random(),  # noqa: S311 - spreads time-outs, guards nothing
    )
    async with aclosing(seen) as events:
        async for event in events:
            match event:
                case watch.Interrupted(error=(errors.Unauthorized() | errors.Forbidden()) as error):
                    raise error
                case watch.Listed() | watch.Added() | watch.Modified():
                    yield await _read(client, resource, namespace, name)
                case watch.Deleted():
                    yield None
                case watch.Synced(keys=keys) if not keys:
                    yield None
                case _:
                    continue


async def _read(client: Client, resource: Resource, namespace: str, name: str) -> JsonObject | None:
    try:
        found = await client.get(resource, namespace, name)
    except errors.NotFound:
        return None
    return {"apiVersion": resource.gvk.api_version, "kind": resource.gvk.kind} | found
