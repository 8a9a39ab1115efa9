"""The HTTP under `kube.client`: sessions, deadlines, credentials, retries, counts, errors.

Speed is bought here, since an apply of a thousand objects passes through: bytes in and out, one
session, headers and URLs prepared once, no cookie jar, no redirects, no per-request objects beyond
aiohttp's own. Watches have a session of their own, so that they never use up the requests' slots.
A deadline starts when a request has its slot: waiting in line is not the server's slowness.

Two things are retried here and nowhere above: a request that the server asks to send again (429),
and one whose kept-alive connection turned out to be closed, if sending it twice does no harm.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections import Counter
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypedDict

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from kube import errors

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from prometheus_client import Counter as CounterChild

    from kube.auth import Connection
    from runtime.metrics import Metrics

CONNECT_S: Final = 5.0
"""Seconds to open a connection, TLS included."""
REQUEST_S: Final = 30.0
"""Seconds from the first byte sent to the last received."""
WATCH_SILENCE_S: Final = 120.0
"""Seconds without a byte after which a watch is given up; bookmarks come every minute."""

_TRIES: Final = 3
_MAX_RETRY_AFTER_S: Final = 2.0
_LOST: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)
_LARGE_BYTES: Final = 1024 * 1024
"""Size from which a body is handed over in pieces, so that sending it does not hold up the loop."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Media(NamedTuple):
    """What a request sends and what it wants back."""

    accept: str
    content_type: str = ""


class Call(NamedTuple):
    """One request, as the transport sees it."""

    method: str
    verb: str
    """What the call is for; with ``resource`` the key under which it is counted."""
    resource: str
    target: str
    """Path and query, percent-encoded."""
    media: Media
    body: bytes | None = None
    is_idempotent: bool = True


class Reply(NamedTuple):
    """A successful answer."""

    status: int
    body: bytes


class _Options(TypedDict, total=False):
    """What aiohttp takes with each request, the same for all of one generation."""

    allow_redirects: bool
    ssl: ssl.SSLContext
    server_hostname: str
    proxy: str


class Transport:
    """The connections to one API server; shared by every identity that uses it.

    Args:
        connection: where the server is and how to prove who we are.
        cluster: the cluster's name, a label of the metrics.
        metrics: counts requests; None counts only in ``requests``.
        user_agent: sent with each request.
        max_connections: requests in flight at most, watches not counted.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        cluster: str,
        metrics: Metrics | None,
        user_agent: str,
        max_connections: int,
    ) -> None:
        self.connection = connection
        self.cluster = cluster
        self.requests: Counter[tuple[str, str]] = Counter()
        """Requests sent so far by (verb, resource): ``("apply", "configmaps")``; never reset."""
        self._metrics = metrics
        self._user_agent = user_agent
        self._max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None
        self._headers: dict[tuple[int, str, Media], CIMultiDict[str]] = {}
        self._counters: dict[tuple[str, str], CounterChild] = {}
        self._tls: tuple[int, _Options] = (-1, {})

    async def __aenter__(self) -> Self:
        self._session = self._open(
            self._max_connections, aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=CONNECT_S)
        )
        self._watches = self._open(
            0, aiohttp.ClientTimeout(sock_connect=CONNECT_S, sock_read=WATCH_SILENCE_S)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in (self._session, self._watches):
            if session is not None:
                await session.close()
        self._session = self._watches = None

    async def send(self, call: Call, identity: str = "") -> Reply:
        """Send one request and return its answer.

        Args:
            call: the request.
            identity: the user to impersonate; empty for the connection's own.

        Raises:
            ApiError: the server refused, or did not answer.
        """
        renewed = False
        async with self._slots:
            for attempt in range(1, _TRIES + 1):
                generation = await self.connection.current()
                try:
                    return await self._exchange(call, identity, generation)
                except errors.Unauthorized:
                    if renewed or not await self.connection.renew(generation):
                        raise
                    renewed = True
                except errors.TooManyRequests as error:
                    if attempt == _TRIES or error.retry_after_s is None:
                        raise
                    await asyncio.sleep(min(error.retry_after_s, _MAX_RETRY_AFTER_S))
                except _ConnectionLost:
                    if attempt == _TRIES or not call.is_idempotent:
                        raise
        msg = "every try above returns or raises"
        raise AssertionError(msg)

    async def _exchange(self, call: Call, identity: str, generation: int) -> Reply:
        if self._session is None:
            msg = "the client is not open"
            raise RuntimeError(msg)
        self.requests[call.verb, call.resource] += 1
        try:
            async with self._session.request(
                call.method,
                self._url(call.target),
                data=_content(call.body),
                headers=self._header_set(generation, identity, call.media),
                **self._options(generation),
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._count("<error>", call.method)
            raise self._unreachable(error) from error
        self._count(str(response.status), call.method)
        if response.status < 300:
            return Reply(response.status, body)
        raise errors.from_response(
            response.status, body, retry_after_s=_retry_after(response.headers)
        )

    @asynccontextmanager
    async def stream(self, call: Call, identity: str = "") -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a response that does not end by itself, and yield its pieces as they arrive.

        Args:
            call: the request.
            identity: the user to impersonate; empty for the connection's own.

        Raises:
            ApiError: the server refused, did not answer, or went away in the middle.
        """
        if self._watches is None:
            msg = "the client is not open"
            raise RuntimeError(msg)
        generation = await self.connection.current()
        self.requests[call.verb, call.resource] += 1
        try:
            async with self._watches.get(
                self._url(call.target),
                headers=self._header_set(generation, identity, call.media),
                **self._options(generation),
            ) as response:
                self._count(str(response.status), call.method)
                if response.status != 200:
                    await self._refuse_stream(response, generation)
                with self._counting_watch():
                    yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    @asynccontextmanager
    async def relay(self, call: Call, identity: str = "") -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request of another program's and yield the answer, whatever its status.

        Args:
            call: the request.
            identity: the user to impersonate; empty for the connection's own.

        Raises:
            ApiError: the server did not answer, or went away in the middle.
        """
        generation = await self.connection.current()
        try:
            response = await self._ask(call, identity, generation)
            if response.status == 401 and await self.connection.renew(generation):
                response.close()
                generation = await self.connection.current()
                response = await self._ask(call, identity, generation)
            async with response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def _ask(self, call: Call, identity: str, generation: int) -> aiohttp.ClientResponse:
        if self._watches is None:
            msg = "the client is not open"
            raise RuntimeError(msg)
        self.requests[call.verb, call.resource] += 1
        response = await self._watches.request(
            call.method,
            self._url(call.target),
            data=_content(call.body),
            headers=self._header_set(generation, identity, call.media),
            **self._options(generation),
        )
        self._count(str(response.status), call.method)
        return response

    async def _refuse_stream(self, response: aiohttp.ClientResponse, generation: int) -> None:
        body = await response.read()
        error = errors.from_response(
            response.status, body, retry_after_s=_retry_after(response.headers)
        )
        if isinstance(error, errors.Unauthorized):
            await self.connection.renew(generation)
        raise error

    def _open(self, limit: int, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limit, keepalive_timeout=60, socket_factory=_keepalive_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeout,
            requote_redirect_url=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    def _url(self, target: str) -> URL:
        return URL(self.connection.server + target, encoded=True)

    def _options(self, generation: int) -> _Options:
        if self._tls[0] != generation:
            material = self.connection.material
            options: _Options = {"allow_redirects": False}
            if self.connection.ssl_context is not None:
                options["ssl"] = self.connection.ssl_context
            if material.tls_server_name:
                options["server_hostname"] = material.tls_server_name
            if material.proxy:
                options["proxy"] = material.proxy
            self._tls = (generation, options)
        return self._tls[1]

    def _header_set(self, generation: int, identity: str, media: Media) -> CIMultiDict[str]:
        key = (generation, identity, media)
        headers = self._headers.get(key)
        if headers is None:
            # A new generation makes the old header sets useless; there are a handful in each.
            self._headers = {k: v for k, v in self._headers.items() if k[0] == generation}
            headers = self._headers[key] = self._new_header_set(identity, media)
        return headers

    def _new_header_set(self, identity: str, media: Media) -> CIMultiDict[str]:
        material = self.connection.material
        # Over loopback compressing a large list costs both sides more than sending it.
        encoding = "identity" if self.connection.host in _LOOPBACK else "gzip"
        headers = CIMultiDict(
            {
                "User-Agent": self._user_agent,
                "Accept": media.accept,
                "Accept-Encoding": encoding,
            }
        )
        if media.content_type:
            headers["Content-Type"] = media.content_type
        if material.authorization:
            headers["Authorization"] = material.authorization
        if identity or material.impersonate:
            headers["Impersonate-User"] = identity or material.impersonate
        if not identity:
            for group in material.impersonate_groups:
                headers.add("Impersonate-Group", group)
        return headers

    def _unreachable(self, error: Exception) -> errors.Unreachable:
        server = self.connection.server
        if isinstance(error, TimeoutError):
            return errors.Unreachable(f"{server} did not answer in time")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return errors.Unreachable(
                f"the certificate of {server} is not accepted: {error.certificate_error}"
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            number, text = error.os_error.errno, error.os_error.strerror or str(error.os_error)
            reason = os.strerror(number) if number and number > 0 else text
            return errors.Unreachable(f"cannot connect to {server}: {reason.lower()}")
        if isinstance(error, _LOST):
            return _ConnectionLost(f"{server} closed the connection")
        return errors.Unreachable(f"the exchange with {server} broke: {type(error).__name__}")

    def _counting_watch(self) -> AbstractContextManager[None]:
        if self._metrics is None:
            return nullcontext()
        return self._metrics.watches.labels(self.cluster).track_inprogress()

    def count_managed(self, verb: str) -> None:
        """Count a request that is about a managed object."""
        if self._metrics is not None:
            operation = verb.replace("-", "_")
            self._metrics.apply_requests.labels(operation, self.cluster).inc()

    def _count(self, code: str, method: str) -> None:
        if self._metrics is None:
            return
        child = self._counters.get((code, method))
        if child is None:
            child = self._counters[code, method] = self._metrics.rest_client_requests.labels(
                code=code, method=method, host=self.connection.host, cluster=self.cluster
            )
        child.inc()


class _ConnectionLost(errors.Unreachable):
    """The connection ended before the answer did; the request may or may not have arrived."""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _keepalive_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket that notices within half a minute that the other machine is gone."""
    family, kind, protocol, _, _ = info
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # macOS's name
    for option, value in (
        (idle, 15),
        (getattr(socket, "TCP_KEEPINTVL", None), 5),
        (getattr(socket, "TCP_KEEPCNT", None), 3),
    ):
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


def _content(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body and len(body) > _LARGE_BYTES else body
