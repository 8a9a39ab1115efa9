"""A GitHub App: who it is, from a Secret in Flux's layout, and its signature.

The only module that signs, and so the only one that loads ``cryptography``, when it first does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sources.auth import basic, errors, jws, tls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from sources.auth.proxy import Proxy

ID_KEY: Final = "githubAppID"
INSTALLATION_KEY: Final = "githubAppInstallationID"
OWNER_KEY: Final = "githubAppInstallationOwner"
PRIVATE_KEY: Final = "githubAppPrivateKey"
BASE_URL_KEY: Final = "githubAppBaseURL"

API_URL: Final = "https://api.github.com"
"""The API of github.com; a GitHub Enterprise Server has its own below ``/api/v3``."""
_BACKDATED_S: Final = 60
"""How far a signature is dated back, since GitHub refuses one from its future."""
_LASTS_S: Final = 540
"""How long a signature holds; GitHub allows ten minutes."""


@dataclass(frozen=True, slots=True)
class App:
    """A GitHub App and the installation of it that is meant."""

    id: str
    """Its number, or its client id."""
    private_key: bytes = field(repr=False)
    """PEM, as GitHub hands it out."""
    installation: str = ""
    """The number of the installation; where empty, it is the owner's."""
    owner: str = ""
    """The organisation or user that installed the App."""
    base_url: str = API_URL
    """Where the API is, without a slash at the end."""
    trust: tls.Trust = tls.SYSTEM
    """How to verify the API's server."""
    proxy: Proxy | None = None
    """On the way to the API."""

    @property
    def identity(self) -> bytes:
        """A digest of everything: who knows the key, and nobody else, shares what it opens."""
        names = (self.id, self.installation, self.owner, self.base_url)
        parts = [name.encode() for name in names]
        through = self.proxy.identity if self.proxy else b""
        return tls.digest(b"github-app", *parts, self.private_key, self.trust.identity, through)

    @property
    def host(self) -> str:
        """The host whose repositories the App's tokens open: the API's, or github.com."""
        host = urlsplit(self.base_url).hostname or ""
        return "github.com" if host == "api.github.com" else host


def from_secret(data: Mapping[str, bytes], name: str) -> App:
    """Read the App that a Secret describes.

    Args:
        data: the Secret's decoded ``data``, with at least `ID_KEY`.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: keys are missing, contradict each other or hold something else.
    """
    values = {
        key: basic.text(data, key, name)
        for key in (ID_KEY, INSTALLATION_KEY, OWNER_KEY, BASE_URL_KEY)
    }
    private_key = data.get(PRIVATE_KEY, b"")
    for key, value in ((ID_KEY, values[ID_KEY]), (PRIVATE_KEY, private_key.strip())):
        if not value:
            raise errors.CredentialsError(f"secret '{name}': key '{key}' is missing or empty")
    try:
        return make(
            values[ID_KEY],
            private_key,
            installation=values[INSTALLATION_KEY],
            owner=values[OWNER_KEY],
            base_url=values[BASE_URL_KEY],
            trust=tls.trust(data, name),
        )
    except errors.CredentialsError as err:
        raise errors.CredentialsError(f"secret '{name}': {err}") from err


def make(
    id_: str,
    private_key: bytes,
    *,
    installation: str,
    owner: str,
    base_url: str = "",
    trust: tls.Trust = tls.SYSTEM,
) -> App:
    """Return an App, after a look at what people get wrong.

    Raises:
        CredentialsError: none or both of installation and owner are given, or something cannot be
            what it says.
    """
    if bool(installation) == bool(owner):
        text = "only one of" if owner else "one of"
        raise errors.CredentialsError(
            f"{text} '{INSTALLATION_KEY}' and '{OWNER_KEY}' must be given"
        )
    if installation and not installation.isdecimal():
        raise errors.CredentialsError(
            f"'{INSTALLATION_KEY}' is a number; the name of an organisation or user belongs in "
            f"'{OWNER_KEY}'"
        )
    if b"PRIVATE KEY-----" not in private_key:
        raise errors.CredentialsError(
            f"'{PRIVATE_KEY}' is no private key in PEM; generate one in the App's settings"
        )
    base_url = base_url.rstrip("/") or API_URL
    if not base_url.startswith(("https://", "http://")) or not urlsplit(base_url).hostname:
        raise errors.CredentialsError(
            f"'{BASE_URL_KEY}' is no https:// address; for GitHub Enterprise Server it is "
            "https://<host>/api/v3"
        )
    return App(id_, private_key, installation, owner, base_url, trust)


def sign(app: App, now_s: float) -> str:
    """Return a JSON web token that proves to GitHub that we are the App. Blocks.

    Args:
        app: whose key signs.
        now_s: GitHub's time, in seconds since 1970.

    Raises:
        CredentialsError: the private key does not parse, or is no RSA key.
    """
    claims = {"iat": int(now_s) - _BACKDATED_S, "exp": int(now_s) + _LASTS_S, "iss": app.id}
    return jws.sign(_key(app), claims)


def _key(app: App) -> RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    try:
        key = serialization.load_pem_private_key(app.private_key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise errors.CredentialsError(
            f"'{PRIVATE_KEY}' cannot be read: it must be the whole PEM file that GitHub hands "
            "out, line breaks included, and without a passphrase"
        ) from err
    if not isinstance(key, RSAPrivateKey):
        raise errors.CredentialsError(f"'{PRIVATE_KEY}' is no RSA key, which GitHub's keys are")
    return key
