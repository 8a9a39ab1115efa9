"""A Sigstore of one's own: an authority, a log of certificates and a log of signatures, as files.

What it makes is what ``cosign sign`` makes with the services of the same names, by their documented
formats; `trusted_root` is what makes ``cosign verify`` believe it.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.support import cosigning

if TYPE_CHECKING:
    from tests.support.registry import Registry

SUBJECT: Final = "https://github.com/acme/fleet/.github/workflows/release.yml@refs/heads/main"
ISSUER: Final = "https://token.actions.githubusercontent.com"
_LOG: Final = "rekor.example"
_SINCE: Final = {"start": "2020-01-01T00:00:00Z"}
_ISSUER_OID: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_TIMESTAMPS_OID: Final = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


class Sigstore:
    """One such set of services, with keys of its own."""

    def __init__(self) -> None:
        self._now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self._authority, self._certificates, self._signatures = (
            ec.generate_private_key(ec.SECP256R1()) for _ in range(3)
        )
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fulcio")])
        self._root = self._make_root()

    def trusted_root(self) -> bytes:
        """Return the ``trusted_root.json`` of these services."""
        chain = {"certificates": [{"rawBytes": _base64(_der(self._root))}]}
        authority = {
            "subject": {"commonName": "fulcio"},
            "uri": "https://fulcio.example",
            "certChain": chain,
            "validFor": _SINCE,
        }
        root = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log(self._signatures, f"https://{_LOG}")],
            "certificateAuthorities": [authority],
            "ctlogs": [_log(self._certificates, "https://ct.example")],
        }
        return json.dumps(root).encode()

    def sign(
        self,
        registry: Registry,
        path: str,
        digest: str,
        subject: str = SUBJECT,
        issuer: str = ISSUER,
    ) -> None:
        """Sign a manifest as somebody, and push the signature."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certify(key, subject, issuer)
        envelope = cosigning.envelope(key, digest)
        body = _entry(envelope, certificate)
        bundle = {
            "mediaType": cosigning.BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": _base64(_der(certificate))},
                "tlogEntries": [self._logged(body)],
            },
            "dsseEnvelope": envelope,
        }
        cosigning.push_bundle(registry, path, digest, bundle)

    def _make_root(self) -> x509.Certificate:
        usage = _usage(key_cert_sign=True, crl_sign=True)
        public = self._authority.public_key()
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        return (
            _builder(self._name, self._name, public, self._now, dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._authority, hashes.SHA256())
        )

    def _certify(
        self, key: ec.EllipticCurvePrivateKey, subject: str, issuer: str
    ) -> x509.Certificate:
        """Issue a certificate that the log of certificates has a promise in."""
        usage = _usage(digital_signature=True)
        who = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject)])
        vouched = x509.UnrecognizedExtension(_ISSUER_OID, b"\x0c" + _sized(issuer.encode()))
        public = self._authority.public_key()
        builder = (
            _builder(
                x509.Name([]), self._name, key.public_key(), self._now, dt.timedelta(minutes=5)
            )
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
            )
            .add_extension(who, critical=True)
            .add_extension(vouched, critical=False)
        )
        draft = builder.sign(self._authority, hashes.SHA256())
        promise = self._promise(draft.tbs_certificate_bytes)
        framed = struct.pack(">HH", len(promise) + 2, len(promise)) + promise
        promised = x509.UnrecognizedExtension(_TIMESTAMPS_OID, b"\x04" + _sized(framed))
        return builder.add_extension(promised, critical=False).sign(
            self._authority, hashes.SHA256()
        )

    def _promise(self, certificate: bytes) -> bytes:
        """Return a signed certificate timestamp (RFC 6962)."""
        milliseconds = int(self._now.timestamp() * 1000)
        issuer = hashlib.sha256(_spki(self._authority)).digest()
        length = struct.pack(">I", len(certificate))[1:]
        signed = struct.pack(">BBQH", 0, 0, milliseconds, 1) + issuer + length + certificate
        signature = _sign(self._certificates, signed + b"\0\0")
        head = b"\0" + _key_id(self._certificates) + struct.pack(">QH", milliseconds, 0)
        return head + struct.pack(">BBH", 4, 3, len(signature)) + signature

    def _logged(self, body: bytes) -> dict[str, Any]:
        """Return an entry of the log of signatures, the only one in it, with all its proofs."""
        key_id, time = _key_id(self._signatures), int(self._now.timestamp())
        promise = {
            "body": _base64(body),
            "integratedTime": time,
            "logID": key_id.hex(),
            "logIndex": 0,
        }
        root = _base64(hashlib.sha256(b"\0" + body).digest())
        note = f"{_LOG} - 1234567890\n1\n{root}\n"
        signature = _base64(key_id[:4] + _sign(self._signatures, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": _base64(key_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {
                "signedEntryTimestamp": _base64(_sign(self._signatures, _canonical(promise)))
            },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": root,
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 {_LOG} {signature}\n"},
            },
            "canonicalizedBody": _base64(body),
        }


def _entry(envelope: dict[str, Any], certificate: x509.Certificate) -> bytes:
    payload = base64.b64decode(envelope["payload"])
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    signature = {"signature": envelope["signatures"][0]["sig"], "verifier": _base64(pem)}
    spec = {
        "envelopeHash": _hash(json.dumps(envelope).encode()),
        "payloadHash": _hash(payload),
        "signatures": [signature],
    }
    return _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    valid: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - valid)
        .not_valid_after(now + valid)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _log(key: ec.EllipticCurvePrivateKey, url: str) -> dict[str, Any]:
    public = {
        "rawBytes": _base64(_spki(key)),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": _SINCE,
    }
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": public,
        "logId": {"keyId": _base64(_key_id(key))},
    }


def _sized(content: bytes) -> bytes:
    """Return some content with its length in front, as DER has it."""
    head = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return head + content


def _hash(content: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
