"""Tokens of Microsoft Entra ID for a client that reads from Azure's storage."""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sources.auth import jws, oauth
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.web import Web

AUTHORITY: Final = "https://login.microsoftonline.com/"
SCOPE: Final = "https://storage.azure.com/.default"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LASTS_S: Final = 600


@dataclass(frozen=True, slots=True)
class Client:
    """An application, and how it proves that it is the one."""

    tenant: str
    id: str
    secret: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    """PEM, or PKCS #12, with its RSA key; used where there is no secret."""
    password: bytes = field(default=b"", repr=False)
    """Of the PKCS #12 file."""
    sends_chain: bool = False
    """Whether to send the certificates along, for trust by name and issuer."""
    authority: str = AUTHORITY

    @property
    def endpoint(self) -> str:
        """Where its tokens are handed out."""
        return f"{self.authority.rstrip('/')}/{self.tenant}/oauth2/v2.0/token"


async def token(web: Web, client: Client, threads: Threads, clock: Clock) -> str:
    """Return an access token for storage.

    Raises:
        CredentialsError: the certificate cannot be used, or Entra ID refuses the client.
    """
    form = {"grant_type": "client_credentials", "client_id": client.id, "scope": SCOPE}
    if client.secret:
        form["client_secret"] = client.secret
    else:
        form["client_assertion_type"] = _ASSERTION
        form["client_assertion"] = await threads.run(assertion, client, clock.now().timestamp())
    return await oauth.token(web, client.endpoint, form)


def assertion(client: Client, now_s: float) -> str:
    """Return a token signed with the client's certificate. Blocks.

    Args:
        client: who asks.
        now_s: seconds since 1970.

    Raises:
        CredentialsError: the certificate or its key cannot be used.
    """
    key, chain = _parse(client)
    issued_s = int(now_s)
    claims = {
        "aud": client.endpoint,
        "exp": issued_s + _LASTS_S,
        "iss": client.id,
        "jti": str(uuid.uuid4()),
        "nbf": issued_s - 60,
        "sub": client.id,
    }
    thumbprint = hashlib.sha1(chain[0], usedforsecurity=False).digest()
    header: dict[str, object] = {"x5t": jws.encode(thumbprint).decode()}
    if client.sends_chain:
        header["x5c"] = [_base64(each) for each in chain]
    return jws.sign(key, claims, **header)


def _parse(client: Client) -> tuple[RSAPrivateKey, list[bytes]]:
    """Return the key and the certificates, DER, the client's own first."""
    if b"-----BEGIN" in client.certificate:
        return jws.private_key(client.certificate), _pem_chain(client.certificate)
    return _pkcs12(client)


def _pem_chain(text: bytes) -> list[bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError as err:
        raise CredentialsError("'clientCertificate' holds no certificate") from err
    return [each.public_bytes(Encoding.DER) for each in found]


def _pkcs12(client: Client) -> tuple[RSAPrivateKey, list[bytes]]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

    try:
        key, own, others = pkcs12.load_key_and_certificates(
            client.certificate, client.password or None
        )
    except (ValueError, TypeError) as err:
        raise CredentialsError(
            "'clientCertificate' is neither PEM nor a PKCS #12 file that "
            "'clientCertificatePassword' opens"
        ) from err
    if own is None or not isinstance(key, RSAPrivateKey):
        raise CredentialsError("'clientCertificate' lacks the certificate or its RSA key")
    return key, [each.public_bytes(Encoding.DER) for each in (own, *others)]


def _base64(der: bytes) -> str:
    return base64.b64encode(der).decode()
