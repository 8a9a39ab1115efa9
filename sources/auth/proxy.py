"""The proxy that a Secret in Flux's layout names: ``address``, ``username``, ``password``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from sources.auth import basic, errors, tls

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDRESS_LENGTH: Final = 2048
"""Characters that an address may have, as in Flux."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, reached in clear or over TLS."""

    address: str
    """``http://`` or ``https://``, without user information."""
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def identity(self) -> bytes:
        """A digest that differs for different proxies and tells nothing of the password."""
        parts = (self.address, self.username, self.password)
        return tls.digest(b"proxy", *(part.encode() for part in parts))

    @property
    def is_tls(self) -> bool:
        """Whether the proxy itself is reached over TLS."""
        return self.address.startswith("https:")

    @property
    def headers(self) -> dict[str, str]:
        """What to send to the proxy, and to nobody else."""
        if not self.username:
            return {}
        return {"Proxy-Authorization": basic.header(self.username, self.password)}


def from_secret(data: Mapping[str, bytes], name: str) -> Proxy:
    """Read the proxy that a Secret names.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: there is no address, or none that is served.
    """
    address = basic.text(data, "address", name)
    if not address:
        raise errors.CredentialsError(f"invalid proxy secret '{name}': key 'address' is missing")
    if len(address) > ADDRESS_LENGTH:
        raise errors.CredentialsError(
            f"invalid proxy secret '{name}': 'address' is longer than {ADDRESS_LENGTH} characters"
        )
    try:
        parts = urlsplit(address)
        is_served = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_served = False
        parts = urlsplit("")
    if parts.scheme == "socks5":
        raise errors.CredentialsError(
            f"proxy secret '{name}': socks5 is not served by this version of gitopsd; "
            "name an http:// or https:// proxy"
        )
    if not is_served:
        raise errors.CredentialsError(
            f"invalid proxy secret '{name}': 'address' is no http:// or https:// address"
        )
    username, password = basic.text(data, "username", name), basic.text(data, "password", name)
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not username:
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(bare, username, password)
