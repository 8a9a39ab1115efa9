"""Webhooks over a real HTTP server: what is answered, and what is woken."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from api.source import GitRef
from daemon import webhooks
from reconcilers.filters import Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.notification import Receiver
from tests.support import hooks
from tests.support.hooks import PATH, PUSH, SECRET, TOKEN, Endpoint, Service, receiver, sign, source


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with hooks.serving() as each:
        yield each


# GitHub -------------------------------------------------------------------------------------------


async def test_a_push_wakes_every_source_that_follows_it_in_every_cluster(service: Service) -> None:
    service.targets.sources = [
        ("home", source("fleet", "https://github.com/acme/fleet")),
        ("pi", source("fleet", "ssh://git@github.com/Acme/Fleet.git")),
        (
            "pi",
            source("named", "http://u:p@github.com:443/acme/fleet", GitRef(name="refs/heads/main")),
        ),
        ("home", source("other-branch", "https://github.com/acme/fleet", GitRef(branch="dev"))),
        ("home", source("other", "https://github.com/acme/other")),
    ]
    status, answer = await service.deliver()
    assert status == 200
    assert answer == {
        "event": "push",
        "ref": "refs/heads/main",
        "woken": [
            "home/GitRepository/flux-system/fleet",
            "pi/GitRepository/flux-system/fleet",
            "pi/GitRepository/flux-system/named",
        ],
    }
    assert [ref.cluster for ref, _ in service.targets.woken] == ["home", "pi", "pi"]
    assert {cause for _, cause in service.targets.woken} == {"GitHub push to refs/heads/main"}


async def test_a_push_to_an_unknown_repository_wakes_nothing(service: Service) -> None:
    service.targets.sources = [("home", source("other", "https://github.com/acme/other"))]
    status, answer = await service.deliver()
    assert (status, answer["woken"]) == (202, [])
    assert not service.targets.woken


async def test_a_push_in_a_form_is_understood(service: Service) -> None:
    service.targets.sources = [("home", source("fleet", "https://github.com/acme/fleet"))]
    body = urlencode({"payload": json.dumps(PUSH)}).encode()
    status, answer = await service.deliver(body, Content_Type="application/x-www-form-urlencoded")
    assert (status, len(answer["woken"])) == (200, 1)


async def test_a_delivery_that_comes_again_is_answered_the_same(service: Service) -> None:
    service.targets.sources = [("home", source("fleet", "https://github.com/acme/fleet"))]
    assert await service.deliver() == await service.deliver()


async def test_a_ping_is_answered(service: Service) -> None:
    assert await service.deliver({"zen": "Keep it logically awesome."}, event="ping") == (
        200,
        {"event": "ping", "ref": "", "woken": []},
    )


async def test_an_event_that_is_no_push_wakes_nothing(service: Service) -> None:
    service.targets.sources = [("home", source("fleet", "https://github.com/acme/fleet"))]
    status, answer = await service.deliver(event="issues")
    assert (status, answer["woken"]) == (202, [])


@pytest.mark.parametrize(
    "signature", ["", "sha256=" + "0" * 64, "sha256=", "nonsense", sign(b"other", b"{}")]
)
async def test_a_missing_or_wrong_signature_is_refused(service: Service, signature: str) -> None:
    service.targets.sources = [("home", source("fleet", "https://github.com/acme/fleet"))]
    status, answer = await service.deliver(X_Hub_Signature_256=signature)
    assert status == 401
    assert "error" in answer
    assert not service.targets.woken


async def test_a_signature_of_another_body_is_refused(service: Service) -> None:
    status, _ = await service.deliver(X_Hub_Signature_256=sign(SECRET, b"{}"))
    assert status == 401


async def test_without_a_configured_secret_everything_is_refused(service: Service) -> None:
    service.secret[0] = None
    body = json.dumps(PUSH).encode()
    assert (await service.deliver(X_Hub_Signature_256=sign(b"", body)))[0] == 401


async def test_a_changed_secret_counts_at_once(service: Service) -> None:
    service.secret[0] = b"new"
    body = json.dumps(PUSH).encode()
    assert (await service.deliver())[0] == 401
    assert (await service.deliver(X_Hub_Signature_256=sign(b"new", body)))[0] == 202


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"ref": 1}',
        b'{"ref": "refs/heads/main"}',
        b"\xff",
        b'{"ref": "\xff"}',
    ],
)
async def test_a_malformed_push_is_refused(service: Service, payload: bytes) -> None:
    assert (await service.deliver(payload))[0] == 400


@pytest.mark.parametrize(
    "headers", [{"X_GitHub_Event": ""}, {"Content_Type": "text/plain"}, {"Content_Type": ""}]
)
async def test_a_delivery_with_unusual_headers_is_refused(
    service: Service, headers: dict[str, str]
) -> None:
    assert (await service.deliver(**headers))[0] == 400


async def test_a_malformed_event_of_any_kind_is_refused(service: Service) -> None:
    assert (await service.deliver(b"{", event="ping"))[0] == 400


async def test_only_post_is_answered(service: Service) -> None:
    async with service.client.get(f"{service.url}/webhooks/github") as answer:
        assert answer.status == 405


async def test_a_body_that_says_it_is_too_large_is_refused_unread(service: Service) -> None:
    size = webhooks.GITHUB_LIMIT_BYTES + 1
    head = f"POST /webhooks/github HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"
    assert b" 413 " in await service.raw(head.encode())


async def test_a_body_that_grows_too_large_is_refused_while_it_is_read(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "GITHUB_LIMIT_BYTES", 1000)
    head = (
        b"POST /webhooks/github HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        b"X-Hub-Signature-256: sha256=00\r\n\r\n"
    )
    chunk = b"320\r\n" + b"x" * 800 + b"\r\n"
    assert b" 413 " in await service.raw(head, chunk, chunk)


async def test_a_body_within_the_limit_of_github_is_read(service: Service) -> None:
    payload = PUSH | {"padding": "x" * (2 * 2**20)}
    assert (await service.deliver(payload))[0] == 202


async def test_a_body_that_stops_coming_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.intake.READ_S", 0.05)
    head = (
        b"POST /webhooks/github HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n"
        b"X-Hub-Signature-256: sha256=00\r\n\r\nhalf"
    )
    assert b" 408 " in await service.raw(head)


async def test_bodies_together_have_a_limit_too(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BODIES_LIMIT_BYTES", 1000)
    async with hooks.serving() as small:
        assert (await small.deliver(PUSH | {"padding": "x" * 2000}))[0] == 503
        assert (await small.deliver())[0] == 202, "what was refused is not counted any more"


async def test_a_flood_is_refused_until_it_ebbs(service: Service) -> None:
    for _ in range(webhooks.BURST):
        status, _ = await service.send("/hook/none")
        assert status == 404
    assert (await service.send("/hook/none"))[0] == 429
    assert (await service.deliver())[0] == 429
    service.clock.seconds += 1
    assert (await service.deliver())[0] == 202


# Receivers ----------------------------------------------------------------------------------------


def github_headers(
    body: bytes = b"{}", *, token: bytes = TOKEN, event: str = "push"
) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": sign(token, body),
    }


async def test_a_signed_call_asks_the_resources_of_its_receiver(service: Service) -> None:
    endpoint = Endpoint(receiver())
    other = Endpoint(receiver(path="/hook/" + "cd" * 32))
    service.targets.hooks = [other, endpoint]
    assert await service.send(PATH, b"{}", github_headers()) == (200, b"")
    assert (endpoint.requests, other.requests) == (1, 0)


async def test_a_call_reaches_the_filters_as_it_came_in(service: Service) -> None:
    endpoint = Endpoint(receiver("generic"))
    service.targets.hooks = [endpoint]
    await service.send(PATH, b'{"a": 1}', {"Content-Type": "Application/JSON; charset=utf-8"})
    await service.send(PATH, b"a=1", {"Content-Type": "application/x-www-form-urlencoded"})
    assert endpoint.calls == [
        Call("application/json", b'{"a": 1}'),
        Call("application/x-www-form-urlencoded", b"a=1"),
    ]


async def test_one_path_reaches_the_same_receiver_in_every_cluster(service: Service) -> None:
    home, pi = Endpoint(receiver()), Endpoint(receiver())
    service.targets.hooks = [home, pi]
    assert (await service.send(PATH, b"{}", github_headers()))[0] == 200
    assert (home.requests, pi.requests) == (1, 1)


async def test_the_worst_answer_of_several_clusters_is_given(service: Service) -> None:
    service.targets.hooks = [Endpoint(receiver()), Endpoint(receiver(ready="False"))]
    assert (await service.send(PATH, b"{}", github_headers()))[0] == 503


@pytest.mark.parametrize("path", ["/hook/" + "00" * 32, PATH + "?a=b", PATH + "0", PATH.upper()])
async def test_a_path_that_is_not_exactly_a_receiver_s_is_unknown(
    service: Service, path: str
) -> None:
    service.targets.hooks = [Endpoint(receiver())]
    assert (await service.send(path, b"{}", github_headers()))[0] == 404


async def test_a_receiver_without_a_path_is_not_found_under_the_empty_one(service: Service) -> None:
    service.targets.hooks = [Endpoint(receiver(path=""))]
    assert (await service.send("/hook/", b"{}", github_headers()))[0] == 404


async def test_sha1_is_accepted_where_github_sends_nothing_else(service: Service) -> None:
    service.targets.hooks = [Endpoint(receiver())]
    headers = github_headers() | {"X-Hub-Signature": sign(TOKEN, b"{}", "sha1")}
    del headers["X-Hub-Signature-256"]
    assert (await service.send(PATH, b"{}", headers))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        github_headers(token=b"wrong"),
        github_headers(b"other body"),
        github_headers() | {"Content-Type": "text/plain"},
        {"Content-Type": "application/json", "X-GitHub-Event": "push"},
    ],
)
async def test_a_call_that_cannot_be_trusted_is_refused(
    service: Service, headers: dict[str, str]
) -> None:
    endpoint = Endpoint(receiver())
    service.targets.hooks = [endpoint]
    assert await service.send(PATH, b"{}", headers) == (400, b"")
    assert endpoint.requests == 0


async def test_a_body_that_is_not_json_is_refused(service: Service) -> None:
    service.targets.hooks = [Endpoint(receiver())]
    assert (await service.send(PATH, b"{", github_headers(b"{")))[0] == 400


@pytest.mark.parametrize(("event", "status"), [("push", 200), ("PUSH", 200), ("ping", 400)])
async def test_only_listed_events_are_acted_on(service: Service, event: str, status: int) -> None:
    service.targets.hooks = [Endpoint(receiver(events=("Push",)))]
    assert (await service.send(PATH, b"{}", github_headers(event=event)))[0] == status


async def test_an_empty_token_authenticates_nobody(service: Service) -> None:
    service.targets.hooks = [Endpoint(receiver(), secret=b"")]
    assert (await service.send(PATH, b"{}", github_headers(token=b"")))[0] == 400


async def test_a_generic_receiver_asks_for_the_path_alone(service: Service) -> None:
    service.targets.hooks = [Endpoint(receiver("generic"))]
    assert (await service.send(PATH, b"anything"))[0] == 200
    async with service.client.get(service.url + PATH) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
async def test_a_generic_hmac_receiver_asks_for_a_signature(
    service: Service, algorithm: str
) -> None:
    service.targets.hooks = [Endpoint(receiver("generic-hmac"))]
    body = b"not json at all"
    signed = {"X-Signature": sign(TOKEN, body, algorithm)}
    assert (await service.send(PATH, body, signed))[0] == 200
    assert (await service.send(PATH, body))[0] == 400
    assert (await service.send(PATH, body + b"!", signed))[0] == 400


@pytest.mark.parametrize("type_", ["gitlab", "generic-oidc"])
async def test_a_type_that_is_not_served_is_refused(service: Service, type_: str) -> None:
    endpoint = Endpoint(receiver(type_))
    service.targets.hooks = [endpoint]
    assert (await service.send(PATH, b"{}", github_headers()))[0] == 400
    assert endpoint.requests == 0


@pytest.mark.parametrize(
    "found", [receiver(ready="False"), receiver(ready="Unknown"), receiver(suspend=True)]
)
async def test_a_receiver_that_is_not_ready_is_unavailable(
    service: Service, found: Receiver
) -> None:
    endpoint = Endpoint(found)
    service.targets.hooks = [endpoint]
    assert (await service.send(PATH, b"{}", github_headers()))[0] == 503
    assert endpoint.requests == 0


@pytest.mark.parametrize("change", [{"failures": 1}, {"secret": None}])
async def test_a_receiver_that_cannot_act_says_so(service: Service, change: dict[str, Any]) -> None:
    service.targets.hooks = [Endpoint(receiver(), **change)]
    assert (await service.send(PATH, b"{}", github_headers()))[0] == 500


async def test_a_body_over_flux_s_limit_is_refused_before_anything_else(service: Service) -> None:
    size = webhooks.RECEIVER_LIMIT_BYTES + 1
    head = f"POST /hook/unknown HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"
    assert b" 413 " in await service.raw(head.encode())


async def test_a_connection_that_breaks_off_harms_nobody(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"POST /hook/a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    assert (await service.deliver())[0] == 202
