"""Signatures that cosign made with a key, verified with the public half.

Both layouts are read: the bundle that refers to a manifest (cosign 3), an in-toto statement about
its digest in a DSSE envelope; and the signatures of cosign 1 and 2 under the tag
``sha256-<hex>.sig``, over a small document that names the digest. As in Flux one signature by one
of the keys is enough, and with a key the transparency log is not asked. A signature of another
manifest that was copied here does not count.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from sources.oci.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from runtime.limits import Threads
    from sources.oci.client import Registries, Repository

    Key: TypeAlias = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey

BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
"""How the media types of bundles begin; the version follows."""
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
"""Annotation with the signature over a layer of `SIMPLE_SIGNING`."""
KEY_SUFFIX: Final = ".pub"
SIGNATURES: Final = 100
"""Signatures of one manifest that are looked at."""
SIGNED_BYTES: Final = 4 * 1024 * 1024
"""Bytes that a bundle, or what was signed, may have."""
_STATEMENT: Final = "application/vnd.in-toto+json"


class UnverifiedError(ValueError):
    """There is no signature that counts, or no key to judge one by."""


class _EnvelopeSignature(msgspec.Struct):
    sig: str = ""


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str = ""
    payload_type: str = ""
    signatures: tuple[_EnvelopeSignature, ...] = ()


class _Bundle(msgspec.Struct, rename="camel"):
    dsse_envelope: _Envelope | None = None


class _Subject(msgspec.Struct):
    digest: dict[str, str] = {}


class _Statement(msgspec.Struct):
    subject: tuple[_Subject, ...] = ()


class _Image(msgspec.Struct, rename="kebab"):
    docker_manifest_digest: str = ""


class _Critical(msgspec.Struct):
    image: _Image = msgspec.field(default_factory=_Image)


class _Simple(msgspec.Struct):
    critical: _Critical = msgspec.field(default_factory=_Critical)


def keys(data: Mapping[str, bytes], name: str) -> tuple[Key, ...]:
    """Read the public keys of a Secret: whatever ends in ``.pub``. Blocks for some milliseconds.

    Args:
        data: the Secret's decoded ``data``.
        name: ``namespace/name``, for messages.

    Raises:
        UnverifiedError: there is none, or one that cannot be read.
    """
    found = tuple(
        _load(content, f"secret '{name}': '{key}'")
        for key, content in sorted(data.items())
        if key.endswith(KEY_SUFFIX)
    )
    if not found:
        raise UnverifiedError(f"secret '{name}' has no public key: none of its keys ends in '.pub'")
    return found


async def verify(
    registries: Registries,
    threads: Threads,
    repository: Repository,
    digest: str,
    trusted: Sequence[Key],
) -> None:
    """Return once a signature of a manifest by one of the keys is found.

    Args:
        registries: where signatures are looked for.
        threads: verifies them.
        repository: the manifest's.
        digest: the manifest's.
        trusted: the keys.

    Raises:
        UnverifiedError: there is none.
        RegistryError: the registry cannot be asked.
    """
    for find in (_bundles, _simple):
        async for message, signature in find(registries, repository, digest):
            if await threads.run(_is_signed, trusted, signature, message):
                return
    raise UnverifiedError(f"no matching signatures were found for '{repository.name}@{digest}'")


async def _bundles(
    registries: Registries, repository: Repository, digest: str
) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield what was signed about a manifest, with the signature, from its bundles."""
    referrers = await registries.referrers(repository, digest)
    bundles = [each for each in referrers if each.artifact_type.startswith(BUNDLE)]
    for each in bundles[:SIGNATURES]:
        manifest = await registries.manifest(repository, each.digest)
        for layer in manifest.layers:
            if not layer.media_type.startswith(BUNDLE):
                continue
            content = await registries.read(repository, layer, SIGNED_BYTES)
            for found in _in_bundle(content, digest):
                yield found


async def _simple(
    registries: Registries, repository: Repository, digest: str
) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the same from the tag that older versions of cosign kept."""
    tag = f"{digest.replace(':', '-')}.sig"
    try:
        found = await registries.resolve(repository, tag)
    except NotFoundError:
        return
    manifest = await registries.manifest(repository, found.digest)
    for layer in manifest.layers[:SIGNATURES]:
        signature = _decoded(layer.annotations.get(SIGNATURE, ""))
        if layer.media_type != SIMPLE_SIGNING or not signature:
            continue
        content = await registries.read(repository, layer, SIGNED_BYTES)
        if _names(content, digest):
            yield content, signature


def _in_bundle(content: bytes, digest: str) -> list[tuple[bytes, bytes]]:
    """Return what was signed in a bundle, if it is a statement about this digest."""
    try:
        envelope = msgspec.json.decode(content, type=_Bundle).dsse_envelope
        if envelope is None or envelope.payload_type != _STATEMENT:
            return []
        payload = _decoded(envelope.payload)
        statement = msgspec.json.decode(payload, type=_Statement)
    except msgspec.MsgspecError:
        return []
    algorithm, _, value = digest.partition(":")
    if not any(subject.digest.get(algorithm) == value for subject in statement.subject):
        return []
    kind = envelope.payload_type.encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    return [(message, _decoded(each.sig)) for each in envelope.signatures]


def _names(content: bytes, digest: str) -> bool:
    try:
        simple = msgspec.json.decode(content, type=_Simple)
    except msgspec.MsgspecError:
        return False
    return simple.critical.image.docker_manifest_digest == digest


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _load(content: bytes, what: str) -> Key:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UnverifiedError(f"{what} is no public key in PEM") from err
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return key
    raise UnverifiedError(f"{what} is a key of a kind that cosign does not use")


def _is_signed(trusted: Sequence[Key], signature: bytes, message: bytes) -> bool:
    return any(_is_signed_by(key, signature, message) for key in trusted)


def _is_signed_by(key: Key, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
