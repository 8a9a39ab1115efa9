"""The limit to compare with: the same objects applied by a client that does nothing else.

It shares no code with the daemon: bare aiohttp, 32 connections, one server-side apply an object.
"""

from __future__ import annotations

import asyncio
import http
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from devcluster.api import APPLY, ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from devcluster.api import Credentials

CONNECTIONS = 32


def apply_all(credentials: Credentials, objects: Sequence[dict[str, Any]]) -> float:
    """Apply ConfigMaps as fast as the API server takes them; return the seconds.

    Raises:
        ApiError: one was refused.
    """
    return asyncio.run(_apply_all(credentials, objects))


async def _apply_all(credentials: Credentials, objects: Sequence[dict[str, Any]]) -> float:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=credentials.ssl)
    async with aiohttp.ClientSession(
        credentials.server, connector=connector, headers=credentials.headers
    ) as session:
        queue = iter([(_path(obj), json.dumps(obj).encode()) for obj in objects])
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(_work(session, queue))
        return time.monotonic() - start


async def _work(session: aiohttp.ClientSession, queue: Iterator[tuple[str, bytes]]) -> None:
    for path, body in queue:
        async with session.patch(path, data=body, headers={"Content-Type": APPLY}) as answer:
            text = await answer.text()
            if answer.status >= http.HTTPStatus.BAD_REQUEST:
                raise ApiError(f"{path}: {answer.status} {text[:300]}")


def _path(obj: dict[str, Any]) -> str:
    meta = obj["metadata"]
    folder = f"/api/v1/namespaces/{meta['namespace']}/configmaps"
    return f"{folder}/{meta['name']}?fieldManager=raw-client&force=true"
