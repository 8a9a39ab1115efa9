"""Asks the running daemon over its control socket, with nothing but a socket.

`http.client` would bring TLS and the mail parser with it, a fifth of what a command takes to start.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from daemon import report

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S: Final = 5.0
_OK: Final = re.compile(rb"HTTP/1\.[01] 200 ")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


def status(path: Path) -> report.Report | None:
    """Return what the daemon says of itself; None where no daemon answers at the socket."""
    body = _get(path, "/status")
    return None if body is None else msgspec.json.decode(body, type=report.Report)


def drifts(path: Path) -> tuple[report.Correction, ...] | None:
    """Return the drifts that the daemon remembers; None where no daemon answers at the socket."""
    body = _get(path, "/drift")
    return None if body is None else msgspec.json.decode(body, type=tuple[report.Correction, ...])


def _get(path: Path, target: str) -> bytes | None:
    """Return the body of an answer; None where there is none, or not all of it."""
    request = f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    is_whole = length is not None and len(body) == int(length[1])
    return body if _OK.match(head) and is_whole else None
