"""Connections through a SOCKS5 proxy (RFC 1928, RFC 1929).

Names are resolved by the proxy, so that what only it can see is reached. The proxy gets the login
of its own Secret and nothing else. What is said is the same for who blocks and who does not: the
protocol yields bytes to send, or how many it wants to receive.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sources.auth.proxy import Proxy

DEFAULT_PORT: Final = 1080
_VERSION: Final = 5
_NOTHING, _LOGIN, _NONE_OF_THESE = 0, 2, 0xFF
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_REPLIES: Final = {
    1: "it failed",
    2: "its rules forbid the connection",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "the connection was refused",
    6: "it took too long",
    7: "it does not make connections",
    8: "it does not know this kind of address",
}


class SocksError(OSError):
    """The proxy does not lead there; the text says why."""


def connect(
    proxy: Proxy,
    host: str,
    port: int,
    timeout_s: float,
    watch: Callable[[socket.socket], None] = lambda _sock: None,
) -> socket.socket:
    """Return a connection to a host by way of a proxy. Blocks.

    Args:
        proxy: with a ``socks5://`` address.
        host: name or address.
        port: of the host.
        timeout_s: seconds that each step may take.
        watch: is told the socket before it is waited for.

    Raises:
        SocksError: the proxy refuses.
        OSError: it cannot be reached, or stops answering.
    """
    sock = socket.create_connection(_address(proxy), timeout_s)
    talk = _talk(proxy, host, port)
    try:
        watch(sock)
        step = next(talk)
        while step is not None:
            if isinstance(step, bytes):
                sock.sendall(step)
                step = next(talk)
            else:
                step = talk.send(_received(sock.recv(step)))
    except BaseException:
        sock.close()
        raise
    return sock


async def dial(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Return a connection as `connect` does, without blocking; the caller sets the deadline."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(*_address(proxy), type=socket.SOCK_STREAM)
    failed: OSError = SocksError("it has no address")
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
            await _converse(sock, _talk(proxy, host, port))
        except OSError as err:
            sock.close()
            if isinstance(err, SocksError):
                raise
            failed = err
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failed


async def _converse(sock: socket.socket, talk: Generator[bytes | int | None, bytes, None]) -> None:
    loop = asyncio.get_running_loop()
    step = next(talk)
    while step is not None:
        if isinstance(step, bytes):
            await loop.sock_sendall(sock, step)
            step = next(talk)
        else:
            step = talk.send(_received(await loop.sock_recv(sock, step)))


def _address(proxy: Proxy) -> tuple[str, int]:
    where = urlsplit(proxy.address)
    return where.hostname or "", where.port or DEFAULT_PORT


def _received(part: bytes) -> bytes:
    if not part:
        raise SocksError("it closed the connection")
    return part


def _talk(proxy: Proxy, host: str, port: int) -> Generator[bytes | int | None, bytes, None]:
    """Yield bytes to send, or the most bytes to receive and send in; at the end None."""
    yield from _greet(proxy)
    yield bytes((_VERSION, _CONNECT, 0)) + _target(host) + port.to_bytes(2, "big")
    _, reply, _, kind = yield from _take(4)
    if reply:
        raise SocksError(_REPLIES.get(reply, f"it answered {reply}"))
    lengths = {_IPV4: 4, _IPV6: 16}
    yield from _take((lengths.get(kind) or (yield from _take(1))[0]) + 2)
    yield None


def _greet(proxy: Proxy) -> Generator[bytes | int, bytes, None]:
    methods = bytes((_NOTHING, _LOGIN)) if proxy.username else bytes((_NOTHING,))
    yield bytes((_VERSION, len(methods))) + methods
    version, method = yield from _take(2)
    if version != _VERSION:
        raise SocksError("it does not speak SOCKS5")
    if method == _LOGIN and proxy.username:
        username, password = proxy.username.encode(), proxy.password.encode()
        if max(len(username), len(password)) > 255:
            raise SocksError("its user name and password may have 255 bytes each")
        parts = (bytes((1, len(username))), username, bytes((len(password),)), password)
        yield b"".join(parts)
        if (yield from _take(2))[1]:
            raise SocksError("it refused its user name and password")
    elif method == _NONE_OF_THESE or method != _NOTHING:
        raise SocksError("it asks for a user name and password")


def _take(size: int) -> Generator[int, bytes, bytes]:
    data = b""
    while len(data) < size:
        data += yield size - len(data)
    return data


def _target(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        if len(name) > 255:
            raise SocksError("the host's name is too long") from None
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed
