"""JSON web tokens signed with an RSA key (RS256), by which services learn who asks.

Written by hand on `cryptography`, since the libraries for it weigh 9 MiB.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import orjson

from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def private_key(pem: bytes) -> RSAPrivateKey:
    """Return the RSA key of a PEM text.

    Raises:
        CredentialsError: it does not parse, is encrypted, or is no RSA key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise CredentialsError("the private key is no PEM, or has a passphrase") from err
    if not isinstance(key, RSAPrivateKey):
        raise CredentialsError("the private key is no RSA key")
    return key


def sign(key: RSAPrivateKey, claims: Mapping[str, object], **header: object) -> str:
    """Return a signed token. Blocks for a millisecond.

    Args:
        key: signs.
        claims: what the token says.
        header: further fields of its header.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    parts = ({"alg": "RS256", "typ": "JWT", **header}, claims)
    signed = b".".join(encode(orjson.dumps(part)) for part in parts)
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return (signed + b"." + encode(signature)).decode()


def encode(part: bytes) -> bytes:
    """Return base64 as tokens have it: for URLs, without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=")
