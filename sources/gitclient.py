"""One Git remote over HTTP(S): what it advertises, and packs from it. Blocking; dulwich speaks Git.

Every call can be ended from another thread by `Abort`: a deadline per read would let a server that
drips a byte now and then hold a thread for ever. Connections stay open between calls.

Credentials go to the origin that the URL names and nowhere else, redirects included.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import urllib3
from dulwich.client import (
    HTTPUnauthorized,
    Urllib3HttpGitClient,
    build_ls_refs_request_v2,
    extract_object_format_from_capabilities,
    read_pkt_refs_v2,
)
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.objects import ObjectID
from dulwich.protocol import Protocol, pkt_line
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProxyError

from sources import gitpack, socks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from ssl import SSLContext

    from dulwich.client import HTTPResponse
    from dulwich.refs import Ref

    from sources.auth.proxy import Proxy
    from sources.gitref import Refs

_Discovered: TypeAlias = (
    "tuple[dict[Ref, ObjectID | None], set[bytes], str, dict[Ref, Ref], dict[Ref, ObjectID]]"
)

CONNECT_S = 5.0
"""Seconds to establish a connection."""
READ_S = 30.0
"""Seconds without a byte after which a connection counts as dead."""
LISTING_BYTES = 64 * 1024 * 1024
"""Bytes that a server may list its references in: half a million of them."""
_REDIRECTS = 5
_CONNECTIONS = 2


class StatusError(GitProtocolError):
    """The server answered with an HTTP status that has no meaning in Git's protocol."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


class AbortedError(Exception):
    """The call was ended by `Abort.trigger`."""


class Abort:
    """Ends blocking calls from outside, by shutting down the sockets they use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._stops: list[Callable[[], None]] = []
        self.is_triggered = False

    @contextmanager
    def covering(self) -> Iterator[None]:
        """Make the calls of this thread inside the context end when triggered.

        Raises:
            AbortedError: it was triggered before or meanwhile.
        """
        self.check()
        token = _current.set(self)
        try:
            yield
        except Exception as err:
            if self.is_triggered:
                raise AbortedError from err
            raise
        finally:
            _current.reset(token)
        self.check()

    def check(self) -> None:
        """Raise `AbortedError` once triggered."""
        if self.is_triggered:
            raise AbortedError

    def watch(self, sock: socket.socket | None) -> None:
        """Remember a socket that the calling thread is about to wait for."""
        with self._lock:
            if sock is not None and sock not in self._sockets:
                self._sockets.append(sock)
        self.check()

    def on_trigger(self, stop: Callable[[], None]) -> None:
        """Remember what else ends the call; it may come from any thread and must not block."""
        with self._lock:
            self._stops.append(stop)
        if self.is_triggered:
            stop()
        self.check()

    def trigger(self) -> None:
        """End the calls, now and from any thread. Does not wait for them."""
        with self._lock:
            self.is_triggered = True
            for stop in self._stops:
                stop()
            for sock in self._sockets:
                with suppress(OSError):  # closed meanwhile
                    # SSLSocket.shutdown would pull the TLS state from under the reading thread.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


_current: ContextVar[Abort | None] = ContextVar("abort", default=None)


class _Watched(HTTPConnection):
    """Tells the `Abort` in charge which socket a request is about to wait for."""

    socks: Proxy | None = None
    """The SOCKS proxy on the way."""

    def _new_conn(self) -> socket.socket:
        if self.socks is None:
            return super()._new_conn()
        abort = _current.get()
        watch = abort.watch if abort else lambda _sock: None
        try:
            return socks.connect(self.socks, self.host, self.port or 0, CONNECT_S, watch)
        except OSError as err:
            raise ProxyError(f"the proxy does not lead to {self.host}", err) from err

    def connect(self) -> None:
        super().connect()
        self._watch()

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # urllib3 narrows it
        self._watch()
        return super().getresponse()

    def _watch(self) -> None:
        abort = _current.get()
        if abort is not None:
            abort.watch(self.sock)


class _WatchedTls(_Watched, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched  # type: ignore[mutable-override]  # how urllib3 is extended


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls  # type: ignore[mutable-override]  # how urllib3 is extended


class Haves:
    """What dulwich asks for the commits we have: each once, all of them shallow."""

    def __init__(self, commits: Sequence[ObjectID]) -> None:
        self.shallow = set(commits)
        self._commits = iter(commits)

    def __next__(self) -> ObjectID | None:
        return next(self._commits, None)

    def ack(self, sha: ObjectID) -> None:
        """Nothing follows from it: over HTTP the request is complete by then."""

    def nak(self) -> None:
        """The same."""


class _Known:
    """What a server of protocol version 2 said it can do, and where it redirected us."""

    def __init__(self) -> None:
        self.capabilities: set[bytes] = set()
        self.url = ""


class _Client(Urllib3HttpGitClient):
    """Dulwich's client with our authorization header and without the dumb protocol."""

    def __init__(
        self, url: str, pool: urllib3.PoolManager, authorization: str, known: _Known
    ) -> None:
        super().__init__(url, pool_manager=pool)
        self._known = known
        if authorization:
            self._auth_header = authorization
            self._auth_origin = self._origin(url)

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[HTTPResponse, Callable[[int], bytes]]:
        response, read = super()._http_request(url, headers, data, raise_for_status=False)
        if raise_for_status:
            try:
                _check(response, url)
            except Exception:
                response.close()
                raise
        is_listing = data is None or (isinstance(data, bytes) and b"command=ls-refs" in data)
        return response, _noticing_errors(_bounded(read) if is_listing else read)

    def _discover_references(
        self,
        service: bytes,
        base_url: str,
        protocol_version: int | None = None,
        ref_prefix: Sequence[bytes] | None = None,
    ) -> _Discovered:
        """List references; in protocol version 2 without asking again what the server can do.

        That halves the requests of a poll. An empty ``ref_prefix`` lists nothing.
        """
        known = self._known
        if known.capabilities:
            self.protocol_version = 2
            refs, symrefs, peeled = self._list(known, ref_prefix) if ref_prefix else ({}, {}, {})
            return refs, known.capabilities, known.url, symrefs, peeled
        found = super()._discover_references(service, base_url, protocol_version, ref_prefix)
        if self.protocol_version == 2:
            _, known.capabilities, known.url, _, _ = found
        return found

    def _list(
        self, known: _Known, prefixes: Sequence[bytes]
    ) -> tuple[dict[Ref, ObjectID | None], dict[Ref, Ref], dict[Ref, ObjectID]]:
        object_format = extract_object_format_from_capabilities(known.capabilities)
        command, arguments = build_ls_refs_request_v2(known.capabilities, object_format, prefixes)
        body = b"".join(
            (*map(pkt_line, command), b"0001", *map(pkt_line, arguments), pkt_line(None))
        )
        response, read = self._smart_request("git-upload-pack", known.url, body)
        try:
            return read_pkt_refs_v2(Protocol(read, lambda _: None).read_pkt_seq())
        finally:
            response.close()


def _check(response: HTTPResponse, url: str) -> None:
    """Raise what an answer other than Git's means, without reading it."""
    if response.status == HTTPStatus.UNAUTHORIZED:
        raise HTTPUnauthorized(response.headers.get("WWW-Authenticate"), url)
    if response.status == HTTPStatus.NOT_FOUND:
        raise NotGitRepository
    if response.status != HTTPStatus.OK:
        raise StatusError(response.status)
    content_type = response.headers.get("Content-Type", "")
    if not content_type.startswith("application/x-git-"):
        raise GitProtocolError(f"not a Git repository: the server answered {content_type!r}")


def _bounded(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Wrap the reading of a listing, which is kept in memory, so that it comes to an end."""
    received = 0

    def bounded(size: int) -> bytes:
        nonlocal received
        data = read(size)
        received += len(data)
        if received > LISTING_BYTES:
            raise gitpack.LimitError(f"more than {LISTING_BYTES >> 20} MiB of references were sent")
        return data

    return bounded


def _noticing_errors(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Wrap the reading of packets, so that one with an error in the first place is raised.

    Dulwich passes it over after a fetch request and then reports a connection that ended early,
    which would hide that the commit asked for is gone.
    """
    reads = 0

    def checked(size: int) -> bytes:
        nonlocal reads
        reads += 1
        data = read(size)
        if reads == 2 and data.startswith(b"ERR "):
            raise GitProtocolError(data[4:].decode("utf-8", "replace").strip())
        return data

    return checked


def _pool(ssl_context: SSLContext | None, proxy: Proxy | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "num_pools": _CONNECTIONS,
        "maxsize": _CONNECTIONS,
        "timeout": urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        "retries": urllib3.Retry(
            connect=0, read=0, other=0, status=0, redirect=_REDIRECTS, total=_REDIRECTS
        ),
        "ssl_context": ssl_context,
    }
    if proxy is None or proxy.is_socks:
        return urllib3.PoolManager(**options)
    return urllib3.ProxyManager(
        proxy.address, proxy_headers=proxy.headers, proxy_ssl_context=ssl_context, **options
    )


def _pool_classes(proxy: Proxy | None) -> dict[str, type[HTTPConnectionPool]]:
    """Return what makes connections, all by way of a proxy if it speaks SOCKS."""
    classes: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TlsPool}
    if proxy is None or not proxy.is_socks:
        return classes
    return {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": _through(proxy, pool.ConnectionCls)})
        for scheme, pool in classes.items()
    }


def _through(proxy: Proxy, connection: type[Any]) -> type[Any]:
    return type(connection.__name__, (connection,), {"socks": proxy})


def named(refs: Mapping[Any, bytes | None]) -> Refs:
    """Return what a remote advertises as text; names that are no UTF-8 survive the round trip."""
    return {
        name.decode("utf-8", "surrogateescape"): sha.decode()
        for name, sha in refs.items()
        if sha is not None
    }


class Remote:
    """A remote repository.

    Args:
        url: its HTTP(S) address, without user information.
        ssl_context: how to verify it, and the proxy; None where neither speaks TLS.
        proxy: on the way to it.
    """

    def __init__(
        self, url: str, ssl_context: SSLContext | None = None, proxy: Proxy | None = None
    ) -> None:
        self.url = url
        self.authorization = ""
        """The ``Authorization`` header of the requests to come; empty for none."""
        self._pool = _pool(ssl_context, proxy)
        self._pool.pool_classes_by_scheme = _pool_classes(proxy)
        self._path = urlsplit(url).path
        self._known = _Known()

    def list_refs(self, prefixes: Sequence[str], abort: Abort) -> Refs:
        """Return what the remote advertises under some name prefixes.

        Protocol version 2 sends no more than that. Annotated tags come with their commit under the
        name and ``^{}``.

        Raises:
            Exception: whatever dulwich and urllib3 raise; see `sources.giterrors`.
            AbortedError: see `Abort`.
        """
        wanted = [prefix.encode() for prefix in prefixes]
        is_guess = bool(self._known.capabilities)
        try:
            with abort.covering(), self._client() as client:
                answer = client.get_refs(self._path, ref_prefix=wanted)
        except (GitProtocolError, NotGitRepository, HTTPUnauthorized):
            # The server may have become another one; what it says when asked properly counts.
            if not is_guess:
                raise
            return self.list_refs(prefixes, abort)
        return named(answer.refs)

    def fetch(
        self,
        wants: Sequence[str],
        haves: Sequence[str],
        *,
        depth: int | None,
        sink: Callable[[bytes], object],
        abort: Abort,
    ) -> None:
        """Receive a pack with some commits.

        Args:
            wants: commits to receive with everything they need that ``haves`` do not bring.
            haves: commits whose trees are here completely.
            depth: how many generations of history; None for all.
            sink: called with each piece of the pack.
            abort: ends the call from outside.

        Raises:
            Exception: whatever dulwich and urllib3 raise; see `sources.giterrors`.
            AbortedError: see `Abort`.
        """

        def receive(data: bytes) -> int:
            abort.check()
            sink(data)
            return len(data)

        def choose(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            return [ObjectID(sha.encode()) for sha in wants]

        with abort.covering(), self._client() as client:
            client.fetch_pack(
                self._path,
                choose,
                Haves([ObjectID(sha.encode()) for sha in haves] if depth else []),
                receive,
                depth=depth,
                ref_prefix=[],
            )

    def close(self) -> None:
        """Close the idle connections; the remote stays usable."""
        self._pool.clear()

    @contextmanager
    def _client(self) -> Iterator[_Client]:
        """Lend a client; after a failure the server is asked anew what it can do."""
        try:
            yield _Client(self.url, self._pool, self.authorization, self._known)
        except Exception:
            self._known = _Known()
            raise
