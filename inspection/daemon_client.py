"""Asks the running daemon over its control socket, with nothing but the standard library."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

import msgspec

from daemon import report

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S = 5.0


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def status(path: Path) -> report.Report | None:
    """Return what the daemon says of itself; None where no daemon answers at the socket."""
    body = _get(path, "/status")
    return None if body is None else msgspec.json.decode(body, type=report.Report)


def drifts(path: Path) -> tuple[report.Correction, ...] | None:
    """Return the drifts that the daemon remembers; None where no daemon answers at the socket."""
    body = _get(path, "/drift")
    return None if body is None else msgspec.json.decode(body, type=tuple[report.Correction, ...])


def _get(path: Path, target: str) -> bytes | None:
    connection = _Connection(path)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == http.HTTPStatus.OK else None
