"""Webhooks over a real HTTP server, for a fleet that exists in one test alone."""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import io
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from api.meta import Condition, LocalReference, ObjectMeta, ObjectRef
from api.notification import Receiver, ReceiverResource, ReceiverSpec, ReceiverStatus
from api.source import GitRef, GitRepository, GitRepositorySpec
from daemon import webhooks
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from reconcilers.filters import Call

SECRET = b"hush"
TOKEN = b"receiver-token"
PATH = "/hook/" + "ab" * 32
PUSH = {
    "ref": "refs/heads/main",
    "after": "1" * 40,
    "repository": {
        "clone_url": "https://github.com/acme/fleet.git",
        "ssh_url": "git@github.com:acme/fleet.git",
    },
}


class StillClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


@dataclass
class Endpoint:
    """A Receiver whose resources are counted instead of asked."""

    receiver: Receiver
    secret: bytes | None = TOKEN
    failures: int = 0
    requests: int = 0
    calls: list[Call] = field(default_factory=list)

    async def token(self) -> bytes:
        if self.secret is None:
            raise TransientError("TokenNotFound", "no such secret")
        return self.secret

    async def request(self, call: Call) -> int:
        self.requests += 1
        self.calls.append(call)
        return self.failures


@dataclass
class Targets:
    """The sources and Receivers of a fleet that exists in this test alone."""

    sources: list[tuple[str, GitRepository]] = field(default_factory=list)
    hooks: list[Endpoint] = field(default_factory=list)
    woken: list[tuple[ObjectRef, str]] = field(default_factory=list)

    def repositories(self) -> Iterable[tuple[str, GitRepository]]:
        return self.sources

    def endpoints(self) -> Iterable[webhooks.Endpoint]:
        return self.hooks

    def wake(self, ref: ObjectRef, cause: str) -> None:
        self.woken.append((ref, cause))


@dataclass
class Service:
    """The server under test and a client of it."""

    targets: Targets
    clock: StillClock
    client: aiohttp.ClientSession
    url: str
    port: int
    secret: list[bytes | None]

    async def send(
        self, path: str, body: bytes = b"{}", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        data = io.BytesIO(body)
        async with self.client.post(self.url + path, data=data, headers=headers) as answer:
            return answer.status, await answer.read()

    async def deliver(
        self, payload: Any = PUSH, *, event: str = "push", **changes: str
    ) -> tuple[int, dict[str, Any]]:
        """Send what GitHub would send; ``changes`` replaces headers, with _ for -."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-Hub-Signature-256": sign(SECRET, body),
        } | {key.replace("_", "-"): value for key, value in changes.items()}
        headers = {key: value for key, value in headers.items() if value}
        status, answer = await self.send("/webhooks/github", body, headers)
        return status, json.loads(answer)

    async def raw(self, *parts: bytes) -> bytes:
        """Send bytes as they are, and return the answer once the server has closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """Serve webhooks of a fleet without sources and Receivers yet."""
    targets, clock, secret = Targets(), StillClock(), [SECRET]
    hooks = webhooks.Webhooks(targets, github_secret=lambda: secret[0], clock=clock)
    runner = web.AppRunner(
        hooks.application(), access_log=None, shutdown_timeout=1, lingering_time=0.05
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as client:
        yield Service(targets, clock, client, f"http://127.0.0.1:{port}", port, secret)  # type: ignore[arg-type]  # invariance
    await runner.cleanup()


def sign(secret: bytes, body: bytes, algorithm: str = "sha256") -> str:
    """Return the value of a signature's header."""
    return f"{algorithm}={hmac.new(secret, body, algorithm).hexdigest()}"


def source(name: str, url: str, ref: GitRef | None = None) -> GitRepository:
    """Return a GitRepository of a branch, ``main`` unless told."""
    return GitRepository(
        metadata=ObjectMeta(name=name, namespace="flux-system"),
        spec=GitRepositorySpec(url=url, interval="1m", ref=ref or GitRef(branch="main")),
    )


def receiver(
    type_: str = "github", *, ready: str = "True", path: str = PATH, **spec: Any
) -> Receiver:
    """Return a Receiver of the GitRepository ``fleet``."""
    condition = Condition(
        type="Ready", status=ready, reason="Succeeded", message="", last_transition_time="t"
    )
    return Receiver(
        metadata=ObjectMeta(name="hook", namespace="team"),
        spec=ReceiverSpec(
            type=type_,
            resources=(ReceiverResource(kind="GitRepository", name="fleet"),),
            secret_ref=LocalReference(name="token"),
            **spec,
        ),
        status=ReceiverStatus(conditions=(condition,), webhook_path=path),
    )
