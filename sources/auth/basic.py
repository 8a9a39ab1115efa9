"""Credentials for HTTP(S) remotes, read from a Secret in Flux's layout.

Keys served: ``username`` and ``password``, or ``bearerToken``, which then wins; ``ca.crt`` (or the
older ``caFile``), which extends the system's trusted certificates.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


class CredentialsError(ValueError):
    """A Secret that cannot be used; the text names keys, never values."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What to present to a remote, and which certificates to trust."""

    username: str = ""
    password: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    ca: bytes = field(default=b"", repr=False)
    """PEM certificates trusted besides the system's."""

    @property
    def authorization(self) -> str:
        """The ``Authorization`` header, or ``""`` to send none."""
        if self.bearer_token:
            return f"Bearer {self.bearer_token}"
        if self.username or self.password:
            pair = f"{self.username}:{self.password}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        return ""

    @property
    def identity(self) -> str:
        """A digest that differs for different credentials and tells nothing of them."""
        parts = (self.authorization.encode(), self.ca)
        framed = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return hashlib.blake2b(framed, digest_size=16, person=b"git-credentials").hexdigest()

    def ssl_context(self) -> ssl.SSLContext:
        """Return a verifying context that trusts the system's certificates and `ca`.

        Raises:
            CredentialsError: the CA holds no certificate that parses.
        """
        context = ssl.create_default_context()
        if self.ca:
            try:
                context.load_verify_locations(cadata=self.ca.decode())
            except (ssl.SSLError, ValueError) as err:
                raise CredentialsError(
                    "cannot append certificate into certificate pool: invalid CA certificate"
                ) from err
        return context


ANONYMOUS = Credentials()
"""No credentials at all."""


def from_secret(data: Mapping[str, bytes], name: str) -> Credentials:
    """Read the credentials that a Secret holds for an HTTP(S) remote.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: keys are missing, contradict each other, are not text, or are not
            served by this version.
    """
    if "githubAppID" in data:
        raise CredentialsError(
            f"secret '{name}' has github app data but provider is not set to github"
        )
    if data.get("tls.crt") or data.get("tls.key"):
        raise CredentialsError(f"secret '{name}' has a client certificate, which is not served yet")
    ca = data.get("ca.crt") or data.get("caFile") or b""
    if data.get("bearerToken"):
        return Credentials(bearer_token=_text(data, "bearerToken", name), ca=ca)
    username, password = _text(data, "username", name), _text(data, "password", name)
    if password and not username:
        raise CredentialsError(f"secret '{name}': password requires a username")
    return Credentials(username=username, password=password, ca=ca)


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
        raise CredentialsError("credentials in the URL cannot be combined with a bearer token")
    if credentials.username:
        return bare, credentials
    username, _, password = userinfo.partition(":")
    return bare, Credentials(unquote(username), unquote(password), ca=credentials.ca)


def _text(data: Mapping[str, bytes], key: str, name: str) -> str:
    """Return a value without surrounding white space, which editors and ``echo`` leave behind."""
    try:
        text = data.get(key, b"").decode().strip()
    except UnicodeDecodeError as err:
        raise CredentialsError(f"secret '{name}': key '{key}' is not UTF-8 text") from err
    if any(character < " " for character in text):
        raise CredentialsError(f"secret '{name}': key '{key}' holds a line break")
    return text
