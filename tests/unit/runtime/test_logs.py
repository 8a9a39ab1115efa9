"""Logging: what a line holds, and what it must never hold."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import logs
from runtime.errors import TerminalError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger apart from everybody else's; the root's configuration is put back afterwards."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield logging.getLogger("tests.logs")
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    logging.captureWarnings(capture=False)


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_record_is_one_json_line_with_its_fields(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    with logs.bind(cluster="home", kind="Kustomization"), logs.bind(kind="Receiver", name="hook"):
        logger.info("line\nbreak", extra={"revision": "main@sha1:1", "path": object})
    logger.debug("not told")
    (entry,) = entries(stream)
    assert entry.pop("ts").endswith("Z")
    assert entry.pop("path") == "<class 'object'>"
    assert entry == {
        "level": "info",
        "logger": "tests.logs",
        "msg": "line\nbreak",
        "cluster": "home",
        "kind": "Receiver",
        "name": "hook",
        "revision": "main@sha1:1",
    }


def test_record_outside_a_block_has_no_fields_of_it(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    with logs.bind(cluster="home"):
        assert logs.fields() == {"cluster": "home"}
    logger.info("after")
    assert "cluster" not in entries(stream)[0]


async def test_fields_stay_with_their_task() -> None:
    async def child() -> object:
        with logs.bind(name="child"):
            await asyncio.sleep(0)
            return dict(logs.fields())

    with logs.bind(cluster="home"):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(child())
            await asyncio.sleep(0)
            assert dict(logs.fields()) == {"cluster": "home"}
    assert task.result() == {"cluster": "home", "name": "child"}


@pytest.mark.parametrize("style", ["json", "console"])
def test_traceback_is_told_and_redacted(logger: logging.Logger, style: str) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, style=style)

    def fail() -> None:
        raise OSError("cannot reach https://me:hunter2@git.example/apps")

    try:
        fail()
    except OSError:
        logger.exception("failed")
    text = stream.getvalue()
    assert "Traceback" in text
    assert "***@git.example/apps" in text
    assert "hunter2" not in text


def test_console_line_is_readable(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, style="console")
    with logs.bind(cluster="home"):
        logger.warning("reconcile failed", extra={"error": "no such file", "reason": ""})
    line = stream.getvalue()
    assert line[8:] == " WARNING reconcile failed cluster=home error='no such file' reason=''\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_style_follows_the_stream(logger: logging.Logger, is_terminal: bool) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal  # type: ignore[method-assign]  # no terminal in a test
    logs.configure(stream=stream)
    logger.info("hello")
    assert stream.getvalue().startswith("{") != is_terminal


def test_standard_error_is_the_default(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure()
    logger.info("hello")
    assert "hello" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:pass@git.example/x", "https://***@git.example/x"),
        ("https://user:p@ss@git.example/x", "https://***@git.example/x"),
        ("ssh://git@git.example/x and http://tok@h", "ssh://***@git.example/x and http://***@h"),
        ("no credentials: https://git.example/a@b", "no credentials: https://git.example/a@b"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("a bearer of news, basic needs", "a bearer of news, basic needs"),
        ("ghp_0123456789abcdefXYZ in text", "*** in text"),
        ("github_pat_0123456789abcdefXYZ", "***"),
        ("glpat-0123456789abcdefXYZ", "***"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "token ***"),
        ("jwt=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "jwt=***"),
        ("GET /a?token=s3cr3t&x=1&password=p", "GET /a?token=***&x=1&password=***"),
    ],
)
def test_secrets_are_taken_out(text: str, clean: str) -> None:
    assert logs.redact(text) == clean


@given(
    text=st.text(st.characters())
    | st.lists(
        st.sampled_from(
            ["https://", "?token=", "&sig=", "Bearer ", "abcdefghij", '"', "\\", "@", " "]
        )
    ).map("".join)
)
def test_line_stays_json_whatever_is_taken_out(text: str) -> None:
    record = logging.makeLogRecord({"msg": "failed", "levelname": "INFO", "error": text})
    assert json.loads(logs.JsonFormatter().format(record))["msg"] == "failed"


def test_name_that_is_no_text_is_still_told() -> None:
    record = logging.makeLogRecord({"msg": "failed", "path": "a\udc80"})
    assert json.loads(logs.JsonFormatter().format(record))["path"] == "a\udc80"


def test_failure_that_repeats_is_told_once_until_it_changes_or_ends(
    logger: logging.Logger,
) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    failures = logs.FailureLog(logger)
    for error in (
        TransientError("Unreachable", "a"),
        TransientError("Unreachable", "b"),
        TerminalError("Unreachable", "c"),
        KeyError("d"),
        KeyError("e"),
        RuntimeError(),
    ):
        failures.failed("key", error, "failed", attempt=1)
    failures.recovered("key", "well again")
    failures.recovered("key", "well again")
    told = [(e["level"], e["msg"], e.get("error"), e["failures"]) for e in entries(stream)]
    assert told == [
        ("warning", "failed", "a", 1),
        ("warning", "failed", "c", 3),
        ("error", "failed", "'d'", 4),
        ("error", "failed", "RuntimeError", 6),
        ("info", "well again", None, 6),
    ]
    assert [e.get("reason") for e in entries(stream)] == ["Unreachable", "Unreachable", *[None] * 3]
