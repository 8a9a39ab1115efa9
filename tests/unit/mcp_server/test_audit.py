"""The audit log: a line for each write, whatever became of it, and no secret in it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import stat
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from daemon import settings
from inspection import failure
from mcp_server import serving
from mcp_server.audit import Audit
from mcp_server.desk import Desk
from mcp_server.tool import Answer, Arguments, Result, Tool, about
from runtime import clock
from tests.support import agents

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcp.client import Client

    from mcp_server.desk import Call

CLUSTER = '[[clusters]]\nname = "home"\nkubeconfig = "/nowhere"\n'


class Paint(Arguments, frozen=True, kw_only=True):
    """What to paint."""

    colour: Annotated[str, about("Which colour")]
    password: Annotated[str, about("Who may")] = ""


class Painted(Result, frozen=True, kw_only=True):
    """What was painted."""

    text: str


async def paint(call: Call, args: Paint) -> Answer:
    """Paint the cluster."""
    async with call.desk.writing("wall"):
        await call.progress(0, None, "painting")
        if args.colour == "grey":
            raise failure.CommandError("there is no grey left, token=geheim")
        if args.colour == "endless":
            await asyncio.Event().wait()
        if args.colour == "broken":
            raise RuntimeError("a bug")
    return Answer(f"painted {args.colour}", Painted(text=args.colour))


PAINT: Tool[Any] = Tool("paint", "Paint", Paint, Painted, paint, writes=True)


class Server:
    """A server with one tool that writes, and its audit log."""

    def __init__(self, folder: Path, clusters: str = CLUSTER) -> None:
        self.file = folder / "log" / "audit.log"
        loaded = settings.parse(f'[daemon]\ndata_dir = "{folder}/data"\n{clusters}', "config.toml")
        self.desk = Desk(folder / "config.toml", loaded, Audit(self.file, clock.SystemClock()))

    def client(self) -> Client:
        return agents.client(serving.Offer(self.desk, {"paint": PAINT}).server())

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


async def outcome_of(server: Server, arguments: Mapping[str, Any]) -> dict[str, Any]:
    async with server.client() as client:
        await client.call_tool("paint", dict(arguments))
    (line,) = server.lines()
    return line


async def test_write_is_noted_with_who_what_where_and_result(tmp_path: Path) -> None:
    line = await outcome_of(Server(tmp_path), {"colour": "red", "password": "geheim"})

    assert dt.datetime.fromisoformat(line["time"]).tzinfo is not None
    assert line["who"]
    assert (line["tool"], line["cluster"], line["outcome"]) == ("paint", "home", "done")
    assert line["arguments"] == {"colour": "red", "password": "***", "cluster": "home"}
    assert line["result"] == "painted red"


@pytest.mark.parametrize(
    ("colour", "outcome", "result"),
    [
        ("grey", "failed", "[failed] there is no grey left, token=***"),
        ("", "refused", "[invalid] colour is required"),
    ],
)
async def test_what_became_of_it_is_told(
    tmp_path: Path, colour: str, outcome: str, result: str
) -> None:
    line = await outcome_of(Server(tmp_path), {"colour": colour})

    assert line["outcome"] == outcome
    assert line["result"].startswith(result)


async def test_write_of_a_client_that_goes_away_is_noted_as_interrupted(tmp_path: Path) -> None:
    server, painting = Server(tmp_path), asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        painting.set()

    async def leave() -> None:
        async with server.client() as client:
            await client.call_tool("paint", {"colour": "endless"}, progress_callback=hear)

    task = asyncio.get_running_loop().create_task(leave())
    await painting.wait()
    task.cancel()
    await asyncio.wait([task])

    (line,) = server.lines()
    assert line["outcome"] == "interrupted"
    assert "may have been done or not" in line["result"]
    async with server.desk.writing("wall"):
        pass


async def test_concurrent_write_is_noted_as_refused(tmp_path: Path) -> None:
    server = Server(tmp_path)
    async with server.client() as client, server.desk.writing("wall"):
        result = await client.call_tool("paint", {"colour": "red"})

    assert agents.text_of(result).startswith("[refused] another call is writing to wall")
    assert [line["outcome"] for line in server.lines()] == ["refused"]


async def test_cluster_is_the_one_that_the_session_chose(tmp_path: Path) -> None:
    server = Server(tmp_path, CLUSTER + CLUSTER.replace("home", "work"))
    line = await outcome_of(server, {"colour": "red", "cluster": "work"})

    assert line["cluster"] == "work"


def test_file_is_its_owners_and_only_ever_grows(tmp_path: Path) -> None:
    file = tmp_path / "data" / "audit.log"
    audit = Audit(file, clock.SystemClock())

    for number in range(3):
        audit.note("me", "paint", {"colour": str(number)}, "done", "x" * 2000)

    lines = file.read_text().splitlines()
    assert [json.loads(line)["arguments"]["colour"] for line in lines] == ["0", "1", "2"]
    assert {len(json.loads(line)["result"]) for line in lines} == {500}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_manifests_and_values_are_told_by_their_length(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    manifest = "kind: Secret\nstringData: {a: geheim}"

    given = {"yaml_content": manifest, "values": "password: geheim"}
    Audit(file, clock.SystemClock()).note("me", "apply", given, "done", "")

    assert "geheim" not in file.read_text()
    assert json.loads(file.read_text())["arguments"]["yaml_content"] == "(36 characters)"
