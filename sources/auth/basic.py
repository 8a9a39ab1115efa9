"""Credentials for HTTP(S) remotes, read from a Secret in Flux's layout.

Keys served: ``username`` and ``password``, or ``bearerToken``, which then wins; ``ca.crt`` (or the
older ``caFile``), which extends the system's trusted certificates; ``tls.crt`` and ``tls.key``.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from sources.auth import errors, tls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sources.auth.github_app import App
    from sources.auth.lent import Lender
    from sources.auth.ssh import Identity


@dataclass(frozen=True, slots=True)
class Credentials:
    """What to present to a remote, and which certificates to trust."""

    username: str = ""
    password: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    trust: tls.Trust = tls.SYSTEM
    """How to verify the remote, and the certificate to present to it."""
    ssh: Identity | None = None
    """For ``ssh`` URLs; then nothing else counts."""
    app: App | None = None
    """The GitHub App whose tokens to present; then there is no other authorization."""
    lender: Lender | None = None
    """Who lends what to present; then there is no other authorization."""

    @property
    def authorization(self) -> str:
        """The ``Authorization`` header, or ``""`` to send none that is known beforehand."""
        if self.bearer_token:
            return f"Bearer {self.bearer_token}"
        if self.username or self.password:
            return header(self.username, self.password)
        return ""

    @property
    def identity(self) -> str:
        """A digest that differs for different credentials and tells nothing of them."""
        app = self.app.identity if self.app else b""
        key = self.ssh.identity if self.ssh else b""
        lender = self.lender.identity if self.lender else b""
        parts = (self.authorization.encode(), self.trust.identity, app, key, lender)
        return tls.digest(b"git-credentials", *parts).hex()


ANONYMOUS = Credentials()
"""No credentials at all."""


def from_secret(data: Mapping[str, bytes], name: str) -> Credentials:
    """Read the credentials that a Secret holds for an HTTP(S) remote.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: keys are missing, contradict each other, or are not text.
    """
    trust = tls.trust(data, name)
    if data.get("bearerToken"):
        return Credentials(bearer_token=text(data, "bearerToken", name), trust=trust)
    username, password = text(data, "username", name), text(data, "password", name)
    if password and not username:
        raise errors.CredentialsError(f"secret '{name}': password requires a username")
    return Credentials(username=username, password=password, trust=trust)


def split_url(url: str, credentials: Credentials) -> tuple[str, Credentials]:
    """Take user information out of a URL.

    Args:
        url: an absolute URL, with or without ``user:password@``.
        credentials: from the Secret; they win, the URL's are a fallback.

    Returns:
        The URL without user information, and the credentials to use.

    Raises:
        CredentialsError: the URL names a user although there is a bearer token.
        ValueError: the URL does not parse.
    """
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, credentials
    bare = urlunsplit(parts._replace(netloc=host))
    if credentials.bearer_token:
        raise errors.CredentialsError(
            "credentials in the URL cannot be combined with a bearer token"
        )
    if credentials.username or credentials.app or credentials.lender:
        return bare, credentials
    username, _, password = userinfo.partition(":")
    return bare, replace(credentials, username=unquote(username), password=unquote(password))


def header(username: str, password: str) -> str:
    """Return an ``Authorization`` header of the scheme ``Basic``."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def text(data: Mapping[str, bytes], key: str, name: str) -> str:
    """Return a value without surrounding white space, which editors and ``echo`` leave behind.

    Args:
        data: a Secret's decoded ``data``.
        key: whose value; ``""`` where there is none.
        name: ``namespace/name`` of the Secret, for messages.

    Raises:
        CredentialsError: it is not one line of UTF-8 text.
    """
    try:
        value = data.get(key, b"").decode().strip()
    except UnicodeDecodeError as err:
        raise errors.CredentialsError(f"secret '{name}': key '{key}' is not UTF-8 text") from err
    if any(character < " " for character in value):
        raise errors.CredentialsError(f"secret '{name}': key '{key}' holds a line break")
    return value
