"""Connections through a SOCKS5 proxy (RFC 1928, RFC 1929). Blocking.

Names are resolved by the proxy, so that what only it can see is reached. The proxy gets the login
of its own Secret and nothing else.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """Return a connection to a host by way of a proxy.

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
    where = urlsplit(proxy.address)
    address = (where.hostname or "", where.port or DEFAULT_PORT)
    sock = socket.create_connection(address, timeout_s)
    try:
        watch(sock)
        _greet(sock, proxy)
        _request(sock, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


def _greet(sock: socket.socket, proxy: Proxy) -> None:
    methods = bytes((_NOTHING, _LOGIN)) if proxy.username else bytes((_NOTHING,))
    sock.sendall(bytes((_VERSION, len(methods))) + methods)
    version, method = _receive(sock, 2)
    if version != _VERSION:
        raise SocksError("it does not speak SOCKS5")
    if method == _LOGIN and proxy.username:
        username, password = proxy.username.encode(), proxy.password.encode()
        if max(len(username), len(password)) > 255:
            raise SocksError("its user name and password may have 255 bytes each")
        parts = (bytes((1, len(username))), username, bytes((len(password),)), password)
        sock.sendall(b"".join(parts))
        if _receive(sock, 2)[1]:
            raise SocksError("it refused its user name and password")
    elif method == _NONE_OF_THESE or method != _NOTHING:
        raise SocksError("it asks for a user name and password")


def _request(sock: socket.socket, host: str, port: int) -> None:
    sock.sendall(bytes((_VERSION, _CONNECT, 0)) + _target(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = _receive(sock, 4)
    if reply:
        raise SocksError(_REPLIES.get(reply, f"it answered {reply}"))
    lengths = {_IPV4: 4, _IPV6: 16}
    _receive(sock, (lengths.get(kind) or _receive(sock, 1)[0]) + 2)


def _target(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        if len(name) > 255:
            raise SocksError("the host's name is too long") from None
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise SocksError("it closed the connection")
        data += part
    return data
