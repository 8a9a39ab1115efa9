"""One request to a chart repository: who we are there, and what its answer means.

Credentials and the client's certificate go to the origin of the repository and nowhere else, unless
it is told to pass them to the hosts that the index names; redirects never take them elsewhere.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from yarl import URL

from api import durations
from sources.auth import basic, tls
from sources.helm import urls
from sources.oci import transport
from sources.oci.errors import (
    ConnectionFailed,
    ContentError,
    DeniedError,
    NotFoundError,
    RegistryError,
    ThrottledError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

    from runtime.limits import Threads
    from sources.auth.basic import Credentials
    from sources.auth.proxy import Proxy

_PASSING: Final = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Repository:
    """A chart repository and how to talk to it."""

    url: str
    """HTTP(S), normalised, without user information; see `urls.normalise`."""
    credentials: Credentials = basic.ANONYMOUS
    passes_credentials: bool = False
    """Whether hosts that the index names get the credentials too."""
    proxy: Proxy | None = None
    timeout_s: float = 60.0
    """Seconds that each operation may take."""

    @property
    def key(self) -> str:
        """A name for what is shared by everything with this URL and these credentials."""
        through = self.proxy.identity if self.proxy else b""
        parts = (self.url.encode(), self.credentials.identity.encode(), through)
        return tls.digest(b"helm-repository", *parts).hex()


class Server:
    """The connections to all repositories; nothing is opened before the first request.

    Args:
        threads: makes TLS contexts.
    """

    def __init__(self, threads: Threads) -> None:
        self._http = transport.Transport(threads)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def open(
        self, repository: Repository, url: URL, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request with what the server may see, and lend an answer that is a success.

        Args:
            repository: whose credentials are presented, where they may be.
            url: what to get.
            headers: further ones.

        Raises:
            RegistryError: there is no such answer, also while it is read.
            CredentialsError: the CA or the client's certificate cannot be used.
        """
        credentials = repository.credentials
        trusted = repository.passes_credentials or url.origin() == URL(repository.url).origin()
        trust = credentials.trust
        if trusted and credentials.authorization:
            headers = {**headers, "Authorization": credentials.authorization}
        if not trusted:
            trust = replace(trust, certificate=b"", key=b"")
        route = transport.Route(trust, repository.proxy)
        async with self._http.open("GET", url, route, headers) as response:
            if response.status not in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}:
                raise _refusal(response, url, is_anonymous="Authorization" not in headers)
            yield response


@asynccontextmanager
async def within(repository: Repository, url: URL) -> AsyncIterator[None]:
    """Give an operation the seconds that it may take.

    Raises:
        ConnectionFailed: it takes longer.
    """
    try:
        async with asyncio.timeout(repository.timeout_s):
            yield
    except TimeoutError as err:
        limit = durations.format_go(repository.timeout_s)
        raise ConnectionFailed(f"failed to fetch {shown(url)} : not done after {limit}") from err


async def chunks(response: aiohttp.ClientResponse, url: URL, limit: int) -> AsyncIterator[bytes]:
    """Yield the body of an answer piece by piece.

    Args:
        response: the answer.
        url: what it is of, for messages.
        limit: bytes that it may have.

    Raises:
        ContentError: it has more, or says so.
    """
    size = response.content_length or 0
    too_large = ContentError(f"{shown(url)} exceeds the maximum size of {limit} bytes")
    if size > limit:
        raise too_large
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise too_large
        yield chunk


class _PassingError(ConnectionFailed):
    """A status that a server has while it restarts."""


def _refusal(response: aiohttp.ClientResponse, url: URL, *, is_anonymous: bool) -> RegistryError:
    """Return what a status other than success means."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = ""
    text = f"failed to fetch {shown(url)} : {response.status} {phrase}".rstrip()
    match response.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            said = "it was asked without credentials" if is_anonymous else "credentials refused"
            return DeniedError(f"{text} ({said})")
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(text)
        case HTTPStatus.TOO_MANY_REQUESTS:
            wait = response.headers.get("Retry-After", "")
            return ThrottledError(text, min(3600.0, float(wait)) if wait.isdecimal() else None)
        case status if status in _PASSING:
            return _PassingError(text)
        case _:
            return ConnectionFailed(text)


def may_pass(error: BaseException) -> bool:
    """Tell what a second try may mend."""
    return isinstance(error, _PassingError) or transport.may_pass(error)


def shown(url: URL) -> str:
    """Return a URL as messages may have it: a query may be a secret."""
    return urls.shown(str(url))
