"""Streamable HTTP on loopback: a bearer token, and no page of a browser may call.

The token lies in a file of mode 0600 that is made at the first start. Every request needs it;
``Host`` and ``Origin`` have to be loopback's: neither a rebound name nor a web page gets in.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import PlainTextResponse

from daemon import settings as daemon_settings
from inspection import failure
from mcp_server import signals

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from mcp.server.lowlevel.server import Server
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
PATH: Final = "/mcp"


def token_of(path: Path) -> bytes:
    """Return the token of a file; one that is missing is made.

    Raises:
        failure.UsageError: others may read it, or it is empty.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, f"{secrets.token_urlsafe(32)}\n".encode())
        finally:
            os.close(file)
    try:
        return daemon_settings.read_secret(path)
    except daemon_settings.SettingsError as err:
        raise failure.UsageError(str(err)) from err


def guarded(app: ASGIApp, token: bytes) -> ASGIApp:
    """Return an application that answers nobody without the token."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_known(scope, token):
            refusal = PlainTextResponse(
                "give the token of the server's token file: Authorization: Bearer ...\n",
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
            return
        await app(scope, receive, send)

    return answer


def _is_known(scope: Scope, token: bytes) -> bool:
    headers = dict(scope["headers"])
    kind, _, given = headers.get(b"authorization", b"").partition(b" ")
    return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)


def application(server: Server[Any], token: bytes, hosts: tuple[str, ...]) -> ASGIApp:
    """Return the whole application of a server.

    Args:
        server: what answers.
        token: who may ask.
        hosts: what ``Host`` may be, with any port.
    """
    allowed = [f"[{host}]:*" if ":" in host else f"{host}:*" for host in hosts]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=allowed,
        allowed_origins=[f"http://{each}" for each in allowed],
    )
    app = server.streamable_http_app(streamable_http_path=PATH, transport_security=security)
    return guarded(app, token)


class _Web(uvicorn.Server):
    """A web server that leaves signals to who runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Begin the end; a second time, do not wait for clients."""
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(
    server: Server[Any], address: str, token_file: Path, announce: Callable[[str], None]
) -> signal.Signals | None:
    """Serve until a signal comes, and return it.

    Args:
        server: what answers.
        address: ``host:port``; port 0 takes a free one.
        token_file: holds the token; made where it is missing.
        announce: is told where it is served.

    Raises:
        failure.UsageError: the address is not loopback's, or the token file is not private.
        failure.CommandError: the address cannot be bound.
    """
    host, port = daemon_settings.split_address(address)
    if host not in LOOPBACK:
        raise failure.UsageError(
            f"--http {address}: only loopback is served; put a TLS proxy in front of it "
            "for other machines"
        )
    token = token_of(token_file)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as err:
        raise failure.CommandError(f"--http {address}: {err.strerror or err}") from err
    bound = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    app = application(server, token, tuple(LOOPBACK))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on"
    )
    web = _Web(config)
    with signals.caught(web.stop) as came:
        announce(f"serving http://{shown}:{bound}{PATH}, token in {token_file}")
        await web.serve(sockets=[listener])
    return came[0] if came else None
