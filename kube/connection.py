"""Where an API server is, how it proves itself, and how we prove who we are, kept fresh.

A `Connection` is made of `Material`, which a source (a kubeconfig, a pod's own files, ...) gives
again whenever it is asked. It asks before the material expires and when the server refuses it, one
request at a time however many were refused together. Each connection has a TLS context of its own
with only its own authority in it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from yarl import URL

from kube import errors
from runtime import privatefile

if TYPE_CHECKING:
    from runtime.clock import Clock

_log = logging.getLogger(__name__)

RENEW_BEFORE: Final = dt.timedelta(seconds=60)
"""How long before its end material is renewed; at most a fifth of what is left of it."""
RENEW_PAUSE_S: Final = 5.0
"""Seconds between two attempts to renew, so that a broken plug-in is not run for each request."""


class AuthError(Exception):
    """A connection cannot be set up from what was given; the message is fit for users."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Material:
    """Everything needed to speak to one API server as one user."""

    server: str
    """``https://host:port``, perhaps with a path; never ends with a slash."""
    authorization: str = ""
    """The value of the ``Authorization`` header; empty without one."""
    authority: bytes | None = None
    """PEM of the certificate authority; None for the machine's own."""
    certificate: bytes | None = None
    """PEM of the client certificate and its key."""
    is_verified: bool = True
    """Whether the server's certificate is checked."""
    tls_server_name: str = ""
    """The name in the server's certificate, where it is not the host."""
    proxy: str = ""
    """URL of an HTTP proxy."""
    impersonate: str = ""
    """The user to act as (a kubeconfig's ``as``)."""
    impersonate_groups: tuple[str, ...] = ()
    expires_at: dt.datetime | None = None
    """When the material is of no use any more, in UTC; None for never."""

    def __repr__(self) -> str:
        """Return the server alone: the rest is secret."""
        return f"Material(server={self.server!r})"


Source = Callable[[], Awaitable[Material]]
"""Gives current material. Raises `AuthError`."""


class Connection:
    """A server and credentials for it; made by `open_connection`.

    Args:
        material: what the source gave first.
        ssl_context: built from it; None for plain HTTP.
        source: gives newer material.
        clock: says when material is about to expire.
    """

    def __init__(
        self, material: Material, ssl_context: ssl.SSLContext | None, source: Source, clock: Clock
    ) -> None:
        self._source = source
        self._clock = clock
        self._lock = asyncio.Lock()
        self._tried_at = -RENEW_PAUSE_S
        self._renew_at: dt.datetime | None = None
        self.generation = 0
        """Counts renewals; what was prepared from an older generation is out of date."""
        self._take(material, ssl_context)

    def _take(self, material: Material, ssl_context: ssl.SSLContext | None) -> None:
        self.material = material
        self.ssl_context = ssl_context
        self.host = URL(material.server).host or ""
        self._renew_at = None
        if material.expires_at is not None:
            left = material.expires_at - self._clock.now()
            self._renew_at = material.expires_at - min(RENEW_BEFORE, left / 5)

    @property
    def server(self) -> str:
        """``https://host:port``, perhaps with a path."""
        return self.material.server

    async def current(self) -> int:
        """Renew the material if it is about to expire, and return its generation.

        Raises:
            Unauthorized: it is expired and cannot be renewed.
        """
        if self._renew_at is not None and self._clock.now() >= self._renew_at:
            try:
                await self.renew(self.generation)
            except errors.Unauthorized as error:
                if self._is_expired():
                    raise
                _log.warning("credentials not renewed", extra={"error": error.message})
        return self.generation

    async def renew(self, generation: int) -> bool:
        """Ask the source for newer material.

        Args:
            generation: of the material that is expired or was refused.

        Returns:
            Whether there is other material now than that.

        Raises:
            Unauthorized: the source cannot give any.
        """
        async with self._lock:
            if self.generation != generation:
                return True
            now = self._clock.monotonic()
            if now - self._tried_at < RENEW_PAUSE_S:
                return False
            self._tried_at = now
            try:
                material = await self._source()
                if material == self.material:
                    return False
                context = self.ssl_context
                if _tls_part(material) != _tls_part(self.material):
                    context = await asyncio.to_thread(tls_context, material)
            except AuthError as error:
                message = f"the credentials for {self.server} cannot be renewed: {error}"
                raise errors.Unauthorized(401, "Unauthorized", message) from error
            self._take(material, context)
            self.generation += 1
            return True

    def _is_expired(self) -> bool:
        expires_at = self.material.expires_at
        return expires_at is not None and self._clock.now() >= expires_at


async def open_connection(source: Source, clock: Clock) -> Connection:
    """Return a connection from a source's first material; nothing is sent yet.

    Args:
        source: gives the material, now and later.
        clock: see `Connection`.

    Raises:
        AuthError: the source has none, or it cannot be used.
    """
    material = await source()
    return Connection(material, await asyncio.to_thread(tls_context, material), source, clock)


def tls_context(material: Material) -> ssl.SSLContext | None:
    """Return a TLS context for one server; None where it speaks plain HTTP.

    Raises:
        AuthError: a certificate or key cannot be read.
    """
    if not material.server.startswith("https:"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not material.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif material.authority is None:
        context.load_default_certs()
    else:
        _load_authority(context, material.authority)
    if material.certificate is not None:
        _load_certificate(context, material.certificate)
    return context


def _load_authority(context: ssl.SSLContext, pem: bytes) -> None:
    try:
        context.load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise AuthError("the certificate authority is not a PEM certificate") from error


def _load_certificate(context: ssl.SSLContext, pem: bytes) -> None:
    # An encrypted key fails on the empty password; without one OpenSSL would ask the terminal.
    with privatefile.holding(pem) as path:
        try:
            context.load_cert_chain(path, password="")
        except (ssl.SSLError, ValueError) as error:
            raise AuthError("the client certificate and key are not a pair") from error


def _tls_part(material: Material) -> tuple[object, ...]:
    return material.server, material.authority, material.certificate, material.is_verified
