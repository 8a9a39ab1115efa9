"""What clouds lend for a cluster's word, from local servers that look at what they are asked."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from runtime.limits import Threads
from sources.auth import basic, codecommit, devops, roles, tls
from sources.auth.errors import CredentialsError
from sources.bucket.sigv4 import Keys
from sources.web import Web
from tests.support.api import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

URL = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fleet"
ROLE = "arn:aws:iam::123456789012:role/reader"
LENT = b"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA</AccessKeyId>
<SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>
<Expiration>2026-01-02T01:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""
REFUSED = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message>
</Error></ErrorResponse>"""


@asynccontextmanager
async def cloud(status: str, answer: bytes) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """Serve one answer; yield its address and the forms that were sent."""
    forms: list[dict[str, str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        form = parse_qs((await reader.readexactly(length)).decode())
        forms.append({name: values[0] for name, values in form.items()})
        line = f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
        writer.write(line.encode() + answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", forms


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    threads = Threads()
    async with Web(tls.SYSTEM, None, tls.Contexts(), threads) as each:
        yield each
    await threads.aclose()


async def test_keys_of_a_role_sign_for_codecommit(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with cloud("200 OK", LENT) as (address, forms):
        monkeypatch.setattr(roles, "ENDPOINT", address + "/{region}/{domain}")
        loan = await codecommit.borrow(web, URL, ROLE, "jwt", clock, "git.flux system.eu-west-1")
    assert forms == [
        {
            "Action": "AssumeRoleWithWebIdentity",
            "RoleArn": ROLE,
            "RoleSessionName": "git.flux-system.eu-west-1",
            "Version": "2011-06-15",
            "WebIdentityToken": "jwt",
        }
    ]
    assert loan.ends_at == dt.datetime(2026, 1, 2, 1, tzinfo=dt.UTC)
    username, password = codecommit.login(Keys("ASIA", "secret", "session"), URL, clock.now())
    assert username == "ASIA%session"
    assert loan.authorize(URL) == basic.header(username, password)
    assert loan.authorize(f"{URL}2") != loan.authorize(URL)


@pytest.mark.parametrize(
    ("status", "answer", "text"),
    [
        ("403 Forbidden", REFUSED, f"AWS does not lend keys of {ROLE}: Not authorized to perform"),
        ("400 Bad Request", b"what?", "answered 400 Bad Request"),
        ("200 OK", b"<a/>", "AWS's token service answers without keys"),
        ("200 OK", b"hello", "AWS's token service answers without keys"),
        ("200 OK", LENT.replace(b"2026-01-02T01:00:00Z", b"soon"), "answers without keys"),
    ],
)
async def test_token_service_that_lends_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch, status: str, answer: bytes, text: str
) -> None:
    async with cloud(status, answer) as (address, _):
        monkeypatch.setattr(roles, "ENDPOINT", address)
        with pytest.raises(CredentialsError) as caught:
            await codecommit.borrow(web, URL, ROLE, "jwt", ManualClock(), "s")
    assert text in str(caught.value)
    assert "jwt" not in str(caught.value)


async def test_entra_id_is_asked_for_a_token_of_azure_devops(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with cloud("200 OK", b'{"access_token": "t0ken"}') as (address, forms):
        monkeypatch.setattr(devops, "ENDPOINT", address + "/{tenant}/oauth2/v2.0/token")
        loan = await devops.borrow(web, "tenant", "client", "jwt", clock)
    assert forms == [
        {
            "client_assertion": "jwt",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_id": "client",
            "grant_type": "client_credentials",
            "scope": "499b84ac-1321-427f-aa17-267ca6975798/.default",
        }
    ]
    assert loan.authorize("https://dev.azure.com/x") == "Bearer t0ken"
    assert loan.ends_at - clock.now() == dt.timedelta(minutes=50)


async def test_entra_id_that_refuses_says_why(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b'{"error": "x", "error_description": "AADSTS70021: No matching federated identity"}'
    async with cloud("400 Bad Request", answer) as (address, _):
        monkeypatch.setattr(devops, "ENDPOINT", address)
        with pytest.raises(CredentialsError, match="AADSTS70021: No matching federated identity"):
            await devops.borrow(web, "tenant", "client", "jwt", ManualClock())
