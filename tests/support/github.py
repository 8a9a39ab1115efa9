"""The part of GitHub's API that GitHub Apps use, on a port of its own.

It verifies signatures with the App's public key and the times in them by its own clock, and grants
tokens that `GitHub.admits` accepts from Git, as GitHub does.

::

    async with github.running() as hub:
        hub.install(7, "acme")
        server = GitServer(folder, admits=hub.admits)
        app = hub.app(installation="7")
"""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sources.auth import github_app, tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from sources.auth.github_app import App

APP_ID = "4711"


@cache
def _key() -> rsa.RSAPrivateKey:
    """Return the App's key pair; making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Installed:
    """An installation of the App."""

    id: int
    login: str
    is_organisation: bool = True
    is_suspended: bool = False
    repositories: tuple[str, ...] = ()


@dataclass
class GitHub:
    """One such server and what tests change of it."""

    url: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=_key)
    requests: list[str] = field(default_factory=list)
    """``METHOD /path`` of each request."""
    authorizations: list[str] = field(default_factory=list)
    ahead: dt.timedelta = dt.timedelta()
    """How far its clock is ahead of the machine's."""
    answer: web.Response | None = None
    """What to answer instead of anything else."""
    drops: int = 0
    """Of how many requests to come the connection is closed without an answer."""
    permissions: dict[str, str] = field(
        default_factory=lambda: {"contents": "read", "metadata": "read"}
    )
    """What its tokens permit."""
    lives: dt.timedelta = dt.timedelta(hours=1)
    """How long its tokens live."""
    installations: dict[int, Installed] = field(default_factory=dict)
    tokens: dict[str, tuple[int, dt.datetime]] = field(default_factory=dict)
    """Tokens that were granted: of which installation, and until when."""
    _number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def install(self, number: int, login: str, **options: Any) -> Installed:
        """Install the App somewhere."""
        self.installations[number] = Installed(number, login, **options)
        return self.installations[number]

    def app(self, *, installation: str = "", owner: str = "", **options: Any) -> App:
        """Return the App as a user of the daemon describes it."""
        through = options.pop("proxy", None)
        made = github_app.make(
            APP_ID,
            options.pop("private_key", pem(self.key)),
            installation=installation,
            owner=owner,
            base_url=self.url,
            trust=options.pop("trust", tls.SYSTEM),
        )
        return replace(made, proxy=through)

    def secret(self, **changes: str) -> dict[str, str]:
        """Return a Secret's ``stringData`` in Flux's layout."""
        return {
            "githubAppID": APP_ID,
            "githubAppInstallationID": "7",
            "githubAppPrivateKey": pem(self.key).decode(),
            "githubAppBaseURL": self.url,
        } | changes

    def admits(self, authorization: str) -> bool:
        """Tell whether Git may come in with a header."""
        user, _, token = (
            base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        )
        _, ends = self.tokens.get(token, (0, dt.datetime.min.replace(tzinfo=dt.UTC)))
        return user == "x-access-token" and ends > self.now()

    def now(self) -> dt.datetime:
        """Return its time."""
        return dt.datetime.now(dt.UTC) + self.ahead

    def routes(self) -> list[web.RouteDef]:
        """Return what it answers."""
        return [
            web.get("/app", self._app),
            web.get("/app/hook/config", self._hook),
            web.get("/app/installations", self._installations),
            web.get("/{kind:orgs|users}/{login}/installation", self._owner),
            web.post("/app/installations/{number}/access_tokens", self._grant),
            web.get("/installation/repositories", self._repositories),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Record a request, and answer as told to or after a look at the signature."""
        self.requests.append(f"{request.method} {request.path}")
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.drops:
            self.drops -= 1
            assert request.transport is not None
            request.transport.close()
        response = self.answer and web.Response(
            status=self.answer.status, body=self.answer.body, headers=self.answer.headers
        )
        if response is None and request.path != "/installation/repositories":
            response = self._refusal(request)
        if response is None:
            try:
                response = await handler(request)
            except web.HTTPNotFound:
                response = said(404, "Not Found")
        assert response is not None
        response.headers["Date"] = format_datetime(self.now(), usegmt=True)
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        header, payload, signature = (
            request.headers["Authorization"].removeprefix("Bearer ").split(".")
        )
        try:
            self.key.public_key().verify(
                _decode(signature),
                f"{header}.{payload}".encode(),
                padding.PKCS1v15(),
                hashes.SHA256(),
            )
        except InvalidSignature:
            return said(401, "A JSON web token could not be decoded")
        claims, now_s = json.loads(_decode(payload)), self.now().timestamp()
        if claims["iss"] != APP_ID:
            return said(404, "Integration not found")
        if claims["iat"] > now_s:
            return said(401, "'Issued at' claim ('iat') must be an Integer representing the time")
        if not now_s < claims["exp"] <= now_s + 600:
            return said(401, "'Expiration time' claim ('exp') is too far in the future")
        return None

    async def _app(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"slug": "gitopsd-acme", "name": "gitopsd acme", "html_url": f"{self.url}/apps/x",
             "permissions": {"contents": "read", "metadata": "read"}, "events": ["push"]}
        )  # fmt: skip

    async def _hook(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"url": "https://mini.example/webhooks/github", "content_type": "json"}
        )

    async def _installations(self, _: web.Request) -> web.Response:
        return web.json_response([self._shown(each) for each in self.installations.values()])

    async def _owner(self, request: web.Request) -> web.Response:
        is_organisation = request.match_info["kind"] == "orgs"
        for each in self.installations.values():
            wanted = (request.match_info["login"].lower(), is_organisation)
            if (each.login.lower(), each.is_organisation) == wanted:
                return web.json_response(self._shown(each))
        return said(404, "Not Found")

    async def _grant(self, request: web.Request) -> web.Response:
        found = self.installations.get(int(request.match_info["number"]))
        if found is None:
            return said(404, "Not Found")
        if found.is_suspended:
            return said(403, "This installation has been suspended")
        token, ends = f"ghs_{next(self._number):036d}", self.now() + self.lives
        self.tokens[token] = (found.id, ends)
        return web.json_response(
            {"token": token, "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
             "permissions": self.permissions}, status=201
        )  # fmt: skip

    async def _repositories(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("token ")
        names = self.installations[self.tokens[token][0]].repositories
        return web.json_response(
            {"total_count": len(names), "repositories": [{"full_name": name} for name in names]}
        )

    def _shown(self, each: Installed) -> dict[str, Any]:
        return {
            "id": each.id, "account": {"login": each.login}, "repository_selection": "selected",
            "html_url": f"{self.url}/settings/installations/{each.id}",
            "permissions": {"contents": "read"}, "events": ["push"],
            "suspended_at": "2026-01-01T00:00:00Z" if each.is_suspended else None,
        }  # fmt: skip


def said(status: int, message: str, **headers: str) -> web.Response:
    """Return a refusal as GitHub words it."""
    return web.json_response({"message": message}, status=status, headers=headers)


def pem(private: rsa.RSAPrivateKey) -> bytes:
    """Return a private key as GitHub hands it out."""
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


@asynccontextmanager
async def running(context: ssl.SSLContext | None = None) -> AsyncIterator[GitHub]:
    """Serve on a free port of 127.0.0.1, over TLS where there is a context."""
    hub = GitHub()
    application = web.Application(middlewares=[hub.guard])
    application.add_routes(hub.routes())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    host, port = runner.addresses[0][:2]
    hub.url = f"{'https' if context else 'http'}://{host}:{port}"
    try:
        yield hub
    finally:
        await runner.cleanup()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
