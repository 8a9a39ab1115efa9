"""HTTP as sources speak it: bounded, under deadlines, and never to a host that nobody named.

A redirect is an error that names its target: to follow it would take credentials along, or fetch
from where the object's author did not point. Bodies are taken as they are sent, compressed or not,
since digests are of these bytes.

::

    WebError             no answer, or none that can be used; the text has no query and no secret
    ├── StatusError      the server answered with another status than 2xx or 304
    ├── LengthError      a longer body than is allowed
    └── LostError        the connection was lost or not made, which may pass by itself
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from yarl import URL

import api
from runtime import retry
from sources import connector

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from runtime.limits import Threads
    from sources.auth.proxy import Proxy
    from sources.auth.tls import Contexts, Trust

CONNECT_S: Final = 5.0
"""Seconds to open a connection, TLS included."""
SILENCE_S: Final = 20.0
"""Seconds without a byte after which an answer is given up."""
ANSWER_BYTES: Final = 16 * 2**20
"""Bytes that an answer may have which is read into memory."""
CHUNK_BYTES: Final = 256 * 2**10
CONNECTIONS: Final = 16
"""Connections to one server at once."""
_SAID: Final = 1024
"""Bytes of a refusal that are kept."""
_TRANSIENT: Final = frozenset({429, 500, 502, 503, 504})


class WebError(Exception):
    """No answer, or none that can be used."""


class StatusError(WebError):
    """An answer that refuses.

    Args:
        status: the HTTP status.
        where: scheme, host and path that refused.
        body: the beginning of what it said.
        headers: of the answer.
    """

    def __init__(self, status: int, where: str, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"{where} answered {status} {_phrase(status)}".rstrip())
        self.status, self.body, self.headers = status, body, headers


class LengthError(WebError):
    """A longer body than is allowed."""


class LostError(WebError):
    """The connection was lost or not made, which may pass by itself."""


class Body:
    """An answer whose body is still to come.

    Args:
        response: the answer.
        limit: bytes that its body may have.
    """

    def __init__(self, response: aiohttp.ClientResponse, limit: int) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response, self._limit = response, limit

    @property
    def length(self) -> int | None:
        """The bytes of the body as announced; None where the server does not say."""
        return self._response.content_length

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces.

        Raises:
            LengthError: it is larger than allowed.
            WebError: the connection broke, or nothing comes any more.
        """
        taken = 0
        while chunk := await self._next(taken):
            taken += len(chunk)
            if taken > self._limit:
                where = place(self._response.url)
                raise LengthError(f"{where} sends more than {self._limit} bytes")
            yield chunk

    async def _next(self, taken: int) -> bytes:
        url = self._response.url
        try:
            return await self._response.content.read(CHUNK_BYTES)
        except aiohttp.ClientPayloadError as err:
            raise LostError(f"{place(url)} broke off after {taken} bytes") from err
        except TimeoutError as err:
            raise WebError(f"{place(url)} stalled after {taken} bytes") from err
        except (aiohttp.ClientError, OSError) as err:
            raise _lost(url, err) from err

    async def read(self) -> bytes:
        """Return the whole body; raises what `chunks` raises."""
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
        return bytes(body)


class Web:
    """A client for one server, or for a few of one trust. Use as an async context manager.

    Args:
        trust: what to trust in TLS servers, and what to show them.
        proxy: the proxy to go through; None for none.
        contexts: TLS contexts to share.
        threads: reads certificates and long answers.
    """

    def __init__(
        self, trust: Trust, proxy: Proxy | None, contexts: Contexts, threads: Threads
    ) -> None:
        self.threads = threads
        """For what takes long with an answer."""
        self._trust, self._proxy, self._contexts = trust, proxy, contexts
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self,
        url: URL,
        headers: Callable[[], Mapping[str, str]] | None = None,
        *,
        limit: int = ANSWER_BYTES,
    ) -> bytes:
        """Return a body. Tried again where the connection was lost or the server is busy.

        Args:
            url: percent-encoded already.
            headers: makes the headers of one try; a signature holds for its moment only.
            limit: bytes that the body may have.

        Raises:
            WebError: see the module.
            CredentialsError: certificates do not parse.
        """

        async def exchange() -> bytes:
            async with self.open("GET", url, headers() if headers else {}, limit=limit) as body:
                return await body.read()

        return await patiently(exchange)

    async def post(
        self, url: URL, form: Mapping[str, str] | bytes, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send a form, or some bytes, and return the answer; raises what `get` raises."""

        async def exchange() -> bytes:
            sent = headers or {}
            async with self.open("POST", url, sent, limit=ANSWER_BYTES, form=form) as body:
                return await body.read()

        return await patiently(exchange)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        *,
        limit: int,
        form: Mapping[str, str] | bytes | None = None,
    ) -> AsyncIterator[Body]:
        """Send one request, once, and yield its answer; raises what `get` raises."""
        session = await self._opened(url)
        is_tunnel = url.scheme == "https"
        through = self._proxy.headers if self._proxy else {}
        try:
            response = await session.request(
                method,
                url,
                data=form,
                headers={**headers, **({} if is_tunnel else through)},
                allow_redirects=False,
                proxy=connector.named(self._proxy),
                proxy_headers=through if is_tunnel else None,
            )
            await _check(response)
        except TimeoutError as err:
            raise WebError(f"{place(url)} did not answer in time") from err
        except (aiohttp.ClientError, OSError) as err:
            raise _lost(url, err) from err
        async with response:
            yield Body(response, limit)

    async def _opened(self, url: URL) -> aiohttp.ClientSession:
        """Return the session, opened for the first request."""
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if url.scheme == "https" or (self._proxy and self._proxy.is_tls):
                context = await self.threads.run(self._contexts.of, self._trust)
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                connector=connector.make(self._proxy, ssl=context, limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"gitopsd/{api.__version__}", "Accept-Encoding": "identity"},
                requote_redirect_url=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S
                ),
            )
        return self._session


async def patiently(exchange: Callable[[], Awaitable[bytes]]) -> bytes:
    """Return what an exchange gives, tried again where that may help; raises what it raises."""
    return await retry.idempotent(exchange, on=may_pass)


def may_pass(error: BaseException) -> bool:
    """Tell a failure that another try may mend: a lost connection, a server that is busy."""
    if isinstance(error, StatusError):
        return error.status in _TRANSIENT
    return isinstance(error, LostError)


async def _check(response: aiohttp.ClientResponse) -> None:
    """Refuse an answer that is neither a success nor a redirect to nowhere.

    Raises:
        StatusError: it is not.
    """
    status, where = response.status, place(response.url)
    if status == HTTPStatus.NOT_MODIFIED or status < HTTPStatus.MULTIPLE_CHOICES:
        return
    async with response:
        said = await response.content.read(_SAID)
    if status < HTTPStatus.BAD_REQUEST and (target := response.headers.get("Location")):
        where = f"{where}, which redirects to {place(URL(target))} and is not followed there,"
    raise StatusError(status, where, said, response.headers)


def _lost(url: URL, error: Exception) -> WebError:
    where = place(url)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", str(error.certificate_error))
        return WebError(f"the certificate of {where} is not accepted: {reason}")
    if isinstance(error, aiohttp.ClientSSLError):
        return WebError(f"{where} and this machine do not agree on TLS: {_reason(error)}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return WebError(f"the proxy refuses {where}: {error.status} {error.message}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return LostError(f"the proxy cannot be reached: {_reason(error)}")
    if isinstance(error, (aiohttp.ClientConnectionError, OSError)):
        return LostError(f"cannot reach {where}: {_reason(error)}")
    return WebError(f"{where} does not speak HTTP as it should: {type(error).__name__}")


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    number = getattr(inner, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    return (getattr(inner, "strerror", None) or str(inner)).lower() or type(error).__name__


def place(url: URL) -> str:
    """Return a URL as messages may show it: without user and query, which may hold secrets."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
