"""Proof that a webhook call comes from who knows the secret; pure functions over headers and bytes.

Every comparison takes the same time whether it fails at the first byte or at the last.

Exception tree::

    CallError            the message says why and quotes nothing of the call
    ├── SignatureError   it is not authentic
    └── PayloadError     it cannot be read as what it claims to be
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping

GITHUB_SHA256: Final = "X-Hub-Signature-256"
GITHUB_SHA1: Final = "X-Hub-Signature"
GENERIC: Final = "X-Signature"

_FORM: Final = "application/x-www-form-urlencoded"
_ALGORITHMS: Final = frozenset({"sha1", "sha256", "sha512"})


class CallError(Exception):
    """A call that is not acted on."""


class SignatureError(CallError):
    """The call cannot be trusted."""


class PayloadError(CallError):
    """The call can be trusted, but not understood."""


class Signature:
    """The signature that a header claims, to be compared with the body as it arrives.

    Args:
        header: ``<algorithm>=<hex>``; None where the call has no such header.
        secret: the shared secret.

    Raises:
        SignatureError: there is no header or no secret, or the header is not of that form.
    """

    def __init__(self, header: str | None, secret: bytes) -> None:
        if not secret:
            raise SignatureError("no secret is configured")
        algorithm, separator, claimed = (header or "").strip().partition("=")
        if not separator or algorithm not in _ALGORITHMS:
            raise SignatureError("the signature is missing or malformed")
        self._claimed = claimed.strip().lower().encode()
        self._mac = hmac.new(secret, digestmod=algorithm)

    def update(self, chunk: bytes) -> None:
        """Take the next part of the body into account."""
        self._mac.update(chunk)

    def check(self) -> None:
        """Compare what arrived with what was claimed, in constant time.

        Raises:
            SignatureError: they differ.
        """
        if not hmac.compare_digest(self._mac.hexdigest().encode(), self._claimed):
            raise SignatureError("the signature does not match")


def github(headers: Mapping[str, str], secret: bytes) -> Signature:
    """Return the signature of a GitHub delivery; SHA-256 where it has one, else SHA-1.

    Raises:
        SignatureError: see `Signature`.
    """
    return Signature(headers.get(GITHUB_SHA256) or headers.get(GITHUB_SHA1), secret)


def payload(content_type: str, body: bytes) -> bytes:
    """Return the JSON of a GitHub delivery, which comes as such or as the form field ``payload``.

    Args:
        content_type: the media type, without parameters.
        body: the body, already authenticated.

    Raises:
        PayloadError: another media type, or a form without that field.
    """
    if content_type == "application/json":
        return body
    if content_type != _FORM:
        raise PayloadError("the content type must be application/json or a form")
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=16)
    except ValueError as err:
        raise PayloadError("the form cannot be read") from err
    if not fields.get("payload"):
        raise PayloadError("the form has no field named payload")
    return fields["payload"][0].encode()
