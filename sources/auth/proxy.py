"""The proxy that a Secret in Flux's layout names: ``address``, ``username``, ``password``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from sources.auth import basic, errors, tls

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKS: Final = "socks5"
_SCHEMES: Final = ("http", "https", _SOCKS, f"{_SOCKS}h")
ADDRESS_LENGTH: Final = 2048
"""Characters that an address may have, as in Flux."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, reached in clear or over TLS, or a SOCKS proxy."""

    address: str
    """``http://``, ``https://`` or ``socks5://``, without user information."""
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
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5; with the ``h`` that some write, which is how it is anyway."""
        return self.address.startswith(_SOCKS)

    @property
    def headers(self) -> dict[str, str]:
        """What to send to a proxy that speaks HTTP, and to nobody else."""
        if not self.username or self.is_socks:
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
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_address = urlsplit(""), False
    if not is_address or parts.scheme not in _SCHEMES:
        raise errors.CredentialsError(
            f"invalid proxy secret '{name}': 'address' is no http://, https:// or socks5:// address"
        )
    username, password = basic.text(data, "username", name), basic.text(data, "password", name)
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not username:
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(bare, username, password)
