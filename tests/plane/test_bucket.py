"""Buckets on a real API server and a real S3-compatible server: status, events, and their cost."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from sources.bucket import listing
from tests.support import clouds, disk, faults, forwarder
from tests.support.bucketsource import BucketSource

if TYPE_CHECKING:
    from tests.support import s3
    from tests.support.reconciling import Desk

EMPTY = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.fixture
def box(s3_server: s3.Server) -> s3.BucketBox:
    box = s3_server.bucket()
    box.fill({"app.yaml": "a: 1\n", "base/b.yaml": "b: 1\n"})
    return box


@pytest.fixture
async def source(desk: Desk, box: s3.BucketBox, namespace: str) -> BucketSource:
    source = BucketSource(desk, box, namespace)
    await source.secret()
    return source


def revision(**objects: str) -> str:
    """Return the revision of objects by the names of their files, ``.yaml`` left out."""
    etags = {
        f"{key}.yaml".replace("_", "/"): hashlib.md5(text.encode()).hexdigest()
        for key, text in objects.items()
    }
    return listing.revision(etags)


def failed(source: BucketSource) -> tuple[str, str]:
    """Return reason and message of the failure that both conditions tell."""
    conditions = source.conditions
    assert conditions["Ready"] == ("False", *conditions["FetchFailed"][1:])
    return conditions["FetchFailed"][1:]


async def test_first_reconcile_stores_an_artifact_and_reports_it(source: BucketSource) -> None:
    await source.apply()
    result = await source.reconcile()
    assert result.requeue_after_s == 60
    expected = revision(app="a: 1\n", base_b="b: 1\n")
    stored = ("True", "Succeeded", f"stored artifact: revision '{expected}'")
    assert source.conditions == {"Ready": stored, "ArtifactInStorage": stored}
    assert source.status["observedGeneration"] == 1
    artifact = source.status["artifact"]
    folder = f"bucket/{source.namespace}/fleet"
    assert artifact["path"] == f"{folder}/{expected.removeprefix('sha256:')}.tar.gz"
    assert artifact["revision"] == expected
    assert source.status["url"] == f"http://127.0.0.1:1/{folder}/latest.tar.gz"
    assert source.file.with_name("latest.tar.gz").resolve() == source.file
    assert source.names() == ["app.yaml", "base/b.yaml"]
    assert source.events == [
        ("NewArtifact", f"stored artifact with 2 fetched files from '{source.box.name}' bucket")
    ]


async def test_unchanged_bucket_costs_one_listing_and_no_write(source: BucketSource) -> None:
    async with forwarder.running() as through:
        await source.secret("through", address=through.address)
        await source.apply(proxySecretRef={"name": "through"})
        await source.reconcile()
        through.requests.clear()
        with source.desk.counting() as counts:
            await source.reconcile()
        assert counts == {"get": 3}  # its two Secrets, and the test's own look
        assert len(through.requests) == 1
        assert "list-type=2" in through.requests[0]


async def test_changed_object_is_all_that_is_fetched(source: BucketSource) -> None:
    async with forwarder.running() as through:
        await source.secret("through", address=through.address)
        await source.apply(proxySecretRef={"name": "through"})
        await source.reconcile()
        through.requests.clear()
        source.box.put("app.yaml", "a: 2\n")
        await source.reconcile()
        assert [each.rpartition("/")[2] for each in through.requests[1:]] == ["app.yaml"]
    assert source.status["artifact"]["revision"] == revision(app="a: 2\n", base_b="b: 1\n")
    assert source.names() == ["app.yaml", "base/b.yaml"]


async def test_ignore_rules_of_the_bucket_and_the_spec_decide(source: BucketSource) -> None:
    source.box.fill({".sourceignore": "base\n", "c.yaml": "c: 1\n"})
    await source.apply(ignore="c.yaml\n!base/b.yaml")
    await source.reconcile()
    assert source.names() == ["app.yaml", "base/b.yaml"]
    assert source.status["observedIgnore"] == "c.yaml\n!base/b.yaml"


async def test_artifact_that_was_lost_is_made_again(source: BucketSource) -> None:
    await source.apply()
    await source.reconcile()
    digest = source.status["artifact"]["digest"]
    source.file.unlink()
    await source.reconcile()
    assert source.file.is_file()
    assert source.status["artifact"]["digest"] == digest
    assert source.status["url"].endswith("/latest.tar.gz")


async def test_old_artifacts_are_collected_and_the_name_of_the_newest_stays(
    source: BucketSource,
) -> None:
    await source.apply()
    for number in range(4):
        source.box.put("app.yaml", f"a: {number}\n")
        await source.reconcile()
    folder = source.file.parent
    assert len(list(folder.glob("[0-9a-f]*.tar.gz"))) == 2
    assert (folder / "latest.tar.gz").resolve() == source.file
    assert source.events[-1] == ("GarbageCollectionSucceeded", "garbage collected 1 artifacts")


async def test_deletion_removes_what_was_stored(source: BucketSource) -> None:
    await source.apply()
    await source.reconcile()
    folder = source.file.parent
    memory = source.desk.context.data_dir / "buckets" / source.namespace / "fleet"
    assert memory.is_file()
    await source.desk.delete(source.kind, source.namespace, "fleet")
    await source.reconcile()
    assert not folder.exists()
    assert not memory.exists()
    assert await source.desk.names(source.namespace, source.kind) == []


# Bad input --------------------------------------------------------------------------------------


async def test_missing_secret_is_named(source: BucketSource) -> None:
    await source.apply(secretRef={"name": "none"})
    await source.fails()
    reason, text = failed(source)
    assert reason == "AuthenticationFailed"
    assert text.startswith(f"failed to get secret '{source.namespace}/none': ")


async def test_secret_without_its_keys_names_them(source: BucketSource) -> None:
    await source.secret("half", accesskey="a")
    await source.apply(secretRef={"name": "half"})
    await source.fails()
    assert failed(source) == (
        "AuthenticationFailed",
        "invalid 'half' secret data: required fields 'accesskey' and 'secretkey'",
    )


async def test_wrong_keys_are_told_in_the_words_of_the_store(source: BucketSource) -> None:
    keys = source.box.server.keys
    await source.secret("wrong", accesskey=keys.access_key, secretkey="hush-hush")
    await source.apply(secretRef={"name": "wrong"})
    await source.fails()
    reason, text = failed(source)
    assert reason == "BucketOperationFailed"
    assert text.startswith(f"failed to confirm existence of '{source.box.name}' bucket: ")
    assert text.endswith("(SignatureDoesNotMatch)")
    assert "hush" not in text


async def test_bucket_that_is_not_there_is_told_and_found_when_it_comes(
    source: BucketSource,
) -> None:
    await source.apply(bucketName="not-there")
    await source.fails()
    assert failed(source) == ("BucketOperationFailed", "bucket 'not-there' not found")
    await source.apply()
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"
    assert "FetchFailed" not in source.conditions


async def test_key_that_leaves_the_artifact_is_named_and_nothing_is_stored(
    source: BucketSource,
) -> None:
    source.box.put("../../outside", "x")
    await source.apply()
    await source.fails()
    assert failed(source) == (
        "BucketOperationFailed",
        (
            f"indexation of objects from bucket '{source.box.name}' failed: "
            "object '../../outside' is no path inside an artifact"
        ),
    )
    assert "artifact" not in source.status


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"other": "x"}, "certificate secret does not contain any TLS configuration"),
        ({"tls.crt": "x"}, "failed to create TLS config: secret '{}/certs': a client certificate"),
    ],
)
async def test_certificates_that_are_none_are_told(
    source: BucketSource, data: dict[str, str], text: str
) -> None:
    await source.secret("certs", **data)
    await source.apply(certSecretRef={"name": "certs"})
    await source.fails()
    reason, message = failed(source)
    assert reason == "AuthenticationFailed"
    assert message.startswith(text.format(source.namespace))


async def test_endpoint_with_a_scheme_is_refused(source: BucketSource) -> None:
    await source.apply(endpoint="https://store.example")
    await source.fails()
    reason, text = failed(source)
    assert reason == "ClientError"
    assert "has to be a host" in text


async def test_store_that_drips_is_given_up_at_the_time_limit(source: BucketSource) -> None:
    def drip(_head: str) -> Any:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        while True:
            yield b" "
            yield 0.01

    async with faults.running(drip) as store:
        await source.apply(endpoint=store.endpoint, timeout="200ms")
        await source.fails()
    assert failed(source)[1].endswith("bucket: not done within 200ms")


async def test_cluster_without_the_switch_gets_no_identity_of_the_machine(
    source: BucketSource,
) -> None:
    await source.apply(provider="aws", secretRef=None, endpoint="s3.amazonaws.com", insecure=False)
    await source.fails()
    ready = source.conditions["Ready"]
    assert ready[1] == "AuthenticationFailed"
    assert "set ambient_cloud_identity = true in its [[clusters]] table" in ready[2]


LISTING = (
    b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key>"
    b"<ETag>&quot;1&quot;</ETag><Size>10</Size></Contents></ListBucketResult>"
)
CONFIRM, FETCH = "failed to confirm existence of '{}' bucket: ", "fetch from bucket '{}' failed: "


def serving(listing: bytes, content: bytes = b"") -> Any:
    """Answer listings and objects, each with bytes of its own."""
    return lambda head: [listing if "list-type=2" in head else content]


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            serving(faults.answer(b"", "307 Temporary Redirect", "Location: http://other/box")),
            f"{CONFIRM}.* which redirects to http://other/box and is not followed there",
        ),
        (serving(faults.answer(b"<html>")), f"{CONFIRM}not the XML it should be"),
        (
            serving(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n<ListBucket"),
            f"{CONFIRM}.* broke off after 11 bytes",
        ),
        (
            serving(
                faults.answer(LISTING),
                b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n0123',
            ),
            f"{FETCH}failed to get 'a' object: .* broke off after 4 bytes",
        ),
        (
            serving(faults.answer(LISTING), b'HTTP/1.1 200 OK\r\nETag: "1"\r\n\r\n0123'),
            f"{FETCH}failed to get 'a' object: it ended after 4 of 10 bytes",
        ),
        (
            serving(faults.answer(LISTING), faults.answer(b"", "403 Forbidden")),
            f"{FETCH}failed to get 'a' object: .* answered 403 Forbidden",
        ),
    ],
    ids=["redirect", "no listing", "short listing", "short object", "no length", "no right"],
)
async def test_store_that_does_not_do_as_it_should_is_told(
    source: BucketSource, script: Any, text: str
) -> None:
    async with faults.running(script) as store:
        await source.apply(endpoint=store.endpoint)
        await source.fails()
    reason, message = failed(source)
    assert reason == "BucketOperationFailed"
    assert re.fullmatch(f"{text.format(source.box.name)}.*", message)
    assert "artifact" not in source.status


async def test_expired_certificate_is_told(source: BucketSource) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    since = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    pair = authority.issue_cert(
        "127.0.0.1", not_before=since, not_after=since + dt.timedelta(days=1)
    )
    pair.configure_cert(context)
    await source.secret("certs", **{"ca.crt": authority.cert_pem.bytes().decode()})
    async with faults.running(serving(b""), context) as store:
        await source.apply(endpoint=store.endpoint, insecure=False, certSecretRef={"name": "certs"})
        await source.fails()
    assert failed(source)[1].endswith("is not accepted: certificate has expired")


# A full disk ------------------------------------------------------------------------------------


def noise(seed: bytes) -> bytes:
    """Return content that no packing makes smaller than the disk."""
    return hashlib.shake_256(seed).digest(200_000)


async def test_full_disk_leaves_what_there_was_and_the_source_recovers(
    source: BucketSource,
) -> None:
    await source.apply()
    await source.reconcile()
    before = source.status["artifact"]
    source.box.put("large", noise(b"1"))
    with disk.full():
        await source.fails()
    reason, text = source.conditions["StorageOperationFailed"][1:]
    assert reason == "ArchiveOperationFailed"
    assert text.startswith("unable to archive artifact to storage: ")
    assert source.conditions["Ready"] == ("False", reason, text)
    assert source.status["artifact"] == before
    listed = {path.name for path in source.file.parent.iterdir()}
    assert listed == {source.file.name, "latest.tar.gz"}
    assert source.file.with_name("latest.tar.gz").resolve() == source.file
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"
    assert "StorageOperationFailed" not in source.conditions
    assert source.names() == ["app.yaml", "base/b.yaml", "large"]


# Clouds -----------------------------------------------------------------------------------------


async def test_bucket_of_google_is_fetched_by_a_service_account(source: BucketSource) -> None:
    async with clouds.google() as store:
        store.objects |= {"app.yaml": b"a: 1", "docs/a.md": b"x"}
        await source.secret("google", serviceaccount=store.account())
        await source.apply(
            provider="gcp",
            bucketName=clouds.BUCKET,
            endpoint=store.endpoint,
            secretRef={"name": "google"},
            ignore="docs",
        )
        await source.reconcile()
        assert source.names() == ["app.yaml"]
        etags = {"app.yaml": store.etag("app.yaml")}
        assert source.status["artifact"]["revision"] == listing.revision(etags)


async def test_container_of_azure_is_fetched_once_although_flux_would_again(
    source: BucketSource,
) -> None:
    async with clouds.azure() as store:
        store.objects |= {"app.yaml": b"a: 1"}
        await source.secret("azure", accountKey=clouds.ACCOUNT_KEY)
        await source.apply(
            provider="azure",
            bucketName=clouds.BUCKET,
            endpoint=store.url,
            secretRef={"name": "azure"},
        )
        await source.reconcile()
        etags = {"app.yaml": f'"0x{store.etag("app.yaml")}"'}
        assert source.status["artifact"]["revision"] == listing.revision(etags)
        store.requests.clear()
        await source.reconcile()
        assert len(store.requests) == 1


@pytest.mark.parametrize(
    ("provider", "data", "text"),
    [
        ("gcp", {"other": "x"}, "invalid 'cloud' secret data: required fields 'serviceaccount'"),
        (
            "gcp",
            {"serviceaccount": "{}"},
            "failed to configure authentication options: 'serviceaccount' is not the JSON key",
        ),
        ("azure", {"other": "x"}, "invalid 'cloud' secret data: requires a 'clientId' or"),
        (
            "azure",
            {"clientId": "x"},
            "failed to configure authentication options: secret 'cloud' asks for an identity",
        ),
    ],
)
async def test_secret_for_a_cloud_that_does_not_do_is_told(
    source: BucketSource, provider: str, data: dict[str, str], text: str
) -> None:
    await source.secret("cloud", **data)
    endpoint = "http://127.0.0.1:1" if provider == "azure" else "127.0.0.1:1"
    await source.apply(provider=provider, endpoint=endpoint, secretRef={"name": "cloud"})
    await source.fails()
    reason, message = failed(source)
    assert reason == "AuthenticationFailed"
    assert message.startswith(text)


# Keys that are lent -----------------------------------------------------------------------------


def lending(keys: Any) -> Any:
    """Return a token service of MinIO's kind that lends some keys."""
    body = (
        "<AssumeRoleWithLDAPIdentityResponse><AssumeRoleWithLDAPIdentityResult><Credentials>"
        f"<AccessKeyId>{keys.access_key}</AccessKeyId>"
        f"<SecretAccessKey>{keys.secret_key}</SecretAccessKey>"
        "</Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>"
    )
    return lambda _head: [faults.answer(body.encode())]


async def test_keys_lent_to_an_ldap_user_open_the_bucket(source: BucketSource) -> None:
    await source.secret("ldap", username="ada", password="hush-hush")
    async with faults.running(lending(source.box.server.keys)) as service:
        sts = {
            "provider": "ldap",
            "endpoint": f"http://{service.endpoint}",
            "secretRef": {"name": "ldap"},
        }
        await source.apply(secretRef=None, sts=sts)
        await source.reconcile()
        assert source.names() == ["app.yaml", "base/b.yaml"]
        assert service.heads[0].startswith("POST / ")
        assert "hush" not in service.heads[0]


async def test_ldap_user_that_is_refused_is_told(source: BucketSource) -> None:
    await source.secret("ldap", username="ada", password="hush-hush")
    body = b"<ErrorResponse><Error><Message>LDAP says no</Message></Error></ErrorResponse>"
    refusal = faults.answer(body, "400 Bad Request")
    async with faults.running(lambda _head: [refusal]) as service:
        sts = {
            "provider": "ldap",
            "endpoint": f"http://{service.endpoint}",
            "secretRef": {"name": "ldap"},
        }
        await source.apply(secretRef=None, sts=sts)
        await source.fails()
    assert failed(source) == (
        "AuthenticationFailed",
        "failed to configure authentication options: the STS endpoint refuses: LDAP says no",
    )
