"""What answers at a control socket, and what only seems to."""

from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from daemon import report
from inspection import daemon_client

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT = report.Report(version="1", pid=7, started="", memory_bytes=1, config="c.toml")
BODY = msgspec.json.encode(REPORT)


@pytest.fixture
def path() -> Iterator[Path]:
    """The place of a socket: short, as every platform wants it."""
    with tempfile.TemporaryDirectory(prefix="ctl") as folder:
        yield Path(folder) / "control.sock"


def answered(path: Path, *pieces: bytes) -> report.Report | None:
    """Ask somebody who sends these pieces and closes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                for piece in pieces:
                    connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        found = daemon_client.status(path)
        thread.join()
    return found


def head(status: str = "200 OK", length: int = len(BODY)) -> bytes:
    return f"HTTP/1.0 {status}\r\nContent-Type: json\r\nContent-Length: {length}\r\n\r\n".encode()


def test_answer_may_come_in_any_pieces(path: Path) -> None:
    whole = head() + BODY

    assert answered(path, whole[:10], whole[10:50], whole[50:]) == REPORT


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"SSH-2.0-OpenSSH_9.6\r\n",),
        (head()[:20],),
        (head(), BODY[:10]),
        (head("404 Not Found"), BODY),
        (head("500 Internal Server Error"), BODY),
    ],
    ids=["nothing", "another protocol", "half a head", "half a body", "old daemon", "broken"],
)
def test_what_is_no_whole_answer_is_no_daemon(path: Path, pieces: tuple[bytes, ...]) -> None:
    assert answered(path, *pieces) is None


def test_file_that_nobody_listens_at_is_no_daemon(path: Path) -> None:
    assert daemon_client.status(path) is None
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    assert daemon_client.status(path) is None
    assert daemon_client.drifts(path) is None


def test_path_that_is_too_long_for_a_socket_is_no_daemon(tmp_path: Path) -> None:
    assert daemon_client.status(tmp_path / ("x" * 200) / "control.sock") is None
