"""What people read when an object store does not do as it should."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from runtime.clock import SystemClock
from sources import web
from sources.auth import tls
from sources.auth.proxy import Proxy
from sources.bucket import fetch, listing
from sources.bucket.listing import BucketError, Listed
from sources.bucket.s3 import S3, Place
from sources.bucket.sigv4 import Keys
from sources.web import Web
from tests.support import blocking, faults, forwarder, socksproxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from runtime.limits import Threads

KEYS = Keys("access", "hush-hush")
EMPTY = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
ONE = (
    b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key>"
    b"<ETag>&quot;1&quot;</ETag><Size>10</Size></Contents></ListBucketResult>"
)


@asynccontextmanager
async def store(
    script: Callable[[str], Iterable[bytes | float]],
    *,
    context: ssl.SSLContext | None = None,
    trust: tls.Trust = tls.SYSTEM,
    region: str = "",
    proxy: Proxy | None = None,
) -> AsyncIterator[tuple[S3, faults.Faults, Threads]]:
    async with (
        blocking.threads() as threads,
        faults.running(script, context) as server,
        Web(trust, proxy, tls.Contexts(), threads) as client,
    ):
        place = Place(server.endpoint, "box", region, is_secure=context is not None)
        yield S3(client, place, KEYS, SystemClock()), server, threads


async def failure(
    script: Callable[[str], Iterable[bytes | float]],
    *,
    context: ssl.SSLContext | None = None,
    trust: tls.Trust = tls.SYSTEM,
    proxy: Proxy | None = None,
) -> str:
    """Return how a listing ends; no secret is ever told."""
    async with store(script, context=context, trust=trust, proxy=proxy) as (s3, _, _):
        with pytest.raises(BucketError) as caught:
            await listing.listed(s3, "", 1000)
    assert "hush" not in str(caught.value)
    assert "Signature=" not in str(caught.value)
    return str(caught.value)


async def fetched(
    script: Callable[[str], Iterable[bytes | float]], directory: Path, limit: int = 1000
) -> bytes:
    """Return what comes of an object of ten bytes."""
    wanted = {"a": Listed("a", "1", 10)}
    async with store(script) as (s3, _, threads):
        spool = await threads.run(fetch.Spool, directory, limit)
        got = await fetch.fetch(s3, wanted, fetch.Known(), spool, threads)
        return got.tree.read("a")


# Answers ----------------------------------------------------------------------------------------


async def test_redirect_to_another_host_is_told_and_not_followed() -> None:
    async with store(lambda _: [faults.answer(EMPTY)]) as (_, other, _):
        location = f"Location: http://{other.endpoint}/box?token=1"
        text = await failure(lambda _: [faults.answer(b"", "302 Found", location)])
        assert f"which redirects to http://{other.endpoint}/box and is not followed there" in text
        assert "token" not in text
        assert other.heads == []


async def test_refusal_without_words_has_its_status() -> None:
    text = await failure(lambda _: [faults.answer(b"", "403 Forbidden")])
    assert text.endswith("/box answered 403 Forbidden")


async def test_server_that_is_busy_is_asked_three_times() -> None:
    async with store(lambda _: [faults.answer(b"", "503 Slow Down")]) as (s3, server, _):
        with pytest.raises(BucketError, match="answered 503"):
            await listing.listed(s3, "", 1000)
        assert len(server.heads) == 3


@pytest.mark.parametrize(
    "body",
    [b"hello", b"", b"<a>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"\xff\xfe\xfd"],
)
async def test_answer_that_is_no_listing_is_told(body: bytes) -> None:
    assert "not the XML it should be" in await failure(lambda _: [faults.answer(body)])


async def test_listing_that_goes_on_for_ever_is_ended() -> None:
    body = ONE.replace(
        b"<IsTruncated>false",
        b"<NextContinuationToken>t</NextContinuationToken><IsTruncated>true",
    )
    async with store(lambda _: [faults.answer(body)]) as (s3, server, _):
        with pytest.raises(listing.ListingError, match="does not go on"):
            await listing.listed(s3, "", 1000)
        assert len(server.heads) == 2


async def test_listing_larger_than_any_is_not_read_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "ANSWER_BYTES", 1000)
    client = web.Web.get
    monkeypatch.setattr(
        web.Web, "get", lambda self, url, headers=None: client(self, url, headers, limit=1000)
    )
    text = await failure(lambda _: [faults.answer(b" " * 1001 + EMPTY)])
    assert text.endswith("sends more than 1000 bytes")


async def test_bucket_of_more_objects_than_allowed_is_refused() -> None:
    async with store(lambda _: [faults.answer(ONE)]) as (s3, _, _):
        with pytest.raises(listing.ListingError, match="more than 0 objects; name a prefix"):
            await listing.listed(s3, "", 0)


# Regions ----------------------------------------------------------------------------------------


def elsewhere(head: str) -> list[bytes | float]:
    """Want signatures for eu-north-1, as Amazon does in that region."""
    if "/eu-north-1/s3/" in head:
        return [faults.answer(EMPTY)]
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>"
    return [faults.answer(body, "400 Bad Request")]


async def test_region_that_the_store_names_is_signed_for() -> None:
    async with store(elsewhere) as (s3, server, _):
        assert await listing.listed(s3, "", 1000) == {}
        assert await listing.listed(s3, "", 1000) == {}
        assert len(server.heads) == 3


async def test_region_of_the_spec_is_signed_for_whatever_the_store_names() -> None:
    async with store(elsewhere, region="eu-south-1") as (s3, server, _):
        with pytest.raises(BucketError):
            await listing.listed(s3, "", 1000)
        assert "/eu-south-1/s3/" in server.heads[0]
        assert len(server.heads) == 1


# Slowness ---------------------------------------------------------------------------------------


async def test_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SILENCE_S", 0.1)
    assert "did not answer in time" in await failure(lambda _: [faults.STALL])


async def test_server_that_stalls_in_the_middle_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "SILENCE_S", 1.0)
    text = await failure(lambda _: [faults.answer(EMPTY)[:-5], faults.STALL])
    assert "stalled after" in text


async def test_server_that_drips_is_ended_by_the_deadline() -> None:
    def drip(_head: str) -> Iterable[bytes | float]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        for _ in range(100_000):
            yield b" "
            yield 0.01

    async with store(drip) as (s3, _, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await listing.listed(s3, "", 1000)


# Lengths ----------------------------------------------------------------------------------------


async def test_object_that_ends_before_its_length_is_refused(tmp_path: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n'
    with pytest.raises(BucketError, match=r"failed to get 'a' object: .* broke off after 3 bytes"):
        await fetched(lambda _: [head + b"abc"], tmp_path)


async def test_object_without_a_length_that_ends_early_is_refused(tmp_path: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nConnection: close\r\n\r\n'
    with pytest.raises(BucketError, match="ended after 3 of 10 bytes"):
        await fetched(lambda _: [head + b"abc"], tmp_path)


async def test_object_in_chunks_that_breaks_off_is_refused(tmp_path: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n'
    with pytest.raises(BucketError, match="broke off"):
        await fetched(lambda _: [head + b"a\r\nabc"], tmp_path)


async def test_object_that_breaks_off_once_is_fetched_again(tmp_path: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n'
    answers = iter([head + b"abc", faults.answer(b"", "503 Slow Down"), head + b"0123456789"])
    assert await fetched(lambda _: [next(answers)], tmp_path) == b"0123456789"


async def test_object_larger_than_any_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_OBJECT_BYTES", 9)
    with pytest.raises(BucketError, match="sends more than 9 bytes"):
        await fetched(lambda _: [faults.answer(b"0123456789")], tmp_path)


async def test_objects_of_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BucketError, match="have more than 9 bytes; name a prefix"):
        await fetched(lambda _: [faults.answer(b"0123456789")], tmp_path, limit=9)


async def test_object_that_cannot_be_read_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(BucketError, match=r"failed to get 'a' object: .*answered 404"):
        await fetched(lambda _: [faults.answer(b"", "404 Not Found")], tmp_path)


async def test_disk_that_is_full_is_no_failure_of_the_store(tmp_path: Path) -> None:
    class FullSpool(fetch.Spool):
        def write(self, extent: fetch.Extent, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    wanted = {"a": Listed("a", "1", 10)}
    async with store(lambda _: [faults.answer(b"0123456789")]) as (s3, _, threads):
        run = fetch._Fetch(s3, wanted, FullSpool(tmp_path, 1000), threads)
        with pytest.raises(OSError, match="No space left"):
            await run.run(iter(["a"]))


# TLS and proxies --------------------------------------------------------------------------------


def served(authority: trustme.CA, since: dt.datetime | None = None) -> ssl.SSLContext:
    """Return the context of a server, whose certificate is good for a day from then on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    until = since + dt.timedelta(days=1) if since else None
    pair = authority.issue_cert("127.0.0.1", not_before=since, not_after=until)
    pair.configure_cert(context)
    return context


def trust(authority: trustme.CA) -> tls.Trust:
    return tls.Trust(authority.cert_pem.bytes())


async def test_certificate_of_a_given_authority_is_trusted() -> None:
    authority = trustme.CA()
    async with store(
        lambda _: [faults.answer(EMPTY)], context=served(authority), trust=trust(authority)
    ) as (s3, _, _):
        assert await listing.listed(s3, "", 1000) == {}


async def test_certificate_of_an_unknown_authority_is_refused() -> None:
    text = await failure(lambda _: [faults.answer(EMPTY)], context=served(trustme.CA()))
    assert "the certificate of https://127.0.0.1" in text
    assert "is not accepted: " in text


async def test_expired_certificate_is_refused() -> None:
    authority = trustme.CA()
    context = served(authority, dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    text = await failure(lambda _: [], context=context, trust=trust(authority))
    assert text.endswith("is not accepted: certificate has expired")


async def listing_of(place: Place) -> str:
    """Return how a listing from somewhere ends."""
    async with (
        blocking.threads() as threads,
        Web(tls.SYSTEM, None, tls.Contexts(), threads) as client,
    ):
        with pytest.raises(BucketError) as caught:
            await listing.listed(S3(client, place, KEYS, SystemClock()), "", 1000)
    return str(caught.value)


async def test_server_without_tls_is_told() -> None:
    def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "do not agree on TLS" in await listing_of(Place(f"127.0.0.1:{port}", "box"))


async def test_server_that_is_away_is_told() -> None:
    text = await listing_of(Place("127.0.0.1:1", "box", is_secure=False))
    assert text == "cannot reach http://127.0.0.1:1/box: connection refused"


async def test_proxy_that_refuses_is_told_from_the_store() -> None:
    async with forwarder.running(("p", "w")) as through:
        proxy = Proxy(through.address, "p", "wrong")
        text = await failure(lambda _: [faults.answer(EMPTY)], proxy=proxy)
    assert "answered 407" in text


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_proxy_that_is_away_is_told(scheme: str) -> None:
    proxy = Proxy(f"{scheme}://127.0.0.1:1")
    text = await failure(lambda _: [faults.answer(EMPTY)], proxy=proxy)
    assert text.startswith("the proxy cannot be reached: ")


async def test_socks_proxy_leads_to_the_store() -> None:
    async with (
        socksproxy.running(("p", "w")) as through,
        store(lambda _: [faults.answer(EMPTY)], proxy=Proxy(through.address, "p", "w")) as (
            s3,
            server,
            _,
        ),
    ):
        assert not await listing.listed(s3, "", 1000)
        assert through.targets == [server.endpoint]


async def test_socks_proxy_that_refuses_is_told_from_the_store() -> None:
    async with socksproxy.running(("p", "w"), reply=2) as through:
        proxy = Proxy(through.address, "p", "w")
        text = await failure(lambda _: [faults.answer(EMPTY)], proxy=proxy)
    assert text == "the proxy cannot be reached: its rules forbid the connection"
