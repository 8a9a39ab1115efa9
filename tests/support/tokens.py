"""A token server as registries send their clients to, with tokens that a real registry accepts."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from devcluster import certificates
from tests.support.registry import LOGIN, TokenServer, free_port

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

SERVICE = "registry.example"
ISSUER = "tests"


@dataclass
class Tokens:
    """One token server. It knows `LOGIN`, and the refresh token ``refresh-me``.

    Args:
        folder: for its certificates.
        lasts_s: seconds that its tokens last.
    """

    folder: Path
    lasts_s: int = 300
    port: int = field(default_factory=free_port)
    requests: list[str] = field(default_factory=list)
    """Method, path and query of each."""
    _runner: web.AppRunner | None = None

    def __post_init__(self) -> None:
        self._authority = certificates.Authority(self.folder)
        self._pair = self._authority.issue("tokens")
        key = serialization.load_pem_private_key(self._pair.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/token", self._get)
        app.router.add_post("/token", self._post)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner
        await self._runner.cleanup()

    def for_registry(self) -> TokenServer:
        """Return what a registry has to know."""
        realm = f"http://127.0.0.1:{self.port}/token"
        return TokenServer(realm, SERVICE, ISSUER, self._authority.certificate_path)

    async def _get(self, request: web.Request) -> web.Response:
        self.requests.append(f"GET {request.path_qs}")
        given = request.headers.get("Authorization", "")
        if given and given != LOGIN.basic:
            return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401)
        token = self._token(request.query.getall("scope", []), is_known=bool(given))
        return web.json_response({"token": token, "expires_in": self.lasts_s})

    async def _post(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.requests.append(f"POST {form['grant_type']} {form['scope']}")
        if form.get("refresh_token") != "refresh-me":
            return web.json_response({}, status=401)
        token = self._token([form["scope"]], is_known=True)
        return web.json_response({"access_token": token, "expires_in": self.lasts_s})

    def _token(self, scopes: list[str], *, is_known: bool) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "ada",
            "aud": SERVICE,
            "exp": now + 3600,
            "nbf": now - 60,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "access": [
                {"type": "repository", "name": scope.split(":")[1], "actions": ["pull", "push"]}
                for scope in scopes
                if is_known
            ],
        }
        certificate = x509.load_pem_x509_certificate(self._pair.certificate)
        der = certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
