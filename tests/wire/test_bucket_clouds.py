"""Buckets of Google and containers of Azure, with every kind of credentials that Flux knows."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from reconcilers.bucket import azuresecret
from runtime.clock import SystemClock
from runtime.errors import TransientError
from sources.auth import tls
from sources.auth.errors import CredentialsError
from sources.bucket import azure, fetch, gcs, listing
from sources.bucket.listing import BucketError, MissingError
from sources.web import Web
from tests.support import blocking, clouds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.limits import Threads
    from sources.bucket.listing import Bucket

FILES = {"a b+c.yaml": b"1", "dir/\xe4.yaml": b"22", "dir/z": b"", "x&<y>": b"3"}


@asynccontextmanager
async def client() -> AsyncIterator[tuple[Web, Threads]]:
    async with (
        blocking.threads() as threads,
        Web(tls.SYSTEM, None, tls.Contexts(), threads) as web,
    ):
        yield web, threads


async def files(bucket: Bucket, scratch: Path, threads: Threads, prefix: str = "") -> fetch.Fetched:
    found = await listing.listed(bucket, prefix, 1000)
    spool = await threads.run(fetch.Spool, scratch, 10**6)
    wanted = listing.kept(found, "", None)
    return await fetch.fetch(bucket, wanted, fetch.Known(), spool, threads)


def content(got: fetch.Fetched) -> dict[str, bytes]:
    return {entry.path: got.tree.read(entry.path) for entry in got.tree.entries()}


# Google -----------------------------------------------------------------------------------------


@asynccontextmanager
async def google(bucket: str = clouds.BUCKET) -> AsyncIterator[tuple[gcs.GCS, clouds.Google]]:
    async with clouds.google() as store, client() as (web, threads):
        store.objects |= FILES
        account = gcs.account(store.account().encode())
        token = await gcs.token(web, account, threads, SystemClock())
        yield gcs.GCS(web, gcs.Place(bucket, store.endpoint, is_secure=False, token=token)), store


async def test_googles_objects_come_by_the_key_of_a_service_account(tmp_path: Path) -> None:
    async with google() as (bucket, store), blocking.threads() as threads:
        store.page = 2
        got = await files(bucket, tmp_path, threads)
        assert content(got) == FILES
        assert got.etags == {name: store.etag(name) for name in FILES}
        assert len([each for each in store.requests if "alt=media" not in each]) == 2


async def test_googles_prefix_is_of_the_name(tmp_path: Path) -> None:
    async with google() as (bucket, _), blocking.threads() as threads:
        got = await files(bucket, tmp_path, threads, prefix="dir/")
        assert set(content(got)) == {"dir/\xe4.yaml", "dir/z"}


async def test_object_of_google_that_changes_after_the_listing_is_not_taken_for_gone(
    tmp_path: Path,
) -> None:
    async with google() as (bucket, store), blocking.threads() as threads:
        found = await listing.listed(bucket, "", 1000)
        store.objects["x&<y>"] = b"newer"
        spool = await threads.run(fetch.Spool, tmp_path, 10**6)
        with pytest.raises(BucketError, match="failed to get 'x&<y>' object: Precondition failed"):
            await fetch.fetch(bucket, found, fetch.Known(), spool, threads)


async def test_object_of_google_that_vanishes_is_left_out(tmp_path: Path) -> None:
    async with google() as (bucket, store), blocking.threads() as threads:
        found = await listing.listed(bucket, "", 1000)
        del store.objects["x&<y>"]
        spool = await threads.run(fetch.Spool, tmp_path, 10**6)
        got = await fetch.fetch(bucket, found, fetch.Known(), spool, threads)
        assert set(got.etags) == set(FILES) - {"x&<y>"}


async def test_bucket_of_google_that_is_not_there_is_missing() -> None:
    async with google("other") as (bucket, _):
        with pytest.raises(MissingError, match="The specified bucket does not exist"):
            await listing.listed(bucket, "", 1000)


async def test_service_account_that_google_refuses_is_told() -> None:
    async with clouds.google() as store, client() as (web, threads):
        wrong = json.loads(store.account()) | {"client_email": "other@host"}
        account = gcs.account(json.dumps(wrong).encode())
        with pytest.raises(CredentialsError, match=r"endpoint refuses: Invalid JWT Signature\.$"):
            await gcs.token(web, account, threads, SystemClock())


async def test_service_account_with_a_key_that_is_none_is_told() -> None:
    async with clouds.google() as store, client() as (web, threads):
        wrong = json.loads(store.account()) | {"private_key": "hush"}
        account = gcs.account(json.dumps(wrong).encode())
        assert "hush" not in repr(account)
        with pytest.raises(CredentialsError, match="the private key is no PEM"):
            await gcs.token(web, account, threads, SystemClock())


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"client_email": "a"}'])
def test_secret_that_is_no_service_account_is_told(text: bytes) -> None:
    with pytest.raises(CredentialsError, match="'serviceaccount' is not the JSON key"):
        gcs.account(text)


def test_token_endpoint_of_a_service_account_is_an_address() -> None:
    text = b'{"client_email": "a", "private_key": "b", "token_uri": "file:///etc/passwd"}'
    with pytest.raises(CredentialsError, match=r"'token_uri' .* is no https:// address"):
        gcs.account(text)


# Azure ------------------------------------------------------------------------------------------


def certificate() -> x509.Certificate:
    """Return a certificate of the client's key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client")])
    since = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(clouds.key().public_key())
        .serial_number(7)
        .not_valid_before(since)
        .not_valid_after(since + dt.timedelta(days=1))
        .sign(clouds.key(), hashes.SHA256())
    )


def pem_pair() -> bytes:
    return clouds.pem().encode() + certificate().public_bytes(serialization.Encoding.PEM)


def pfx() -> bytes:
    lock = serialization.BestAvailableEncryption(b"open-sesame")
    return pkcs12.serialize_key_and_certificates(b"c", clouds.key(), certificate(), None, lock)


def entra(**data: bytes) -> dict[str, bytes]:
    return {"tenantId": clouds.TENANT.encode(), "clientId": clouds.CLIENT.encode(), **data}


@asynccontextmanager
async def opened(
    store: clouds.Azure, data: dict[str, bytes], container: str = clouds.BUCKET
) -> AsyncIterator[azure.Azure]:
    """Open a container with what a Secret holds."""
    async with client() as (web, threads):
        clock = SystemClock()
        given = {"authorityHost": store.url.encode(), **data} if "tenantId" in data else data
        access = await azuresecret.access(web, "keys", given, threads, clock)
        yield azure.Azure(web, azure.Place(store.url, container), access, clock)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"accountKey": clouds.ACCOUNT_KEY.encode()}, id="account key"),
        pytest.param({"sasKey": b"?" + clouds.SAS.encode()}, id="signature"),
        pytest.param(entra(clientSecret=clouds.CLIENT_SECRET.encode()), id="client secret"),
        pytest.param(entra(clientCertificate=pem_pair()), id="certificate"),
        pytest.param(
            entra(clientCertificate=pfx(), clientCertificatePassword=b"open-sesame"), id="PKCS #12"
        ),
    ],
)
async def test_azures_blobs_come_by_any_credentials(tmp_path: Path, data: dict[str, bytes]) -> None:
    async with clouds.azure() as store, opened(store, data) as bucket:
        store.objects |= FILES
        store.page = 2
        async with blocking.threads() as threads:
            got = await files(bucket, tmp_path, threads)
            assert content(got) == FILES
            again = {each.key: each.etag for each in (await listing.listed(bucket, "", 9)).values()}
        assert got.etags == again == {name: f'"0x{store.etag(name)}"' for name in FILES}


async def test_certificate_is_named_and_sent_along_where_asked() -> None:
    data = entra(clientCertificate=pem_pair(), clientCertificateSendChain=b"true")
    async with clouds.azure() as store, opened(store, data):
        token = store.forms[0]["client_assertion"]
    header = json.loads(base64.urlsafe_b64decode(str(token).split(".")[0] + "=="))
    (der,) = header["x5c"]
    thumbprint = hashlib.sha1(base64.b64decode(der)).digest()
    assert base64.urlsafe_b64decode(header["x5t"] + "=") == thumbprint


async def test_container_that_is_not_there_is_missing() -> None:
    data = {"accountKey": clouds.ACCOUNT_KEY.encode()}
    async with clouds.azure() as store, opened(store, data, "other") as bucket:
        with pytest.raises(MissingError, match=r"does not exist\. \(ContainerNotFound\)"):
            await listing.listed(bucket, "", 9)


@pytest.mark.parametrize(
    "data", [{"accountKey": base64.b64encode(b"wrong")}, {"sasKey": b"sig=hush-hush"}]
)
async def test_credentials_that_azure_refuses_are_told_without_them(data: dict[str, bytes]) -> None:
    async with clouds.azure() as store, opened(store, data) as bucket:
        with pytest.raises(BucketError) as caught:
            await listing.listed(bucket, "", 9)
    assert str(caught.value) == "Server failed to authenticate. (AuthenticationFailed)"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (entra(clientSecret=b"wrong"), "AADSTS7000215: wrong secret"),
        (entra(clientCertificate=b"nonsense"), "neither PEM nor a PKCS #12 file"),
        (entra(clientCertificate=pfx()), "neither PEM nor a PKCS #12 file"),
        (entra(clientCertificate=clouds.pem().encode()), "holds no certificate"),
        ({"clientId": b"managed"}, "an identity that Azure gives to its own machines"),
        ({"accountKey": b"not base64!"}, "'accountKey' is not base64"),
        ({"sasKey": b"sv=1"}, "'sasKey' is no shared access signature"),
    ],
)
async def test_secret_for_azure_that_cannot_be_used_is_told(
    data: dict[str, bytes], text: str
) -> None:
    async with clouds.azure() as store:
        with pytest.raises(CredentialsError, match=text):
            async with opened(store, data):
                pass


async def test_secret_for_azure_without_any_credentials_names_them() -> None:
    async with clouds.azure() as store:
        with pytest.raises(TransientError, match="invalid 'keys' secret data: requires a 'clientI"):
            async with opened(store, {"other": b"x"}):
                pass


@pytest.mark.parametrize("endpoint", ["", "account.blob.core.windows.net", "ftp://host"])
def test_endpoint_of_azure_is_an_address(endpoint: str) -> None:
    with pytest.raises(ValueError, match="has to be an address"):
        azure.Place(endpoint, "box")


def test_account_is_the_first_part_of_the_host() -> None:
    assert azure.Place("https://acme.blob.core.windows.net", "box").account == "acme"
