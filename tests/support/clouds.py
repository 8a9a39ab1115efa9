"""The parts of Google Cloud Storage, Azure Blob Storage and Entra ID that Buckets use.

Each verifies what it is shown: tokens by the public key of whoever signed, account keys by the
string that Azure documents.

::

    async with clouds.google() as store:
        store.objects["a.yaml"] = b"a: 1"
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUCKET = "box"
EMAIL = "reader@project.iam.gserviceaccount.com"
TENANT, CLIENT, CLIENT_SECRET = "tenant-1", "client-1", "hush-hush"
ACCOUNT_KEY = base64.b64encode(b"an account's key").decode()
SAS = "sv=2021-12-02&sp=rl&sig=a%2Bb%3D"


@cache
def key() -> rsa.RSAPrivateKey:
    """Return the key pair of whoever asks; making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem() -> str:
    """Return the private key."""
    return (
        key()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def claims(token: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return header and claims of a token that `key` signed; None for any other."""
    header, payload, signature = token.split(".")
    try:
        key().public_key().verify(
            _decode(signature), f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return None
    return json.loads(_decode(header)), json.loads(_decode(payload))


@dataclass
class Store:
    """A store of one bucket."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    page: int = 1000
    """Objects of one answer."""
    requests: list[str] = field(default_factory=list)
    """Path and query of each request."""
    forms: list[dict[str, Any]] = field(default_factory=list)
    """What was sent to the token endpoint."""
    granted: set[str] = field(default_factory=set)
    _number: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def endpoint(self) -> str:
        """``host:port``."""
        return self.url.partition("//")[2]

    def etag(self, name: str) -> str:
        """Return the ETag of an object."""
        return hashlib.md5(self.objects[name]).hexdigest()

    def grant(self) -> web.Response:
        """Hand out a token."""
        token = f"token-{next(self._number)}"
        self.granted.add(token)
        return web.json_response({"access_token": token, "expires_in": 3599})

    def slice(self, prefix: str, start: str) -> tuple[list[str], str]:
        """Return a page of names, and where the next begins."""
        names = sorted(name for name in self.objects if name.startswith(prefix) and name >= start)
        rest = names[self.page : self.page + 1]
        return names[: self.page], rest[0] if rest else ""


# Google -----------------------------------------------------------------------------------------


class Google(Store):
    """Google Cloud Storage, and the token endpoint of a service account."""

    def account(self) -> str:
        """Return the JSON key of the service account."""
        return json.dumps(
            {
                "type": "service_account",
                "client_email": EMAIL,
                "private_key": pem(),
                "private_key_id": "kid-1",
                "token_uri": f"{self.url}/token",
            }
        )

    async def token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        found = claims(str(form["assertion"]))
        if found is None or found[1]["iss"] != EMAIL:
            refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return web.json_response(refusal, status=400)
        assert found[0] == {"alg": "RS256", "typ": "JWT", "kid": "kid-1"}
        assert found[1]["aud"] == f"{self.url}/token"
        assert found[1]["scope"].endswith("/auth/devstorage.read_only")
        assert 0 < found[1]["exp"] - time.time() <= 3600
        return self.grant()

    async def listing(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        names, following = self.slice(request.query["prefix"], request.query.get("pageToken", ""))
        items = [
            {"name": name, "etag": self.etag(name), "size": str(len(self.objects[name])),
             "generation": self.etag(name)[:8]}
            for name in names
        ]  # fmt: skip
        return web.json_response(
            {"items": items, **({"nextPageToken": following} if following else {})}
        )

    async def media(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        name = unquote(request.match_info["name"])
        if name not in self.objects:
            return web.json_response({"error": {"message": "No such object"}}, status=404)
        if request.query["ifGenerationMatch"] != self.etag(name)[:8]:
            return web.json_response({"error": {"message": "Precondition failed"}}, status=412)
        return web.Response(body=self.objects[name])

    def _refusal(self, request: web.Request) -> web.Response | None:
        self.requests.append(request.path_qs)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.granted:
            return web.json_response({"error": {"message": "Anonymous caller"}}, status=401)
        if request.match_info["bucket"] != BUCKET:
            message = "The specified bucket does not exist."
            return web.json_response({"error": {"message": message}}, status=404)
        return None


@asynccontextmanager
async def google() -> AsyncIterator[Google]:
    """Serve Google's part on a free port of 127.0.0.1."""
    store = Google()
    app = web.Application()
    app.router.add_post("/token", store.token)
    app.router.add_get("/storage/v1/b/{bucket}/o", store.listing)
    app.router.add_get("/storage/v1/b/{bucket}/o/{name:.+}", store.media)
    async with _serving(app, store):
        yield store


# Azure ------------------------------------------------------------------------------------------


class Azure(Store):
    """Azure Blob Storage of the account ``127``, and Entra ID."""

    async def token(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        self.forms.append(form)
        assert request.match_info["tenant"] == TENANT
        assert form["scope"] == "https://storage.azure.com/.default"
        if form["client_id"] == CLIENT and form.get("client_secret") == CLIENT_SECRET:
            return self.grant()
        if "client_assertion" in form and (found := claims(str(form["client_assertion"]))):
            assert found[1]["aud"] == f"{self.url}/{TENANT}/oauth2/v2.0/token"
            assert found[1]["iss"] == found[1]["sub"] == form["client_id"]
            return self.grant()
        refusal = {"error": "invalid_client", "error_description": "AADSTS7000215: wrong secret"}
        return web.json_response(refusal, status=401)

    async def listing(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        assert request.query["comp"] == "list"
        if request.match_info["container"] != BUCKET:
            return _azure_error(404, "ContainerNotFound", "The specified container does not exist.")
        start = request.query.get("marker", "")
        names, following = self.slice(request.query.get("prefix", ""), start)
        blobs = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Etag>0x{self.etag(name)}</Etag>"
            f"<Content-Length>{len(self.objects[name])}</Content-Length></Properties></Blob>"
            for name in names
        )
        text = (
            f"\ufeff<?xml version='1.0' encoding='utf-8'?><EnumerationResults>"
            f"<Blobs>{blobs}</Blobs><NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
        )
        return web.Response(text=text, content_type="application/xml")

    async def blob(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        name = unquote(request.match_info["name"])
        if name not in self.objects:
            return _azure_error(404, "BlobNotFound", "The specified blob does not exist.")
        headers = {"ETag": f'"0x{self.etag(name)}"'}
        return web.Response(body=self.objects[name], headers=headers)

    def _refusal(self, request: web.Request) -> web.Response | None:
        self.requests.append(request.path_qs)
        shown = request.headers.get("Authorization", "")
        is_admitted = (
            shown.removeprefix("Bearer ") in self.granted
            or shown == f"SharedKey 127:{self._signature(request)}"
            or request.rel_url.raw_query_string.endswith(SAS)
        )
        if is_admitted:
            return None
        return _azure_error(403, "AuthenticationFailed", "Server failed to authenticate.\nTime:1")

    def _signature(self, request: web.Request) -> str:
        """Return what "Authorize with Shared Key" of Azure's reference says."""
        headers = sorted(
            (name.lower(), value)
            for name, value in request.headers.items()
            if name.lower().startswith("x-ms-")
        )
        lines = [request.method, *[""] * 11, *(f"{name}:{value}" for name, value in headers)]
        lines.append(f"/127{request.rel_url.raw_path}")
        lines += [f"{name}:{value}" for name, value in sorted(request.query.items())]
        account_key = base64.b64decode(ACCOUNT_KEY)
        digest = hmac.new(account_key, "\n".join(lines).encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


@asynccontextmanager
async def azure() -> AsyncIterator[Azure]:
    """Serve Azure's part on a free port of 127.0.0.1."""
    store = Azure()
    app = web.Application()
    app.router.add_post("/{tenant}/oauth2/v2.0/token", store.token)
    app.router.add_get("/{container}", store.listing)
    app.router.add_get("/{container}/{name:.+}", store.blob)
    async with _serving(app, store):
        yield store


def _azure_error(status: int, code: str, message: str) -> web.Response:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=status, text=body, headers={"x-ms-error-code": code})


@asynccontextmanager
async def _serving(app: web.Application, store: Store) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    store.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
