"""What people read when a registry does not do as it should, and what it gets to see."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from sources.auth.tls import Trust
from sources.oci import client, errors, manifests
from sources.oci.client import Repository
from sources.oci.keychain import Login
from sources.oci.manifests import Descriptor
from sources.oci.names import Name
from tests.support import faults
from tests.support.oci import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from tests.support.faults import Faults

    Script: TypeAlias = Callable[[str], Iterable[bytes | float]]

LOGIN = Login("ada", "hunter2")
CONTENT = b"0123456789"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
BLOB = Descriptor("application/octet-stream", DIGEST, len(CONTENT))
CHALLENGE = 'WWW-Authenticate: Basic realm="r"'
PING = faults.answer()


def repository(server: Faults, *, timeout_s: float = 30.0, **more: object) -> Repository:
    name = Name(server.endpoint, "org/app")
    return Repository(name, LOGIN, timeout_s=timeout_s, **more)  # type: ignore[arg-type]


def wanting_login(script: Script) -> Script:
    """Answer as scripted whoever presents a login, once asked."""

    def answer(head: str) -> Iterable[bytes | float]:
        if head.startswith("GET /v2/ "):
            return [PING]
        if "Authorization:" not in head:
            return [faults.answer(b"", "401 Unauthorized", CHALLENGE)]
        return script(head)

    return answer


def plain(script: Script) -> Script:
    """Answer as scripted, but for the question whether this is a registry."""

    def answer(head: str) -> Iterable[bytes | float]:
        return [PING] if head.startswith("GET /v2/ ") else script(head)

    return answer


async def reading(script: Script, blob: Descriptor = BLOB, *, timeout_s: float = 30.0) -> str:
    """Return how reading a blob ends."""
    async with faults.running(plain(script)) as server, asking() as ask:
        with pytest.raises(errors.RegistryError) as caught:
            await ask.registries.read(repository(server, timeout_s=timeout_s), blob, 1000)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


async def resolving(script: Script, *, timeout_s: float = 30.0) -> errors.RegistryError:
    """Return how asking for a tag ends."""
    async with faults.running(plain(script)) as server, asking() as ask:
        with pytest.raises(errors.RegistryError) as caught:
            await ask.registries.resolve(repository(server, timeout_s=timeout_s), "latest")
    return caught.value


async def test_whole_blob_is_read() -> None:
    async with faults.running(plain(lambda _: [faults.answer(CONTENT)])) as server, asking() as ask:
        assert await ask.registries.read(repository(server), BLOB, 1000) == CONTENT


async def test_blob_with_another_digest_is_refused() -> None:
    text = await reading(lambda _: [faults.answer(b"9876543210")])
    assert text == f"what was sent for blob {DIGEST} has another digest"


async def test_blob_that_is_longer_than_announced_is_cut_off() -> None:
    async def longer() -> str:
        return await reading(lambda _: [faults.answer(CONTENT * 1000)])

    assert await longer() == f"blob {DIGEST} has more than its 10 bytes"


async def test_blob_that_is_shorter_than_announced_is_refused() -> None:
    text = await reading(lambda _: [faults.answer(CONTENT[:5])])
    assert text == f"blob {DIGEST} has 5 bytes instead of 10"


async def test_server_that_lies_about_the_length_is_told() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    text = await reading(lambda _: [head, CONTENT[:5]])
    assert text.endswith("closed the connection before its answer was complete")


@pytest.mark.parametrize(
    "script",
    [
        lambda _: [faults.STALL],
        lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", faults.STALL],
        lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", *([b"0", 0.1] * 9), b"0"],
    ],
    ids=["stalls", "stalls in the body", "drips"],
)
async def test_server_that_takes_too_long_is_given_up(script: Script) -> None:
    text = await reading(script, timeout_s=0.3)
    assert text.endswith("did not answer within 300ms")


async def test_half_written_file_after_a_failure_is_the_callers_to_throw_away() -> None:
    file = io.BytesIO()
    script = plain(lambda _: [faults.answer(b"9876543210")])
    async with faults.running(script) as server, asking() as ask:
        with pytest.raises(errors.ContentError):
            await ask.registries.download(repository(server), BLOB, file, 1000)
    assert file.getvalue() == b""  # the last piece is not handed out before all is verified


async def test_manifest_with_another_digest_is_refused() -> None:
    wanted = "sha256:" + "0" * 64
    script = plain(lambda _: [faults.answer(b"{}")])
    async with faults.running(script) as server, asking() as ask:
        with pytest.raises(errors.ContentError, match="has another digest"):
            await ask.registries.manifest(repository(server), wanted)


@pytest.mark.parametrize("content", [b"no JSON", b"[]", b'{"layers": 5}'])
async def test_manifest_that_is_none_is_told(content: bytes) -> None:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    script = plain(lambda _: [faults.answer(content)])
    async with faults.running(script) as server, asking() as ask:
        with pytest.raises(errors.ContentError, match="failed to parse artifact manifest"):
            await ask.registries.manifest(repository(server), digest)


async def test_answer_without_end_is_cut_off() -> None:
    def script(head: str) -> Iterable[bytes | float]:
        if head.startswith("HEAD"):
            return [faults.answer(b"", "404 Not Found")]
        return [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x" * 5_000_000]

    assert "sent more than the 4194304 bytes" in str(await resolving(script))


async def test_digest_that_is_none_is_not_believed() -> None:
    header = "Docker-Content-Digest: sha256:../../etc/passwd"
    error = await resolving(lambda _: [faults.answer(b"", "200 OK", header)])
    assert isinstance(error, errors.ContentError)
    assert "is no digest" in str(error)


async def test_registry_without_head_is_asked_by_get() -> None:
    content = json.dumps({"mediaType": manifests.OCI_MANIFEST}).encode()

    def script(head: str) -> Iterable[bytes | float]:
        refused = faults.answer(b"", "405 Method Not Allowed")
        return [refused if head.startswith("HEAD") else faults.answer(content)]

    async with faults.running(plain(script)) as server, asking() as ask:
        found = await ask.registries.resolve(repository(server), "latest")
    assert found.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


async def test_answer_that_is_no_http_is_told_without_its_address() -> None:
    async with faults.running(lambda _: [b"SSH-2.0-OpenSSH_9.9\r\n\r\n"]) as elsewhere:
        location = f"Location: http://{elsewhere.endpoint}/blob?signature=hunter2"
        text = await reading(lambda _: [faults.answer(b"", "302 Found", location)])
    assert text == f"{elsewhere.endpoint} does not speak HTTP"


async def test_throttling_says_for_how_long() -> None:
    error = await resolving(
        lambda _: [faults.answer(b"", "429 Too Many Requests", "Retry-After: 17")]
    )
    assert isinstance(error, errors.ThrottledError)
    assert error.retry_after_s == 17


async def test_restarting_registry_is_asked_again() -> None:
    answers = iter([faults.answer(b"", "503 Service Unavailable"), faults.answer(CONTENT)])
    script = plain(lambda head: [next(answers)] if head.startswith("GET") else [])

    async with faults.running(script) as server, asking() as ask:
        with pytest.raises(errors.ContentError):  # the second answer came, and is no list
            await ask.registries.tags(repository(server))
    assert len(server.heads) == 3


async def test_words_of_the_registry_are_quoted_without_what_breaks_a_line() -> None:
    said = {"errors": [{"code": "X", "message": "out of\nspace\x1b[31m"}]}
    refused = faults.answer(json.dumps(said).encode(), "400 Bad Request")
    error = await resolving(
        lambda head: [faults.answer(b"", "404 Not Found") if head[0] == "H" else refused]
    )
    assert str(error).endswith("org/app:latest: out ofspace[31m")


async def test_blob_elsewhere_is_fetched_without_the_login() -> None:
    async with faults.running(lambda _: [faults.answer(CONTENT)]) as elsewhere:
        location = f"Location: http://{elsewhere.endpoint}/signed?x=%2Fy"
        script = wanting_login(lambda _: [faults.answer(b"", "307 Temporary Redirect", location)])
        async with faults.running(script) as server, asking() as ask:
            assert await ask.registries.read(repository(server), BLOB, 1000) == CONTENT
    assert "Authorization" in server.heads[-1]
    (head,) = elsewhere.heads
    assert head.startswith("GET /signed?x=%2Fy HTTP/1.1")
    assert "Authorization" not in head


async def test_redirect_on_the_same_host_keeps_the_login() -> None:
    def script(head: str) -> Iterable[bytes | float]:
        if "/moved" in head:
            return [faults.answer(CONTENT)]
        return [faults.answer(b"", "302 Found", "Location: /moved")]

    async with faults.running(wanting_login(script)) as server, asking() as ask:
        assert await ask.registries.read(repository(server), BLOB, 1000) == CONTENT
    assert "Authorization" in server.heads[-1]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/again", "redirects without end"),
        ("file:///etc/passwd", "redirects to file:// and away from TLS"),
        ("http://[::1", "redirects to no URL"),
    ],
)
async def test_redirect_that_leads_nowhere_is_told(location: str, words: str) -> None:
    text = await reading(lambda _: [faults.answer(b"", "302 Found", f"Location: {location}")])
    assert text.endswith(words)


async def test_tls_is_not_left_by_a_redirect() -> None:
    authority = trustme.CA()
    async with faults.running(lambda _: [faults.answer(CONTENT)]) as elsewhere:
        location = f"Location: http://{elsewhere.endpoint}/clear"
        script = plain(lambda _: [faults.answer(b"", "302 Found", location)])
        async with faults.running(script, served(authority)) as server, asking() as ask:
            with pytest.raises(errors.ConnectionFailed, match="away from TLS"):
                await ask.registries.read(repository(server, trust=trust(authority)), BLOB, 1000)
    assert elsewhere.heads == []


async def test_expired_certificate_is_named() -> None:
    authority = trustme.CA()
    context = served(authority, dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    async with faults.running(lambda _: [PING], context) as server, asking() as ask:
        with pytest.raises(errors.ConnectionFailed) as caught:
            await ask.registries.resolve(repository(server, trust=trust(authority)), "latest")
    host = server.endpoint
    assert str(caught.value) == f"TLS handshake with {host} failed: certificate has expired"
    assert server.heads == []


async def test_certificate_of_another_host_is_named() -> None:
    authority = trustme.CA()
    async with faults.running(lambda _: [PING], served(authority)) as server, asking() as ask:
        name = Name(f"localhost:{server.port}", "org/app")
        with pytest.raises(errors.ConnectionFailed, match="TLS handshake with localhost"):
            await ask.registries.resolve(Repository(name, trust=trust(authority)), "latest")


async def test_nobody_at_home_is_told() -> None:
    async with faults.running(lambda _: []) as server:
        pass
    async with asking() as ask:
        with pytest.raises(errors.ConnectionFailed, match=f"cannot connect to {server.endpoint}"):
            await ask.registries.resolve(repository(server), "latest")


async def test_tags_come_in_pages_of_the_same_host() -> None:
    def page(head: str) -> Iterable[bytes | float]:
        if "last=b" in head:
            return [faults.answer(b'{"name": "x", "tags": ["c"]}')]
        link = 'Link: </v2/org/app/tags/list?n=2&last=b>; rel="next"'
        return [faults.answer(b'{"name": "x", "tags": ["a", "b"]}', "200 OK", link)]

    async with faults.running(plain(page)) as server, asking() as ask:
        assert await ask.registries.tags(repository(server)) == ("a", "b", "c")


async def test_next_page_on_another_host_is_refused() -> None:
    link = 'Link: <http://evil.example/v2/x>; rel="next"'
    script = plain(lambda _: [faults.answer(b'{"tags": ["a"]}', "200 OK", link)])
    async with faults.running(script) as server, asking() as ask:
        with pytest.raises(errors.ContentError, match="another host"):
            await ask.registries.tags(repository(server))


async def test_login_does_not_go_to_a_token_server_in_clear() -> None:
    authority = trustme.CA()
    challenge = 'WWW-Authenticate: Bearer realm="http://127.0.0.1:1/token",service="s"'
    script = plain(lambda _: [faults.answer(b"", "401 Unauthorized", challenge)])
    async with faults.running(script, served(authority)) as server, asking() as ask:
        with pytest.raises(errors.ConnectionFailed, match="'realm' must be an https:// URL"):
            await ask.registries.resolve(repository(server, trust=trust(authority)), "latest")


@pytest.mark.parametrize("body", [b"{}", b"no JSON", b'{"token": "a\\nb"}'])
async def test_token_server_without_a_token_is_told(body: bytes) -> None:
    async with faults.running(lambda _: [faults.answer(body)]) as tokens:
        challenge = f'WWW-Authenticate: Bearer realm="http://{tokens.endpoint}/t",service="s"'
        error = await resolving(lambda _: [faults.answer(b"", "401 Unauthorized", challenge)])
    assert str(error).endswith("sent no token")


async def test_referrers_are_found_by_the_api() -> None:
    entry = {"mediaType": manifests.OCI_MANIFEST, "digest": DIGEST, "size": 1, "artifactType": "x"}
    content = json.dumps({"mediaType": manifests.OCI_INDEX, "manifests": [entry]}).encode()
    async with faults.running(plain(lambda _: [faults.answer(content)])) as server, asking() as ask:
        (found,) = await ask.registries.referrers(repository(server), DIGEST)
    assert (found.digest, found.artifact_type) == (DIGEST, "x")
    assert f"GET /v2/org/app/referrers/{DIGEST} " in server.heads[-1]


def referring(link: str) -> Script:
    """Answer with one referrer, and a page after it."""
    entry = {"mediaType": manifests.OCI_MANIFEST, "digest": DIGEST, "size": 1}
    content = json.dumps({"mediaType": manifests.OCI_INDEX, "manifests": [entry]}).encode()
    more = f"Link: <{link}>; rel=next"
    return plain(
        lambda head: [faults.answer(content, "200 OK", *([] if "last=1" in head else [more]))]
    )


async def test_referrers_come_in_pages() -> None:
    link = f"/v2/org/app/referrers/{DIGEST}?last=1"
    async with faults.running(referring(link)) as server, asking() as ask:
        assert len(await ask.registries.referrers(repository(server), DIGEST)) == 2
        assert f"GET {link} " in server.heads[-1]


@pytest.mark.parametrize(
    ("link", "said"),
    [("http://evil.example/v2/x", "another host"), ("/v2/x", "more than 3 referrers")],
)
async def test_pages_of_referrers_that_lead_nowhere_are_refused(
    link: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REFERRERS", 3)
    async with faults.running(referring(link)) as server, asking() as ask:
        with pytest.raises(errors.ContentError, match=said):
            await ask.registries.referrers(repository(server), DIGEST)


def served(authority: trustme.CA, since: dt.datetime | None = None) -> ssl.SSLContext:
    """Return the context of a server, whose certificate is good for a day from then on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    until = since + dt.timedelta(days=1) if since else None
    pair = authority.issue_cert("127.0.0.1", not_before=since, not_after=until)
    pair.configure_cert(context)
    return context


def trust(authority: trustme.CA) -> Trust:
    return Trust(authority.cert_pem.bytes())
