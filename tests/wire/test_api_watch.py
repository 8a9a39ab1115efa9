"""Watches that a server refuses, breaks and forgets, as they do it after minutes in real life."""

from __future__ import annotations

import random
import time
from contextlib import aclosing

import orjson
from aiohttp import web

from kube import errors, watch
from kube.client import Client
from kube.connection import Material, open_connection
from kube.objects import PartialObject
from tests.support.api import CONFIG_MAPS, ManualClock
from tests.wire.test_api_transport import server

EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


def line(kind: str, name: str, version: int) -> bytes:
    metadata = {"name": name, "namespace": "n", "resourceVersion": str(version)}
    return orjson.dumps({"type": kind, "object": {"metadata": metadata}}) + b"\n"


class Server:
    """Answers lists with one object and each watch by the next script."""

    def __init__(self, *scripts: list[bytes] | web.Response) -> None:
        self._scripts = list(scripts)
        self.lists = 0
        self.versions: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.lists += 1
            items = [{"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}}]
            version = str(100 * self.lists)
            return web.Response(
                body=orjson.dumps({"metadata": {"resourceVersion": version}, "items": items})
            )
        self.versions.append(request.query["resourceVersion"])
        script = self._scripts.pop(0)
        if isinstance(script, web.Response):
            return script
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in script:
            await response.write(piece)
        return response


async def follow(plan: Server, count: int) -> list[watch.Change[PartialObject]]:
    """Return the first changes that a watch of a server tells."""
    found: list[watch.Change[PartialObject]] = []
    async with server(plan.handle) as url:

        async def source() -> Material:
            return Material(server=url)

        connection = await open_connection(source, ManualClock())
        async with Client(connection, cluster="c") as client:
            changes = watch.watch(
                client, CONFIG_MAPS, PartialObject, clock=ManualClock(), rng=random.Random(1)
            )
            async with aclosing(changes):
                async for change in changes:
                    found.append(change)
                    if len(found) == count:
                        break
    return found


def kinds(changes: list[watch.Change[PartialObject]]) -> list[str]:
    return [type(change).__name__ for change in changes]


async def test_forgotten_version_leads_to_a_new_list() -> None:
    refused = web.Response(status=410, body=orjson.dumps(EXPIRED))
    told = orjson.dumps({"type": "ERROR", "object": EXPIRED}) + b"\n"
    plan = Server(refused, [line("MODIFIED", "a", 210), told], [line("ADDED", "b", 310)])
    changes = await follow(plan, 12)
    assert kinds(changes) == [
        *("Listed", "Synced", "Interrupted"),
        *("Listed", "Synced", "Resumed", "Modified", "Interrupted"),
        *("Listed", "Synced", "Resumed", "Added"),
    ]
    assert isinstance(changes[2], watch.Interrupted)
    assert isinstance(changes[2].error, errors.Gone)
    assert plan.versions == ["100", "200", "300"]


async def test_server_that_forgets_what_it_has_just_listed_is_not_asked_in_a_loop() -> None:
    plan = Server(*(web.Response(status=410, body=orjson.dumps(EXPIRED)) for _ in range(4)))
    started = time.monotonic()
    changes = await follow(plan, 12)
    assert kinds(changes) == ["Listed", "Synced", "Interrupted"] * 4
    assert time.monotonic() - started >= watch.BACKOFF_S[0], "lists without a pause"


async def test_watch_resumes_from_the_last_bookmark_without_a_list() -> None:
    plan = Server(
        [line("MODIFIED", "a", 110), line("BOOKMARK", "", 150)],
        [line("ADDED", "b", 160)],
        [line("ADDED", "c", 170)],
    )
    changes = await follow(plan, 11)
    assert plan.lists == 1
    assert plan.versions == ["100", "150", "160"]
    assert isinstance(changes[4], watch.Bookmark)


async def test_watch_that_the_server_ends_at_once_is_not_asked_in_a_loop() -> None:
    changes = await follow(Server([], []), 6)
    assert kinds(changes)[2:] == ["Resumed", "Interrupted", "Resumed", "Interrupted"]


async def test_server_error_keeps_the_place() -> None:
    busy = web.Response(status=503, text="later")
    plan = Server(busy, [line("ADDED", "b", 110)])
    changes = await follow(plan, 5)
    assert kinds(changes) == ["Listed", "Synced", "Interrupted", "Resumed", "Added"]
    assert plan.versions == ["100", "100"]


async def test_lines_cut_anywhere_are_put_together() -> None:
    text = line("ADDED", "b", 110) + line("ADDED", "c", 111)
    changes = await follow(Server([text[:7], text[7:60], text[60:]]), 5)
    assert [
        change.object.metadata.name for change in changes if isinstance(change, watch.Added)
    ] == [
        "b",
        "c",
    ]
