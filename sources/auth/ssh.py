"""Keys for Git over SSH, read from a Secret in Flux's layout.

``identity`` (a private key) and ``known_hosts`` are needed, ``password`` opens an encrypted key.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sources.auth import errors, tls

if TYPE_CHECKING:
    from collections.abc import Mapping

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(.*?)-----END", re.DOTALL)
_OPENSSH: Final = b"openssh-key-v1\0"
_PLAIN: Final = b"\0\0\0\4none"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are to an SSH server, and which servers we take for what they say."""

    private_key: bytes = field(repr=False)
    """In OpenSSH's format or PEM; ends with a line break, which OpenSSH insists on."""
    known_hosts: bytes = field(repr=False)
    passphrase: bytes = field(default=b"", repr=False)
    """Of the private key; empty where that is not encrypted."""

    @property
    def identity(self) -> bytes:
        """A digest that differs for different content and tells nothing of it."""
        return tls.digest(b"ssh", self.private_key, self.known_hosts, self.passphrase)


def from_secret(data: Mapping[str, bytes], name: str) -> Identity:
    """Read the key and the known hosts that a Secret holds.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        CredentialsError: one is missing or empty, or the key is none or needs a passphrase.
    """
    for key in ("identity", "known_hosts"):
        if not data.get(key, b"").strip():
            raise errors.CredentialsError(
                f"secret '{name}': key '{key}' is missing or empty, which an ssh URL needs"
            )
    private_key = data["identity"].replace(b"\r\n", b"\n").strip() + b"\n"
    passphrase = data.get("password", b"").rstrip(b"\r\n")
    if not _PEM.search(private_key):
        raise errors.CredentialsError(f"secret '{name}': key 'identity' is no private key")
    if is_encrypted(private_key) and not passphrase:
        raise errors.CredentialsError(
            "SSH identity key is encrypted but no 'password' field was provided in the secret "
            f"'{name}'"
        )
    return Identity(private_key, data["known_hosts"].rstrip() + b"\n", passphrase)


def is_encrypted(private_key: bytes) -> bool:
    """Tell whether a private key needs a passphrase, by its format alone."""
    found = _PEM.search(private_key)
    if found is None:
        return False
    kind, body = found[1], found[2]
    if kind == b"OPENSSH PRIVATE KEY":
        try:
            content = base64.b64decode(b"".join(body.split()))
        except binascii.Error:
            return False
        return content.startswith(_OPENSSH) and not content[len(_OPENSSH) :].startswith(_PLAIN)
    return kind.startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in body
