"""Throw-away certificates: right names, right uses, secret keys."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from devcluster.certificates import Authority, kubeconfig, signing_key, write_private

if TYPE_CHECKING:
    from pathlib import Path


def test_user_certificate_carries_name_and_groups(tmp_path: Path) -> None:
    pair = Authority(tmp_path / "pki").issue("ada", ("devs", "ops"))
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [name.value for name in names] == ["ada"]
    assert [group.value for group in groups] == ["devs", "ops"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_server_certificate_names_addresses_and_hosts(tmp_path: Path) -> None:
    pair = Authority(tmp_path / "pki").issue("server", hosts=("127.0.0.1", "localhost"))
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_authority_is_the_same_when_opened_again(tmp_path: Path) -> None:
    first = Authority(tmp_path / "pki").certificate_path.read_bytes()
    assert Authority(tmp_path / "pki").certificate_path.read_bytes() == first
    assert stat.S_IMODE((tmp_path / "pki" / "ca.key").stat().st_mode) == 0o600


def test_signature_of_the_authority_is_one_that_is_quickly_checked(tmp_path: Path) -> None:
    pair = Authority(tmp_path / "pki").issue("ada")
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    assert certificate.signature_algorithm_oid == SignatureAlgorithmOID.RSA_WITH_SHA256


def test_kubeconfig_needs_no_other_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    document = json.loads(kubeconfig("https://127.0.0.1:6443", authority, authority.issue("ada")))
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_signing_key_is_a_public_and_a_private_half() -> None:
    pair = signing_key()
    assert b"BEGIN PUBLIC KEY" in pair.certificate
    assert b"BEGIN PRIVATE KEY" in pair.key


def test_private_file_stays_private_when_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
