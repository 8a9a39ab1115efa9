"""HTTP to registries: connections, TLS, proxies, redirects, and what their failures mean.

Whatever authorizes us goes to the origin it is for: a redirect to another host is followed without
login, token and client certificate, and none leads from TLS to clear text.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from yarl import URL

import api
from runtime import retry
from sources import connector
from sources.auth import tls
from sources.oci.errors import (
    ConnectionFailed,
    ContentError,
    DeniedError,
    NotFoundError,
    RegistryError,
    ThrottledError,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from runtime.limits import Threads
    from sources.auth.proxy import Proxy
    from sources.auth.tls import Trust

CONNECT_S: Final = 5.0
"""Seconds to establish a connection."""
READ_S: Final = 30.0
"""Seconds without a byte after which a connection counts as dead."""
KEPT_S: Final = 75.0
"""Seconds for which an idle connection is kept: longer than the usual minute between polls."""
REDIRECTS: Final = 5
SOCKS: Final = 16
"""SOCKS proxies with connections of their own; those of the one used longest ago are closed."""
ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a manifest, a token or a page of tags; more is none of these, as in the registries."""
_FIELD_BYTES: Final = 32 * 1024
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_PASSING: Final = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Route:
    """How to get to a server: what to trust, and which way."""

    trust: Trust = tls.SYSTEM
    proxy: Proxy | None = None
    allows_clear: bool = False
    """Whether a redirect may lead from TLS to clear text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    challenges: tuple[str, ...]
    body: bytes
    url: URL


class _Said(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: tuple[_Said, ...] = ()


class Transport:
    """Sends requests. One serves the whole daemon; nothing is opened before the first request.

    Args:
        threads: makes TLS contexts, which blocks for milliseconds.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._contexts = tls.Contexts()
        self._sessions: dict[bytes, aiohttp.ClientSession] = {}
        """By SOCKS proxy; all other requests share one."""

    async def aclose(self) -> None:
        """Close all connections; the next request opens new ones."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def exchange(
        self,
        method: str,
        url: URL,
        route: Route,
        headers: Mapping[str, str],
        *,
        data: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send an idempotent request and read its whole answer, whatever its status.

        Raises:
            ConnectionFailed: there was none.
            ContentError: it is longer than `ANSWER_BYTES`.
            CredentialsError: the CA or the client's certificate cannot be used.
        """

        async def once() -> Answer:
            async with self.open(method, url, route, headers, data=data) as response:
                if response.status in _PASSING and method != "POST":
                    raise _PassingError(response.status)
                return await _answer(response)

        try:
            return await retry.idempotent(once, on=may_pass)
        except _PassingError as err:
            raise ConnectionFailed(f"{_origin(url)} answered with status {err.status}") from err

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: URL,
        route: Route,
        headers: Mapping[str, str],
        *,
        data: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, follow redirects, and lend the answer, whatever its status.

        Raises:
            ConnectionFailed: the server cannot be reached or broke off, also while it is read.
            CredentialsError: the CA or the client's certificate cannot be used.
        """
        first = url
        try:
            for _ in range(REDIRECTS + 1):
                async with await self._send(method, url, route, headers, data) as response:
                    target = _target(response, route)
                    if target is None:
                        yield response
                        return
                if target.origin() != url.origin():
                    headers = {
                        key: value for key, value in headers.items() if key != "Authorization"
                    }
                    route = replace(route, trust=replace(route.trust, certificate=b"", key=b""))
                    if data is not None:
                        raise ConnectionFailed(f"{_origin(first)} sends its tokens elsewhere")
                url = target
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as err:
            raise failure(err, url) from err
        raise ConnectionFailed(f"{_origin(first)} redirects without end")

    async def _send(
        self,
        method: str,
        url: URL,
        route: Route,
        headers: Mapping[str, str],
        data: Mapping[str, str] | None,
    ) -> aiohttp.ClientResponse:
        context: ssl.SSLContext | bool = True
        if url.scheme == "https" or (route.proxy and route.proxy.is_tls):
            context = await self._threads.run(self._contexts.of, route.trust)
        through = route.proxy.headers if route.proxy else {}
        is_tunnel = url.scheme == "https"
        session = await self._session(route.proxy)
        return await session.request(
            method,
            url,
            headers={**headers, **({} if is_tunnel else through)},
            data=data,
            ssl=context,
            allow_redirects=False,
            proxy=connector.named(route.proxy),
            proxy_headers=through if is_tunnel else None,
        )

    async def _session(self, through: Proxy | None) -> aiohttp.ClientSession:
        # Taken out and put in again, so that the order is that of their last use.
        key = through.identity if through is not None and through.is_socks else b""
        session = self._sessions.pop(key, None) or _open_session(through)
        self._sessions[key] = session
        while len(self._sessions) > SOCKS + 1:
            await self._sessions.pop(next(each for each in self._sessions if each)).close()
        return session


def _open_session(through: Proxy | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector.make(through, limit=32, limit_per_host=8, keepalive_timeout=KEPT_S),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_S, connect=READ_S, sock_read=READ_S
        ),
        headers={"User-Agent": f"gitopsd/{api.__version__}", "Accept-Encoding": "identity"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=_FIELD_BYTES,
        max_field_size=_FIELD_BYTES,
    )


class _PassingError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def failure(error: Exception, url: URL) -> RegistryError:
    """Return what an exception of aiohttp or of the system means."""
    where = _origin(url)
    match error:
        case aiohttp.ClientHttpProxyError():
            text = f"the proxy on the way to {where} answered with status {error.status}"
        case aiohttp.ClientProxyConnectionError():
            text = f"cannot connect to the proxy on the way to {where}: {_cause(error)}"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            text = f"TLS handshake with {where} failed: {_cause(error)}"
        case aiohttp.ConnectionTimeoutError():
            text = f"{where} did not accept a connection in time"
        case TimeoutError():
            text = f"{where} stopped answering"
        case aiohttp.ClientConnectorError():
            text = f"cannot connect to {where}: {_cause(error)}"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            text = f"{where} closed the connection before its answer was complete"
        case aiohttp.ClientResponseError():
            text = f"{where} does not speak HTTP"  # its own words quote the URL, query and all
        case _:
            text = f"the connection with {where} failed: {type(error).__name__}"
    return ConnectionFailed(text)


def refusal(answer: Answer, what: str, *, is_anonymous: bool) -> RegistryError:
    """Return what a status other than success means.

    Args:
        answer: the registry's.
        what: was asked for, such as ``manifest latest of ghcr.io/a/b``.
        is_anonymous: whether nothing was presented, which changes what a refusal means.
    """
    said = _said(answer.body)
    words = f": {said}" if said else ""
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN if is_anonymous:
            return DeniedError(f"authentication required for {what}{words}")
        case HTTPStatus.UNAUTHORIZED:
            return DeniedError(
                f"authentication failed: the registry refused the credentials for {what}{words}"
            )
        case HTTPStatus.FORBIDDEN:
            return DeniedError(f"the credentials do not open {what}{words}")
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(f"{what} was not found{words}")
        case HTTPStatus.TOO_MANY_REQUESTS:
            wait = answer.headers.get("Retry-After", "")
            wait_s = min(3600.0, float(wait)) if wait.isdecimal() else None
            return ThrottledError(f"the registry asks to slow down{words}", wait_s)
        case _:
            return ConnectionFailed(
                f"{_origin(answer.url)} answered with status {answer.status} for {what}{words}"
            )


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise ContentError(
                f"{_origin(response.url)} sent more than the {ANSWER_BYTES} bytes that such an "
                "answer may have"
            )
    challenges = tuple(response.headers.getall("WWW-Authenticate", ()))
    return Answer(response.status, response.headers, challenges, bytes(body), response.url)


def _target(response: aiohttp.ClientResponse, route: Route) -> URL | None:
    """Return where an answer redirects to, None where it does not."""
    location = response.headers.get("Location")
    if response.status not in _MOVED or not location:
        return None
    try:
        target = response.url.join(URL(location, encoded=True))
    except ValueError as err:
        raise ConnectionFailed(f"{_origin(response.url)} redirects to no URL") from err
    is_downgrade = response.url.scheme == "https" and not route.allows_clear
    if target.scheme not in ({"https"} if is_downgrade else {"https", "http"}) or not target.host:
        raise ConnectionFailed(
            f"{_origin(response.url)} redirects to {target.scheme or 'no'}:// and away from TLS"
        )
    return target


def may_pass(error: BaseException) -> bool:
    """Tell what a second try may mend: a connection that was lost, a server that is restarting."""
    cause = error.__cause__
    is_lost = isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(
        cause, (aiohttp.ClientSSLError, TimeoutError)
    )
    return isinstance(error, _PassingError) or is_lost


def _origin(url: URL) -> str:
    return f"{url.host}:{url.explicit_port}" if url.explicit_port else str(url.host)


def _said(body: bytes) -> str:
    """Return the registry's own words, cut, without what could break a message."""
    try:
        said = msgspec.json.decode(body, type=_Errors).errors
    except msgspec.MsgspecError:
        return ""
    text = "; ".join(each.message or each.code for each in said)
    return "".join(character for character in text if character.isprintable())[:256]


def _cause(error: Exception) -> str:
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    text = getattr(inner, "verify_message", "") or getattr(inner, "strerror", None) or str(inner)
    return text or type(error).__name__
