"""Signatures as cosign makes them with a key, by its documented formats."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from sources.oci import cosign, manifests

if TYPE_CHECKING:
    from tests.support.registry import Registry

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"
_RECORDED = Path(__file__).parents[1] / "wire" / "data" / "cosign.json"


def public(key: PrivateKey) -> bytes:
    """Return the public half in PEM."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def signature(key: PrivateKey, message: bytes) -> str:
    """Return the signature of a message in base64."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        made = key.sign(message, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    else:
        made = key.sign(message)
    return base64.b64encode(made).decode()


def sign_simply(
    registry: Registry, path: str, digest: str, key: PrivateKey, about: str = ""
) -> None:
    """Sign as cosign 1 and 2 do.

    Args:
        registry: where the manifest is.
        path: its repository.
        digest: its digest, which names the signature.
        key: signs.
        about: the digest in what is signed, where it is another one.
    """
    critical = {
        "identity": {"docker-reference": f"{registry.host}/{path}"},
        "image": {"docker-manifest-digest": about or digest},
        "type": "cosign container image signature",
    }
    payload = json.dumps({"critical": critical, "optional": None}).encode()
    layer = registry.push_blob(path, payload, cosign.SIMPLE_SIGNING)
    layer["annotations"] = {cosign.SIGNATURE: signature(key, payload)}
    _push(registry, path, f"{digest.replace(':', '-')}.sig", [layer])


def sign_as_bundle(
    registry: Registry, path: str, digest: str, key: PrivateKey, about: str = ""
) -> None:
    """Sign as cosign 3 does, in a registry without the referrers API; see `sign_simply`."""
    bundle = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": envelope(key, about or digest),
    }
    push_bundle(registry, path, digest, bundle)


def envelope(key: PrivateKey, digest: str) -> dict[str, Any]:
    """Return a signed statement about a manifest."""
    algorithm, _, value = digest.partition(":")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {algorithm: value}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }
    payload = json.dumps(statement).encode()
    message = b"DSSEv1 %d %b %d %b" % (len(STATEMENT), STATEMENT.encode(), len(payload), payload)
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": STATEMENT,
        "signatures": [{"sig": signature(key, message)}],
    }


def push_bundle(registry: Registry, path: str, digest: str, bundle: dict[str, Any]) -> None:
    """Push a bundle as the referrer of a manifest."""
    layer = registry.push_blob(path, json.dumps(bundle).encode(), BUNDLE)
    made = _push(registry, path, "bundle", [layer], artifactType=BUNDLE)
    entry = {
        "mediaType": manifests.OCI_MANIFEST,
        "digest": made,
        "size": 1,
        "artifactType": BUNDLE,
    }
    _push_index(registry, path, digest, [entry])


class Recorded:
    """An artifact, and what cosign 3.1.3 itself made of ``cosign sign --key`` for it."""

    def __init__(self) -> None:
        self._data: dict[str, Any] = json.loads(_RECORDED.read_text())
        self.digest: str = self._data["digest"]
        self.key: bytes = self._data["key"].encode()

    def push(self, registry: Registry, path: str, *names: str) -> None:
        """Push the artifact, and its signatures: ``simple``, ``bundle`` or both."""
        for content in self._data["blobs"].values():
            registry.push_blob(path, base64.b64decode(content), "")
        registry.push_manifest(path, "latest", self._data["image"].encode())
        tag = self.digest.replace(":", "-")
        if "simple" in names:
            registry.push_manifest(path, f"{tag}.sig", self._data["simple"].encode())
        if "bundle" in names:
            registry.push_manifest(path, "bundle", self._data["bundle"].encode())
            registry.push_manifest(path, tag, self._data["index"].encode(), manifests.OCI_INDEX)


def _push(
    registry: Registry, path: str, tag: str, layers: list[dict[str, Any]], **fields: str
) -> str:
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": registry.push_blob(path, b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": layers,
        **fields,
    }
    return registry.push_manifest(path, tag, json.dumps(manifest).encode())


def _push_index(registry: Registry, path: str, digest: str, entries: list[dict[str, Any]]) -> None:
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries}
    content = json.dumps(index).encode()
    registry.push_manifest(path, digest.replace(":", "-"), content, manifests.OCI_INDEX)
