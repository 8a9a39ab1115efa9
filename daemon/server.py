"""The HTTP listeners: one small aiohttp application each, bound before any cluster is served.

Binding first means that a port in use is reported at the start, and that the artifacts' URL is
known before the first artifact is stored.

Exception tree::

    ListenError    an address cannot be bound; the message names the setting
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import prometheus_client
from aiohttp import web

from daemon import settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TYPES = {
    ".tar.gz": "application/gzip",
    ".tgz": "application/gzip",
    ".yaml": "application/yaml",
}
"""Media types of artifacts by how their names end."""
_DIGESTS = 256
"""Files whose digests are kept."""
_GRACE_S = 1.0
"""Seconds a request in flight may take when its listener closes."""


class ListenError(Exception):
    """A listener cannot be opened."""


@dataclass(frozen=True, slots=True)
class Health:
    """What `/readyz` answers."""

    is_ready: bool
    text: str
    """One line for each cluster that is not ready, or ``ok``."""


class Listener:
    """One bound address and the application behind it.

    Args:
        key: the setting that names the address, for messages.
        address: ``host:port``; empty for a listener that is switched off.
        app: what answers.
    """

    def __init__(self, key: str, address: str, app: web.Application) -> None:
        self.key = key
        self.bound = ""
        """``host:port`` as bound; empty while closed."""
        self._address = address
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE_S)

    async def open(self) -> None:
        """Bind and begin to answer.

        Raises:
            ListenError: the address is in use, or is none of this machine's.
        """
        if not self._address:
            return
        host, port = settings.split_address(self._address)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as err:
            await self._runner.cleanup()
            raise ListenError(self._reason(err)) from err
        bound_host, bound_port = self._runner.addresses[0][:2]
        self.bound = (
            f"[{bound_host}]:{bound_port}" if ":" in bound_host else f"{bound_host}:{bound_port}"
        )

    async def close(self) -> None:
        """Stop accepting, let requests in flight end, and close."""
        self.bound = ""
        await self._runner.cleanup()

    def _reason(self, err: OSError) -> str:
        """Say why the address cannot be bound, and what to do."""
        setting = f"[listen] {self.key} = {self._address!r}"
        if err.errno == errno.EADDRINUSE:
            return f"{setting}: another process listens there; choose another port"
        if err.errno == errno.EACCES:
            return f"{setting}: this user may not bind it; choose a port above 1023"
        return f"{setting}: {err.strerror or err}"


def artifacts_app(root: Path) -> web.Application:
    """Serve the artifacts below ``root``: GET, HEAD, ranges and conditional requests, no more.

    Folders are never listed, and neither ``..`` nor a symbolic link leads out of ``root``; a link
    inside, such as ``latest.tar.gz``, is followed. Every answer has an ``ETag`` and the digest of
    the whole file (``Repr-Digest``, RFC 9530), also the answer to a range.
    """
    digests = _Digests()

    async def serve(request: web.Request) -> web.StreamResponse:
        path = await asyncio.to_thread(_resolve, root, request.match_info["path"])
        if path is None:
            raise web.HTTPNotFound
        try:
            digest = await asyncio.to_thread(digests.of, path)
        except OSError as err:
            raise web.HTTPNotFound from err
        headers = {"Content-Type": _TYPES[_suffix(path.name)], "Repr-Digest": digest}
        return web.FileResponse(path, headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.+}", serve)
    return app


class _Digests:
    """The digests of files, each file hashed once as long as it is not touched."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], str]] = {}

    def of(self, path: Path) -> str:
        """Return the digest of a file as a header has it. Blocks."""
        stat = path.stat()
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != seen:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            known = (seen, f"sha-256=:{base64.b64encode(digest).decode()}:")
        self._known.pop(path, None)
        self._known[path] = known
        for oldest in list(self._known)[:-_DIGESTS]:  # other threads change it too
            self._known.pop(oldest, None)
        return known[1]


def metrics_app(
    registry: prometheus_client.CollectorRegistry, health: Callable[[], Health]
) -> web.Application:
    """Serve ``/metrics``, ``/healthz`` (the loop turns) and ``/readyz`` (what ``health`` says)."""

    async def metrics(_request: web.Request) -> web.Response:
        body = await asyncio.to_thread(prometheus_client.generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": _METRICS_TYPE})

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        state = health()
        return web.Response(text=f"{state.text}\n", status=200 if state.is_ready else 503)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def _resolve(root: Path, relative: str) -> Path | None:
    """Return the artifact a request names, or None where it names none below ``root``."""
    try:
        base, path = root.resolve(), (root / relative).resolve(strict=True)
    except (OSError, ValueError):
        return None
    is_artifact = path.is_relative_to(base) and bool(_suffix(path.name))
    return path if is_artifact and path.is_file() else None


def _suffix(name: str) -> str:
    """Return how the name of an artifact ends; empty for what is none, or not whole yet."""
    if name.startswith("."):
        return ""
    return next((suffix for suffix in _TYPES if name.endswith(suffix)), "")
