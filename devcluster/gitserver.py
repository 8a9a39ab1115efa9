"""A real Git server over HTTP: ``git http-backend`` behind Python's own server, in a thread.

It keeps a record of its requests, and can be told to misbehave, so that clients are tested against
what really happens on a network. ``python -m devcluster.gitserver`` runs one as a process.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime as dt
import hmac
import itertools
import os
import signal
import ssl
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, cast

from devcluster import certificates
from devcluster.gitrepo import Repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from types import TracebackType

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Request:
    """One request that reached the server, whether it was answered or not."""

    method: str
    path: str
    """With the query."""
    user_agent: str
    authorization: str


class GitServer:
    """Serves every bare repository below a folder.

    Args:
        root: the folder; ``<name>.git`` below it is served at ``/<name>.git``.
        port: where to listen on 127.0.0.1; 0 takes a free port.
        basic: user name and password that every request must carry.
        bearer: a token that every request must carry.
        tls: serve https, with a certificate of an authority of its own (`ca`).
        lifetime: of that certificate; a negative one has ended.
        client_ca: with ``tls``, the authority whose certificates clients must present.
        admits: decides by the ``Authorization`` header of every request.
    """

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        basic: tuple[str, str] | None = None,
        bearer: str | None = None,
        tls: bool = False,
        lifetime: dt.timedelta = dt.timedelta(days=1),
        client_ca: bytes = b"",
        admits: Callable[[str], bool] | None = None,
    ) -> None:
        self.root = root
        self.ca = b""
        self.requests: list[Request] = []
        self._admits = admits or _comparing(_authorization(basic, bearer))
        self._changed = threading.Condition()
        self._fault: Callable[[_Handler], bool] | None = None
        self._cut_after: int | None = None
        self._http = _Server(("127.0.0.1", port), _Handler)
        self._http.git = self
        self._scheme = "https" if tls else "http"
        if tls:
            self._serve_tls(client_ca, lifetime)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="git")

    def __enter__(self) -> Self:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop serving; connections that are open end."""
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._http.server_address[1])

    def url(self, name: str) -> str:
        """Return the URL of a repository."""
        return f"{self._scheme}://127.0.0.1:{self.port}/{name}.git"

    def repo(self, name: str, *, branch: str = "main") -> Repo:
        """Make a repository, or open it, with a clone to change it by."""
        return Repo(self.root / f"{name}.git", self.root / f"{name}.work", branch=branch)

    @contextlib.contextmanager
    def stalled(self, after: int = 0) -> Iterator[None]:
        """Let every request wait until the block ends; then it is answered.

        Args:
            after: answer so many requests as ever before the first one has to wait.
        """
        release, number = threading.Event(), itertools.count()

        def wait(_: _Handler) -> bool:
            if next(number) >= after:
                release.wait()
            return True

        with self._failing(wait):
            try:
                yield
            finally:
                release.set()

    @contextlib.contextmanager
    def refusing(self, status: int) -> Iterator[None]:
        """Answer every request with a status."""

        def refuse(handler: _Handler) -> bool:
            handler.reply(status, b"refused on purpose\n")
            return False

        with self._failing(refuse):
            yield

    @contextlib.contextmanager
    def redirecting(self, location: str) -> Iterator[None]:
        """Send every request elsewhere, the method and the body included."""

        def redirect(handler: _Handler) -> bool:
            handler.reply(HTTPStatus.TEMPORARY_REDIRECT, b"", location)
            return False

        with self._failing(redirect):
            yield

    @contextlib.contextmanager
    def hanging_up(self) -> Iterator[None]:
        """Close every connection without an answer."""

        def hang_up(handler: _Handler) -> bool:
            handler.close_connection = True
            return False

        with self._failing(hang_up):
            yield

    @contextlib.contextmanager
    def cutting_off(self, after_bytes: int) -> Iterator[None]:
        """Close the connection when an answer's body has reached a length."""
        self._cut_after = after_bytes
        try:
            yield
        finally:
            self._cut_after = None

    def wait_for_requests(self, count: int, timeout_s: float = 5.0) -> None:
        """Return when the server has seen so many requests since it started.

        Raises:
            TimeoutError: it has not, in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self.requests)} requests, waited for {count}")

    def admit(self, handler: _Handler) -> bool:
        """Record a request; False when it has been dealt with here."""
        headers = handler.headers
        authorization = headers.get("Authorization", "")
        agent = headers.get("User-Agent", "")
        with self._changed:
            self.requests.append(Request(handler.command, handler.path, agent, authorization))
            self._changed.notify_all()
        fault = self._fault
        if fault is not None and not fault(handler):
            return False
        if not self._admits(authorization):
            handler.reply(HTTPStatus.UNAUTHORIZED, b"who are you?\n")
            return False
        return True

    @property
    def cut_after(self) -> int | None:
        """The length at which bodies are cut off, if they are."""
        return self._cut_after

    @contextlib.contextmanager
    def _failing(self, fault: Callable[[_Handler], bool]) -> Iterator[None]:
        self._fault = fault
        try:
            yield
        finally:
            self._fault = None

    def _serve_tls(self, client_ca: bytes, lifetime: dt.timedelta) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            authority = certificates.Authority(folder)
            hosts = ("127.0.0.1", "localhost")
            pair = authority.issue("git", hosts=hosts, lifetime=lifetime)
            (folder / "pair.pem").write_bytes(pair.certificate + pair.key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "pair.pem")
            self.ca = authority.certificate_path.read_bytes()
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client_ca.decode())
        # The handshake happens in the connection's own thread, at its first read.
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128
    git: GitServer

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connections: set[_Handler] = set()

    def hang_up(self) -> None:
        """End the connections that clients keep open, so that their threads end."""
        for handler in list(self.connections):
            with contextlib.suppress(OSError):
                handler.connection.shutdown(2)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away in the middle are what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    """Speaks CGI with ``git http-backend``."""

    protocol_version = "HTTP/1.1"
    server: _Server  # type: ignore[mutable-override]  # nothing else makes a handler

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self)

    def finish(self) -> None:
        self.server.connections.discard(self)
        super().finish()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Keep quiet; `GitServer.requests` is the record."""

    def reply(self, status: int, body: bytes, location: str = "") -> None:
        """Send a short text and close the connection, since a request body may be unread."""
        self.close_connection = True
        self.send_response(status)
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _serve(self) -> None:
        if not self.server.git.admit(self):
            return
        body = self._body()
        with subprocess.Popen(
            ["git", "http-backend"],
            env=self._environment(len(body)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as backend:
            try:
                with contextlib.suppress(BrokenPipeError), cast("IO[bytes]", backend.stdin) as pipe:
                    pipe.write(body)
                self._forward(cast("BufferedReader", backend.stdout))
            finally:
                backend.kill()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _environment(self, length: int) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(self.server.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_ADDR": "127.0.0.1",
        }

    def _forward(self, answer: BufferedReader) -> None:
        """Copy a CGI answer: headers, then the body in chunks as they come."""
        headers = []
        status = HTTPStatus.OK.value
        while line := answer.readline().strip():
            name, _, text = line.decode().partition(":")
            if name.lower() == "status":
                status = int(text.split()[0])
            else:
                headers.append((name, text.strip()))
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._copy(answer)

    def _copy(self, answer: BufferedReader) -> None:
        sent, limit = 0, self.server.git.cut_after
        while chunk := answer.read1(_CHUNK):
            if limit is not None and sent + len(chunk) > limit:
                chunk = chunk[: limit - sent]
                self.close_connection = True
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b"")
            sent += len(chunk)
            if self.close_connection and limit is not None:
                return
        self.wfile.write(b"0\r\n\r\n")


def _comparing(expected: str) -> Callable[[str], bool]:
    return lambda given: not expected or hmac.compare_digest(given, expected)


def _authorization(basic: tuple[str, str] | None, bearer: str | None) -> str:
    if basic:
        return "Basic " + base64.b64encode(":".join(basic).encode()).decode()
    return f"Bearer {bearer}" if bearer else ""


def main() -> None:
    """Serve over https until a signal comes; the authority's certificate goes to a file."""
    parser = argparse.ArgumentParser(description="Serve bare Git repositories on loopback.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ca", type=Path, required=True, help="where to write the authority")
    parser.add_argument("--credentials", type=Path, help="a file with user:password")
    options = parser.parse_args()
    basic = None
    if options.credentials:
        user, _, password = options.credentials.read_text().strip().partition(":")
        basic = (user, password)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with GitServer(options.root, port=options.port, basic=basic, tls=True) as server:
        options.ca.write_bytes(server.ca)
        ended.wait()


if __name__ == "__main__":
    main()
