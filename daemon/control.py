"""The control socket: how the CLI asks the running daemon what it does.

A Unix socket of mode 0600 in the data directory speaks a little HTTP, so that ``curl
--unix-socket`` works too. Who may open it is the user the daemon runs as; nothing else is asked.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from daemon import report

_LONGEST_PATH = 103
"""Bytes of a socket path that every supported platform accepts."""


class ControlError(Exception):
    """The control socket cannot be opened; the message says what to do."""


class Control:
    """Serves ``GET /status``, ``GET /drift`` and ``POST /reload``.

    Args:
        path: where the socket lies.
        status: what to answer to ``/status``; a moment's snapshot.
        reload: reads the settings again; returns a line for the user.
        drifts: what to answer to ``/drift``.
    """

    def __init__(
        self,
        path: Path,
        status: Callable[[], report.Report],
        reload: Callable[[], str],
        drifts: Callable[[], Sequence[report.Correction]] = tuple,
    ) -> None:
        self._path = path
        self._status = status
        self._reload = reload
        self._drifts = drifts
        app = web.Application()
        app.router.add_get("/status", self._answer_status)
        app.router.add_get("/drift", self._answer_drift)
        app.router.add_post("/reload", self._answer_reload)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def open(self) -> None:
        """Bind the socket in the place of one that a killed daemon left; the caller has the lock.

        Raises:
            ControlError: the path is too long or cannot be bound.
        """
        if len(os.fsencode(self._path)) > _LONGEST_PATH:
            raise ControlError(
                f"control socket {self._path}: the path is longer than {_LONGEST_PATH} bytes; "
                "set [daemon] control_socket to a shorter one"
            )
        await self._runner.setup()
        previous = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)
            await web.UnixSite(self._runner, str(self._path)).start()
        except OSError as err:
            raise ControlError(f"control socket {self._path}: {err.strerror or err}") from err
        finally:
            os.umask(previous)

    async def close(self) -> None:
        """Stop answering and remove the socket."""
        await self._runner.cleanup()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    async def _answer_status(self, _request: web.Request) -> web.Response:
        body = msgspec.json.encode(self._status())
        return web.Response(body=body, content_type="application/json")

    async def _answer_drift(self, _request: web.Request) -> web.Response:
        body = msgspec.json.encode(self._drifts())
        return web.Response(body=body, content_type="application/json")

    async def _answer_reload(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"{self._reload()}\n")
