"""What a Secret of the Notary Project says, as Flux reads it."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sources.oci import trustpolicy
from sources.oci.cosign import UnverifiedError
from sources.oci.trustpolicy import Store
from tests.support.notary import POLICY, Signer, policy, statement

SECRET = "apps/notary"
ACME = Signer()


def der(certificate: bytes) -> bytes:
    return x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "'trustpolicy.json' not found in secret 'apps/notary'"),
        ({"acme.crt": ACME.root}, "'trustpolicy.json' not found in secret 'apps/notary'"),
        ({POLICY: policy()}, "no certificates found in secret 'apps/notary'"),
        ({POLICY: policy(), "ca.cert": b""}, "no certificates found in secret 'apps/notary'"),
        ({POLICY: b"{"}, "error occurred while parsing trustpolicy.json: "),
        ({POLICY: b"[]"}, "error occurred while parsing trustpolicy.json: "),
        ({POLICY: b"\xff"}, "error occurred while parsing trustpolicy.json: "),
        ({POLICY: b'{"version": 1}'}, "error occurred while parsing trustpolicy.json: "),
    ],
)
def test_secret_that_says_too_little_is_refused_in_flux_s_words(
    data: dict[str, bytes], said: str
) -> None:
    with pytest.raises(UnverifiedError) as caught:
        trustpolicy.read(data, SECRET)
    assert str(caught.value).startswith(said)


def test_policy_is_kept_with_all_that_its_specification_has() -> None:
    wanted = statement(
        scope="registry.acme.com/app",
        verification={"override": {"revocation": "log"}, "verifyTimestamp": "always"},
        trustedIdentities=["x509.subject: C=DE, ST=Bavaria, O=Acme"],
    )
    found = trustpolicy.read({POLICY: policy(wanted), "acme.crt": ACME.root}, SECRET)
    assert json.loads(found.policy) == {"version": "1.0", "trustPolicies": [wanted]}


def test_fields_that_are_null_are_as_if_absent() -> None:
    content = json.dumps({"version": None, "trustPolicies": None, "else": 1}).encode()
    found = trustpolicy.read({POLICY: content, "acme.crt": ACME.root}, SECRET)
    assert (found.policy, found.stores) == (b"{}", ())


def test_statement_that_skips_verification_loses_whom_it_trusts_as_in_flux() -> None:
    content = policy(statement("a", level="skip"), statement("b", scope="host/b"))
    found = trustpolicy.read({POLICY: content, "acme.crt": ACME.root}, SECRET)
    first, second = json.loads(found.policy)["trustPolicies"]
    assert not {"trustStores", "trustedIdentities"} & first.keys()
    assert second["trustStores"] == ["ca:acme"]


def test_every_store_that_is_named_holds_all_certificates() -> None:
    stores = ["ca:acme", "signingAuthority:acme", "tsa:a.b-c_d", "ca:acme"]
    data = {POLICY: policy(statement(trustStores=stores)), "b.pem": ACME.root, "a.crt": ACME.leaf}
    found = trustpolicy.read(data, SECRET)
    assert found.stores == (
        Store("ca", "acme"),
        Store("signingAuthority", "acme"),
        Store("tsa", "a.b-c_d"),
    )
    both = [("a.crt", der(ACME.leaf)), ("b.pem", der(ACME.root))]
    assert [*found.content(found.stores[0])] == both
    assert [*found.content(found.stores[1])] == both
    assert [*found.content(found.stores[2])] == [("b.pem", der(ACME.root))]


@pytest.mark.parametrize("name", ["ca:..", "ca:a/../../b", "ca:", "else:acme", "acme", "ca:.", ""])
def test_store_with_a_name_that_is_none_gets_no_folder(name: str) -> None:
    content = policy(statement(trustStores=[name]))
    assert trustpolicy.read({POLICY: content, "acme.crt": ACME.root}, SECRET).stores == ()


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (ACME.root, der(ACME.root)),
        (der(ACME.root), der(ACME.root)),
        (ACME.root + Signer().root, der(ACME.root)),
        (b"Subject: acme\r\n" + ACME.root.replace(b"\n", b"\r\n"), der(ACME.root)),
        (b"nothing", b"nothing"),
        (b"-----BEGIN CERTIFICATE-----\n#\n-----END CERTIFICATE-----", None),
    ],
)
def test_first_certificate_of_a_bundle_counts_as_in_flux(
    content: bytes, first: bytes | None
) -> None:
    found = trustpolicy.read({POLICY: policy(), "acme.crt": content}, SECRET)
    assert found.certificates == (("acme.crt", content if first is None else first),)


def test_timestamps_are_believed_of_roots_alone() -> None:
    content = policy(statement(trustStores=["tsa:acme"]))
    data = {POLICY: content, "a.crt": ACME.leaf, "b.crt": b"nothing"}
    found = trustpolicy.read(data, SECRET)
    assert [*found.content(Store("tsa", "acme"))] == []
