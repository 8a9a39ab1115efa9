"""Signatures of the Notary Project, by its documented formats, and trust policies for them."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sources.oci import manifests, notation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.registry import Registry

JWS = "application/jose+json"
POLICY = "trustpolicy.json"
BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""When the certificates here begin to hold, and when signatures say that they were made."""
END = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
_PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
_SCHEME = "io.cncf.notary.signingScheme"
_TIME = "io.cncf.notary.signingTime"
_EXPIRY = "io.cncf.notary.expiry"
_PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
_RECORDED = Path(__file__).parents[1] / "wire" / "data" / "notation.json"


class Signer:
    """Somebody with a certificate of an authority of their own.

    Args:
        name: whose it is.
        end: when the certificate ends.
        revoked_at: an address where the authority tells that it revoked the certificate.
    """

    def __init__(self, name: str = "acme", end: dt.datetime = END, revoked_at: str = "") -> None:
        authority, self._key = _key(), _key()
        issuer, subject = _name(f"{name} root"), _name(name)
        root = (
            _builder(issuer, issuer, authority.public_key(), END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .sign(authority, hashes.SHA256())
        )
        signed = (
            _builder(subject, issuer, self._key.public_key(), end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(_PURPOSE, critical=False)
        )
        if revoked_at:
            place = x509.DistributionPoint(
                [x509.UniformResourceIdentifier(revoked_at)], None, None, None
            )
            signed = signed.add_extension(x509.CRLDistributionPoints([place]), critical=False)
        leaf = signed.sign(authority, hashes.SHA256())
        self.revoked = _revoked(leaf, authority)
        """What is to be found at that address."""
        self._chain = [each.public_bytes(serialization.Encoding.DER) for each in (leaf, root)]
        self.root: bytes = root.public_bytes(serialization.Encoding.PEM)
        """The authority's certificate, in PEM."""
        self.leaf: bytes = leaf.public_bytes(serialization.Encoding.PEM)
        """The certificate, in PEM."""

    def envelope(self, subject: Mapping[str, Any], expiry: dt.datetime | None = None) -> bytes:
        """Return a signature of a manifest, in JWS.

        Args:
            subject: the manifest's descriptor.
            expiry: when the signature ends to hold.
        """
        protected = {
            "alg": "ES256",
            "cty": _PAYLOAD,
            "crit": [_SCHEME],
            _SCHEME: "notary.x509",
            _TIME: _format(BEGIN),
        }
        if expiry is not None:
            protected |= {"crit": [_SCHEME, _EXPIRY], _EXPIRY: _format(expiry)}
        signed = f"{_part(protected)}.{_part({'targetArtifact': dict(subject)})}"
        der = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        signature = b"".join(each.to_bytes(32, "big") for each in decode_dss_signature(der))
        head, _, payload = signed.partition(".")
        return json.dumps(
            {
                "payload": payload,
                "protected": head,
                "header": {"x5c": [base64.b64encode(each).decode() for each in self._chain]},
                "signature": _encoded(signature),
            }
        ).encode()


def sign(registry: Registry, path: str, digest: str, *signers: Signer) -> list[str]:
    """Sign a manifest, once for each signer, and return the digests of the signatures."""
    subject = registry.descriptor(path, digest)
    return attach(registry, path, subject, [each.envelope(subject) for each in signers])


def attach(
    registry: Registry, path: str, subject: dict[str, Any], envelopes: Sequence[bytes]
) -> list[str]:
    """Push signatures of a manifest in a registry without the referrers API, in this order.

    Returns:
        The digests of their manifests.
    """
    entries = []
    for number, envelope in enumerate(envelopes):
        layer = registry.push_blob(path, envelope, JWS)
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifests.OCI_MANIFEST,
            "config": registry.push_blob(path, b"{}", notation.SIGNATURE),
            "layers": [layer],
            "subject": subject,
        }
        content = json.dumps(manifest).encode()
        made = registry.push_manifest(path, f"signature-{number}", content)
        entry = registry.descriptor(path, made)
        entries.append(entry | {"artifactType": notation.SIGNATURE})
    registry.push_index(path, subject["digest"].replace(":", "-"), entries)
    return [str(each["digest"]) for each in entries]


def statement(name: str = "all", scope: str = "*", level: str = "strict", **more: Any) -> Any:
    """Return a statement of a trust policy."""
    trusted = {"trustStores": ["ca:acme"], "trustedIdentities": ["*"]}
    verification = {"level": level} | more.pop("verification", {})
    return {
        "name": name,
        "registryScopes": [scope],
        "signatureVerification": verification,
        **trusted,
        **more,
    }


def policy(*statements: Any) -> bytes:
    """Return a trust policy; with no statement one that trusts for everything."""
    wanted = {"version": "1.0", "trustPolicies": list(statements or [statement()])}
    return json.dumps(wanted).encode()


class Recorded:
    """An artifact, and what notation 1.3.2 itself made of ``notation sign`` for it."""

    def __init__(self) -> None:
        self._data: dict[str, Any] = json.loads(_RECORDED.read_text())
        self.digest: str = self._data["digest"]
        self.root: bytes = self._data["root"].encode()

    def push(self, registry: Registry, path: str, name: str) -> None:
        """Push the artifact, and its signature in ``jws`` or ``cose``."""
        for content in self._data["blobs"].values():
            registry.push_blob(path, base64.b64decode(content), "")
        registry.push_manifest(path, "latest", self._data["image"].encode())
        registry.push_manifest(path, "signature", self._data[name]["signature"].encode())
        tag, index = self.digest.replace(":", "-"), self._data[name]["index"].encode()
        registry.push_manifest(path, tag, index, manifests.OCI_INDEX)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    parts = {
        NameOID.COUNTRY_NAME: "DE",
        NameOID.STATE_OR_PROVINCE_NAME: "Bavaria",
        NameOID.ORGANIZATION_NAME: "Acme",
        NameOID.COMMON_NAME: common,
    }
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts.items()])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(end)
    )


def _revoked(certificate: x509.Certificate, authority: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a list of revoked certificates with one in it."""
    entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.issuer)
        .last_update(BEGIN)
        .next_update(END)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_revoked_certificate(entry.revocation_date(BEGIN).build())
        .sign(authority, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def _usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _format(time: dt.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _part(content: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(content).encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
