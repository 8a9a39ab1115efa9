"""Authorized requests to one repository: its address, the registry's challenge, and tokens.

The first request goes out with nothing; what the registry then asks for is remembered, so a poll is
one request for as long as a token lasts, and one more when it has to be renewed.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec
from yarl import URL

from sources.oci import challenges, transport
from sources.oci.errors import ConnectionFailed, DeniedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from runtime.clock import Clock
    from sources.oci.challenges import Challenge
    from sources.oci.client import Repository
    from sources.oci.transport import Answer, Route, Transport

TOKEN_S: Final = 60.0
"""Seconds that a token lasts whose server does not say, as in the specification."""
MARGIN: Final = 0.9
"""How much of a token's life it is used for."""
_CLIENT: Final = "gitopsd"


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


class Access:
    """The way into one repository.

    Args:
        http: sends the requests.
        clock: tells when a token has to be renewed.
        repository: what to get into, and with what.
    """

    def __init__(self, http: Transport, clock: Clock, repository: Repository) -> None:
        self._http = http
        self._clock = clock
        self._repository = repository
        self._route: Route = transport.Route(
            repository.trust, repository.proxy, allows_clear=repository.insecure
        )
        self._base: URL | None = None
        self._challenge: Challenge | None = None
        token = repository.login.access_token
        self._authorization = f"Bearer {token}" if token else ""
        self._renew_at_s = float("inf")
        self._authorizing = asyncio.Lock()

    async def get(self, path: str, *, method: str = "GET", accept: str = "*/*") -> Answer:
        """Send a request and read its answer, whatever its status.

        Args:
            path: below the repository, such as ``manifests/latest``, or the path and query that a
                registry gave, which begins with ``/``.
            method: ``GET`` or ``HEAD``.
            accept: media types that are wanted.

        Raises:
            RegistryError: there was no answer, or no way to be authorized.
        """
        with self._doubting():
            url = await self._url(path)
            await self._refresh()
            sent = self._authorization
            answer = await self._http.exchange(method, url, self._route, _headers(sent, accept))
            if answer.status == HTTPStatus.BAD_REQUEST:
                self._base = None  # what a server that speaks TLS answers to clear text
            if answer.status != HTTPStatus.UNAUTHORIZED or not await self._authorize(
                answer.challenges, sent
            ):
                return answer
            headers = _headers(self._authorization, accept)
            return await self._http.exchange(method, url, self._route, headers)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Lend the answer to a GET, to be read piece by piece, whatever its status.

        Raises:
            RegistryError: see `get`; also while the answer is read.
        """
        url = await self._url(path)
        await self._refresh()
        sent = self._authorization
        async with self._http.open("GET", url, self._route, _headers(sent, "*/*")) as response:
            offered = tuple(response.headers.getall("WWW-Authenticate", ()))
            if response.status != HTTPStatus.UNAUTHORIZED:
                yield response
                return
        await self._authorize(offered, sent)
        headers = _headers(self._authorization, "*/*")
        async with self._http.open("GET", url, self._route, headers) as response:
            yield response

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Find the address anew the next time, where this one fails: it may speak TLS by then."""
        try:
            yield
        except ConnectionFailed:
            self._base = None
            raise

    async def _url(self, path: str) -> URL:
        if self._base is None:
            self._base = await self._find()
        if path.startswith("/"):
            return self._base.join(URL(path, encoded=True))
        return self._base.join(URL(f"/v2/{self._repository.name.path}/{path}", encoded=True))

    async def _find(self) -> URL:
        """Return the registry's address: over TLS wherever it speaks that.

        Raises:
            ConnectionFailed: it is not there, or it does speak TLS and is not to be trusted.
        """
        host = self._repository.name.host
        secure = URL(f"https://{host}")
        if not (self._repository.insecure or self._repository.name.is_near):
            return secure
        try:
            await self._ping(secure)
        except ConnectionFailed as err:
            if isinstance(err.__cause__, aiohttp.ClientConnectorCertificateError):
                raise
        else:
            return secure
        clear = URL(f"http://{host}")
        await self._ping(clear)
        return clear

    async def _ping(self, base: URL) -> None:
        url = base.join(URL("/v2/"))
        async with self._http.open("GET", url, self._route, {}):
            pass

    async def _refresh(self) -> None:
        """Renew a token that is about to end; the registry need not refuse it first."""
        if self._challenge is not None and self._clock.monotonic() >= self._renew_at_s:
            await self._present(self._challenge, self._authorization)

    async def _authorize(self, offered: tuple[str, ...], sent: str) -> bool:
        """Get what the registry asks for; False where there is nothing that could be presented.

        Raises:
            RegistryError: the token server did not give one.
        """
        challenge = challenges.choose(offered)
        if challenge is None or self._repository.login.access_token:
            return False
        if challenge.scheme == "basic" and self._repository.login.basic in {"", sent}:
            return False
        self._challenge = challenge
        await self._present(challenge, sent)
        return True

    async def _present(self, challenge: Challenge, sent: str) -> None:
        async with self._authorizing:
            if self._authorization != sent:
                return  # somebody else was refused for the same reason, and was quicker
            if challenge.scheme == "basic":
                self._authorization = self._repository.login.basic
                return
            token = await self._token(challenge)
            self._authorization = f"Bearer {token.token or token.access_token}"
            lasts_s = TOKEN_S if token.expires_in is None else token.expires_in
            self._renew_at_s = self._clock.monotonic() + MARGIN * lasts_s

    async def _token(self, challenge: Challenge) -> _Token:
        login = self._repository.login
        realm = self._realm(challenge)
        own = f"repository:{self._repository.name.path}:pull"
        scopes = [own] if challenge.scope in {"", own} else [own, challenge.scope]
        if login.refresh_token:
            form = {
                "grant_type": "refresh_token",
                "service": challenge.service,
                "client_id": _CLIENT,
                "scope": " ".join(scopes),
                "refresh_token": login.refresh_token,
            }
            answer = await self._http.exchange("POST", realm, self._route, {}, data=form)
        else:
            query = [("service", challenge.service)] if challenge.service else []
            url = realm.extend_query([*query, *(("scope", scope) for scope in scopes)])
            answer = await self._http.exchange(
                "GET", url, self._route, _headers(login.basic, "application/json")
            )
        return self._read(answer)

    def _realm(self, challenge: Challenge) -> URL:
        """Return the address of the token server.

        Raises:
            ConnectionFailed: it is none, or the login would go there in clear.
        """
        try:
            realm = URL(challenge.realm)
        except ValueError:
            realm = URL()
        is_clear = realm.scheme == "http" and self._base is not None
        if realm.scheme == "https" or (is_clear and str(self._base).startswith("http:")):
            return realm
        raise ConnectionFailed(
            f"{self._repository.name.host} names no token server that could be trusted: its "
            "'realm' must be an https:// URL"
        )

    def _read(self, answer: Answer) -> _Token:
        name = self._repository.name
        if answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            if self._repository.login.is_anonymous:
                raise DeniedError(f"authentication required for {name}")
            raise DeniedError(
                f"authentication failed: the token server of {name.host} refused the credentials"
            )
        if answer.status != HTTPStatus.OK:
            raise transport.refusal(answer, f"a token for {name}", is_anonymous=False)
        try:
            token = msgspec.json.decode(answer.body, type=_Token)
        except msgspec.MsgspecError:
            token = _Token()
        text = token.token or token.access_token
        if not text or not text.isprintable():
            raise ConnectionFailed(f"the token server of {name.host} sent no token")
        return token


def _headers(authorization: str, accept: str) -> Mapping[str, str]:
    return {"Accept": accept, **({"Authorization": authorization} if authorization else {})}
