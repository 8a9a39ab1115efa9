"""Lends a connection to a child program, for as long as it runs.

A listener on loopback takes the program's requests and sends them on as the user of a client, so
the program holds no credentials of the cluster but an address that nobody else knows and that ends
with the listener (programs of Kubernetes send no token where there is no TLS). On the way two
things are put right that helm has no option for: its records move to the namespace that they are
kept in, and its writes carry our field manager.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import unquote

from aiohttp import web

from api import meta
from kube import errors
from kube.transport import Media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kube.client import Client
    from kube.helm.shelf import Shelf

MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes of one request; a record near the limit of a Secret makes 2 MiB."""

_RECORD_PREFIX: Final = "/sh.helm.release.v1."
_RECORD_TYPE: Final = b"helm.sh/release.v1"
_MANAGER: Final = re.compile(r"(?<=[?&]fieldManager=)helm(?=&|$)")
_PASSED: Final = ("Content-Type", "Retry-After", "Warning")
_GRACE_S: Final = 1.0


class Move(NamedTuple):
    """Where records are looked for, and where they are."""

    release_namespace: str
    storage_namespace: str

    def target(self, method: str, target: str, body: bytes) -> str:
        """Return the target that a request is meant for.

        Args:
            method: the HTTP method.
            target: path and query, percent-encoded.
            body: the request's; records are told by their type also in protobuf.
        """
        target = _MANAGER.sub(meta.HELM_MANAGER, target)
        if self.release_namespace == self.storage_namespace:
            return target
        name = self.record(method, target, body)
        if name is None:
            return target
        _, mark, query = target.partition("?")
        rest = f"/{name}" if name else ""
        return f"/api/v1/namespaces/{self.storage_namespace}/secrets{rest}{mark}{query}"

    def record(self, method: str, target: str, body: bytes) -> str | None:
        """Return the name of the record that a request is about.

        Args:
            method: the HTTP method.
            target: path and query, percent-encoded.
            body: the request's.

        Returns:
            An empty name where it is about all of them, or a new one; None where it is about
            something else.
        """
        path, _, query = target.partition("?")
        rest = path.removeprefix(f"/api/v1/namespaces/{self.release_namespace}/secrets")
        if rest == path:
            return None
        is_list = not rest and "owner=helm" in unquote(query)
        is_new = not rest and method == "POST" and _RECORD_TYPE in body
        if not (is_list or is_new or rest.startswith(_RECORD_PREFIX)):
            return None
        return rest.removeprefix("/")


@asynccontextmanager
async def lending(client: Client, move: Move, shelf: Shelf | None = None) -> AsyncIterator[str]:
    """Take requests and send them on until the context ends.

    Args:
        client: sends them, as its user.
        move: where records are.
        shelf: the records that are shown in place of those, if any.

    Yields:
        The address of the server, which is a secret: its path lets in.

    Raises:
        OSError: there is no free port.
    """
    key = f"/{secrets.token_urlsafe(32)}"
    passing: set[asyncio.Task[object]] = set()

    async def handle(request: web.Request) -> web.StreamResponse:
        given, target = request.raw_path[: len(key)], request.raw_path[len(key) :]
        if not hmac.compare_digest(given.encode(), key.encode()):
            return web.Response(status=403)
        name = move.record(request.method, target, await request.read()) if shelf else None
        if shelf is not None and name is not None:
            told = shelf.answer(request.method, name, target.partition("?")[2])
            return web.Response(status=told.status, body=told.body, content_type="application/json")
        with _noted(passing):
            return await _pass(client, move, request, target)

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{key}"
    finally:
        await runner.cleanup()
        await _end(passing)


@contextmanager
def _noted(passing: set[asyncio.Task[object]]) -> Iterator[None]:
    """Remember the current task for as long as it passes a request on."""
    task = cast("asyncio.Task[object]", asyncio.current_task())
    passing.add(task)
    try:
        yield
    finally:
        passing.discard(task)


async def _end(passing: set[asyncio.Task[object]]) -> None:
    """End what the program left open: a watch has no end of its own."""
    for task in passing:
        task.cancel()
    if passing:
        await asyncio.wait(tuple(passing))


async def _pass(
    client: Client, move: Move, request: web.Request, target: str
) -> web.StreamResponse:
    body = await request.read()
    target = move.target(request.method, target, body)
    media = Media(request.headers.get("Accept", "*/*"), request.headers.get("Content-Type", ""))
    answer = web.StreamResponse()
    try:
        async with client.relay(request.method, target, media, body or None) as reply:
            answer.set_status(reply.status)
            for name in _PASSED:
                if name in reply.headers:
                    answer.headers[name] = reply.headers[name]
            await answer.prepare(request)
            async for piece in reply.content.iter_any():
                await answer.write(piece)
    except errors.ApiError as err:
        if not answer.prepared:
            return web.Response(status=502, text=err.message)
        if request.transport is not None:
            request.transport.abort()  # what was sent is no whole answer
        return answer
    await answer.write_eof()
    return answer
