"""What to trust in a TLS server, what to present to it, and the contexts made of that."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runtime import privatefile
from sources.auth import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT: Final = 32
"""Contexts that are kept at most; each costs 1 to 2 MiB."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How to verify a server, and what to show to one that asks who we are."""

    ca: bytes = field(default=b"", repr=False)
    """PEM certificates trusted besides the system's."""
    certificate: bytes = field(default=b"", repr=False)
    """Our own certificate with its chain, PEM; empty for none."""
    key: bytes = field(default=b"", repr=False)
    """Its private key, PEM, not encrypted."""
    accepts_any: bool = False
    """Take whatever certificate a server shows, for ``insecure`` where Flux does so."""

    @property
    def identity(self) -> bytes:
        """A digest that differs for different content and tells nothing of it."""
        parts = (self.ca, self.certificate, self.key)
        return digest(b"tls-unverified" if self.accepts_any else b"tls", *parts)

    def context(self) -> ssl.SSLContext:
        """Return a context, which verifies its server but for `accepts_any`. Blocks for some ms.

        Raises:
            CredentialsError: certificates or the key do not parse, or are no pair.
        """
        context = ssl.create_default_context()
        if self.accepts_any:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.ca:
            _trust(context, self.ca)
        if self.certificate:
            _present(context, self.certificate, self.key)
        return context


SYSTEM: Final = Trust()
"""The system's certificates and nothing to present."""


class Contexts:
    """TLS contexts, one for all that trust and present the same. Safe in several threads."""

    def __init__(self) -> None:
        self._contexts: dict[bytes, ssl.SSLContext] = {}

    def of(self, trust: Trust) -> ssl.SSLContext:
        """Return the context for some trust. Blocks when it is a new one.

        Raises:
            CredentialsError: see `Trust.context`.
        """
        found = self._contexts.get(trust.identity)
        if found is None:
            found = self._contexts[trust.identity] = trust.context()
            while len(self._contexts) > LIMIT:
                self._contexts.pop(next(iter(self._contexts)), None)
        return found


def trust(data: Mapping[str, bytes], name: str) -> Trust:
    """Read ``ca.crt`` (or the older ``caFile``), ``tls.crt`` and ``tls.key`` of a Secret.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: there is only one of certificate and key.
    """
    certificate, key = data.get("tls.crt", b""), data.get("tls.key", b"")
    if bool(certificate) != bool(key):
        missing = "tls.key" if certificate else "tls.crt"
        raise errors.CredentialsError(
            f"secret '{name}': a client certificate needs '{missing}' too"
        )
    return Trust(data.get("ca.crt") or data.get("caFile") or b"", certificate, key)


def from_cert_secret(data: Mapping[str, bytes], name: str) -> Trust:
    """Read a Secret that a ``certSecretRef`` names, the older names of its keys included.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: there is nothing of use in it, or only one of certificate and key.
    """
    older = {"ca.crt": "caFile", "tls.crt": "certFile", "tls.key": "keyFile"}
    found = trust({key: data.get(key) or data.get(old, b"") for key, old in older.items()}, name)
    if found == SYSTEM:
        raise errors.CredentialsError(
            f"secret '{name}' must have 'ca.crt', or 'tls.crt' and 'tls.key', or all of them"
        )
    return found


def digest(kind: bytes, *parts: bytes) -> bytes:
    """Return a digest of some secrets, of which nothing can be told from it.

    Args:
        kind: what they are, 16 bytes at most, so that no two kinds share a digest.
        parts: the secrets; where one ends and the next begins counts too.
    """
    framed = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hashlib.blake2b(framed, digest_size=16, person=kind).digest()


def _trust(context: ssl.SSLContext, ca: bytes) -> None:
    try:
        context.load_verify_locations(cadata=ca.decode())
    except (ssl.SSLError, ValueError) as err:
        raise errors.CredentialsError(
            "cannot append certificate into certificate pool: invalid CA certificate"
        ) from err


def _present(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # An encrypted key fails on the empty password; without one OpenSSL would ask the terminal.
    with privatefile.holding(certificate.rstrip(b"\n") + b"\n" + key) as path:
        try:
            context.load_cert_chain(path, password="")
        except (ssl.SSLError, ValueError) as err:
            raise errors.CredentialsError(
                "the client certificate and its key are not a pair in PEM"
            ) from err
