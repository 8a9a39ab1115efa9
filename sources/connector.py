"""Connections of aiohttp, by way of a SOCKS5 proxy where that is what there is.

aiohttp speaks to HTTP proxies itself, request by request. It knows no SOCKS, and a connection that
was made through one proxy must not serve another, so such a proxy has a connector of its own.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from typing import TYPE_CHECKING, TypedDict, Unpack

import aiohttp

from sources import socks

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

    from sources.auth.proxy import Proxy


class Options(TypedDict, total=False):
    """What connections are like; see `aiohttp.TCPConnector`."""

    ssl: tls.SSLContext | bool
    limit: int
    limit_per_host: int
    keepalive_timeout: float


def make(proxy: Proxy | None, **options: Unpack[Options]) -> aiohttp.TCPConnector:
    """Return a connector.

    Args:
        proxy: the proxy; one that speaks HTTP is still to be named with each request.
        options: of `aiohttp.TCPConnector`.
    """
    if proxy is not None and proxy.is_socks:
        return _SocksConnector(proxy, **options)
    return aiohttp.TCPConnector(**options)


def named(proxy: Proxy | None) -> str | None:
    """Return the proxy to name with a request; None where the connector sees to it."""
    return None if proxy is None or proxy.is_socks else proxy.address


class _SocksConnector(aiohttp.TCPConnector):
    """Makes every connection through a proxy, which also resolves the names."""

    def __init__(self, proxy: Proxy, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        self._proxy = proxy

    async def _create_direct_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's
        *,
        client_error: type[Exception] = aiohttp.ClientConnectorError,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        key, host = req.connection_key, req.url.raw_host or ""
        context = self._get_ssl_context(req)
        name = (req.server_hostname or host).rstrip(".") if context else None
        try:
            async with asyncio.timeout(timeout.sock_connect):
                sock = await socks.dial(self._proxy, host, req.port or 0)
                return await self._loop.create_connection(
                    self._factory, sock=sock, ssl=context, server_hostname=name
                )
        except tls.SSLCertVerificationError as err:
            raise aiohttp.ClientConnectorCertificateError(key, err) from err
        except tls.SSLError as err:
            raise aiohttp.ClientConnectorSSLError(key, err) from err
        except TimeoutError:
            raise
        except OSError as err:
            raise aiohttp.ClientProxyConnectionError(key, err) from err
