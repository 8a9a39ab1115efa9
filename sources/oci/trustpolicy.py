"""Whom the Notary Project's signatures are believed: a trust policy, and certificates.

Both come from one Secret, in Flux's layout: ``trustpolicy.json``, and a certificate in each key
that ends in ``.crt`` or ``.pem``. As in Flux every trust store that the policy names, whatever it
is called, holds all the certificates of the Secret, and of a bundle in PEM only the first counts.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from sources.oci.cosign import UnverifiedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POLICY: Final = "trustpolicy.json"
SUFFIXES: Final = (".crt", ".pem")
TIMESTAMPING: Final = "tsa"
"""Trust stores of this type hold authorities for timestamps, which must be roots."""
_TYPES: Final = frozenset({"ca", "signingAuthority", TIMESTAMPING})
_SKIP: Final = "skip"
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]+")
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END \1-----", re.DOTALL)


class _Verification(msgspec.Struct, rename="camel", omit_defaults=True):
    level: str | None = None
    override: dict[str, str] | None = None
    verify_timestamp: str | None = None


class _Statement(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str | None = None
    registry_scopes: list[str] | None = None
    signature_verification: _Verification = msgspec.field(default_factory=_Verification)
    trust_stores: list[str] | None = None
    trusted_identities: list[str] | None = None


class _Document(msgspec.Struct, rename="camel", omit_defaults=True):
    version: str | None = None
    trust_policies: list[_Statement] | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """A trust store that a policy names."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What a Secret says of who may sign."""

    policy: bytes
    """The document, of the fields that its specification has."""
    stores: tuple[Store, ...]
    """The trust stores that it names, each once."""
    certificates: tuple[tuple[str, bytes], ...]
    """Key in the Secret and certificate in DER, or what stands there instead."""

    def content(self, store: Store) -> Iterator[tuple[str, bytes]]:
        """Yield the certificates of a store. Blocks for some milliseconds where they are parsed.

        Flux offers the authorities of signers as those of timestamps too. A store of timestamping
        authorities with anything but roots is refused as a whole, so it gets these alone.
        """
        for key, content in self.certificates:
            if store.type != TIMESTAMPING or _is_root(content):
                yield key, content


def read(data: Mapping[str, bytes], name: str) -> Trust:
    """Read a Secret.

    Args:
        data: its decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        UnverifiedError: the policy or every certificate is missing, or the policy does not parse.
    """
    if POLICY not in data:
        raise UnverifiedError(f"'{POLICY}' not found in secret '{name}'")
    try:
        document = msgspec.json.decode(data[POLICY], type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise UnverifiedError(f"error occurred while parsing {POLICY}: {err}") from err
    certificates = tuple(
        (key, _first(content)) for key, content in sorted(data.items()) if key.endswith(SUFFIXES)
    )
    if not certificates:
        raise UnverifiedError(f"no certificates found in secret '{name}'")
    statements = document.trust_policies or []
    for each in statements:
        if each.signature_verification.level == _SKIP:
            # As in Flux: a statement that verifies nothing may still name what it does not use.
            each.trust_stores = each.trusted_identities = None
    named = (_store(text) for each in statements for text in each.trust_stores or ())
    stores = dict.fromkeys(each for each in named if each is not None)
    return Trust(msgspec.json.encode(document), tuple(stores), certificates)


def _store(text: str) -> Store | None:
    """Return the store that a policy names, unless that is no name; the program says so then."""
    type_, _, name = text.partition(":")
    is_name = type_ in _TYPES and _NAME.fullmatch(name) and name.strip(".")
    return Store(type_, name) if is_name else None


def _first(content: bytes) -> bytes:
    """Return the first certificate of a bundle in PEM; anything else as it is."""
    found = _PEM.search(content)
    if found is None:
        return content
    try:
        return base64.b64decode(b"".join(found[2].split()), validate=True)
    except binascii.Error:
        return content


def _is_root(content: bytes) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate = x509.load_der_x509_certificate(content)
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
