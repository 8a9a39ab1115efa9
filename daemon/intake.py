"""Bounds on what strangers may send: calls per second, bytes of one body, bytes of all bodies.

Refusals are ``aiohttp.web`` exceptions with a one-line JSON body.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runtime.clock import Clock

READ_S: Final = 10.0
"""Seconds in which a body must have arrived."""


class Rate:
    """A token bucket.

    Args:
        clock: measures the time between calls.
        per_second: calls that may go on for ever.
        burst: calls that may come at once.
    """

    def __init__(self, clock: Clock, per_second: float, burst: int) -> None:
        self._clock, self._per_second, self._burst = clock, per_second, burst
        self._left, self._seen_s = float(burst), clock.monotonic()

    def take(self) -> None:
        """Count one call.

        Raises:
            aiohttp.web.HTTPTooManyRequests: there have been too many.
        """
        now_s = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now_s - self._seen_s) * self._per_second)
        self._seen_s = now_s
        if self._left < 1:
            refuse(web.HTTPTooManyRequests, "too many calls", retry_after_s=1)
        self._left -= 1


class Bodies:
    """Reads request bodies, each within its limit and all of them within another.

    Args:
        limit_bytes: bytes of all bodies that may be in memory at once.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._held = limit_bytes, 0

    @asynccontextmanager
    async def read(
        self,
        request: web.Request,
        limit_bytes: int,
        on_chunk: Callable[[bytes], None] = lambda _: None,
    ) -> AsyncIterator[bytes]:
        """Read a body and hold it for the ``async with`` block.

        Args:
            request: whose body.
            limit_bytes: its bytes at most.
            on_chunk: called with each part as it arrives, so that hashing a large body never
                holds up the event loop for long.

        Raises:
            aiohttp.web.HTTPException: 413 over the limit, 408 too slow, 400 broken off, 503 where
                too much else is being read.
        """
        check_length(request, limit_bytes)
        body = bytearray()
        try:
            await self._fill(body, request, limit_bytes, on_chunk)
            yield bytes(body)
        finally:
            self._held -= len(body)

    async def _fill(
        self,
        body: bytearray,
        request: web.Request,
        limit_bytes: int,
        on_chunk: Callable[[bytes], None],
    ) -> None:
        try:
            async with asyncio.timeout(READ_S):
                async for chunk in request.content.iter_any():
                    body += chunk
                    self._held += len(chunk)
                    self._check(len(body), limit_bytes)
                    on_chunk(chunk)
        except TimeoutError:
            refuse(web.HTTPRequestTimeout, "the body took too long")
        except web.RequestPayloadError:
            refuse(web.HTTPBadRequest, "the body broke off")

    def _check(self, size: int, limit_bytes: int) -> None:
        if size > limit_bytes:
            too_large(limit_bytes)
        if self._held > self._limit:
            refuse(web.HTTPServiceUnavailable, "too much at once", retry_after_s=1)


def check_length(request: web.Request, limit_bytes: int) -> None:
    """Refuse a body that says itself that it is too large.

    Raises:
        aiohttp.web.HTTPRequestEntityTooLarge: it does.
    """
    if (request.content_length or 0) > limit_bytes:
        too_large(limit_bytes)


def too_large(limit_bytes: int) -> NoReturn:
    """Refuse a body over its limit.

    Raises:
        aiohttp.web.HTTPRequestEntityTooLarge: always.
    """
    message = f"the body is larger than {limit_bytes} bytes"
    raise web.HTTPRequestEntityTooLarge(
        max_size=limit_bytes, actual_size=limit_bytes + 1, **_body(message)
    )


def refuse(
    kind: type[web.HTTPError], message: str, *, retry_after_s: int | None = None
) -> NoReturn:
    """Refuse a request with a JSON body that says why.

    Raises:
        aiohttp.web.HTTPException: of that kind, always.
    """
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    raise kind(headers=headers, **_body(message))


def _body(message: str) -> dict[str, str]:
    text = msgspec.json.encode({"error": message}).decode()
    return {"text": text, "content_type": "application/json"}
