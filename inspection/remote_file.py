"""Fetches a small text file by HTTPS; the pages of GitHub, GitLab and Gist lead to their files."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from inspection import failure

_MOST_BYTES: Final = 1 << 20
_TIMEOUT_S: Final = 30.0
_GITHUB: Final = re.compile(r"^https://github\.com/([^/]+)/([^/]+)/(?:blob|raw)/(.+)$")
_GITLAB: Final = re.compile(r"^(https://gitlab\.[^/]+/.+?)/-/blob/(.+)$")
_GIST: Final = re.compile(r"^https://gist\.github\.com/([^/]+)/([0-9a-f]+)/?$")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def raw_address(url: str) -> str:
    """Return the address of the file that a page shows; another address as it is."""
    if found := _GITHUB.match(url):
        return f"https://raw.githubusercontent.com/{found[1]}/{found[2]}/{found[3]}"
    if found := _GITLAB.match(url):
        return f"{found[1]}/-/raw/{found[2]}"
    if found := _GIST.match(url):
        return f"https://gist.githubusercontent.com/{found[1]}/{found[2]}/raw"
    return url


async def fetch(url: str) -> str:
    """Return the text of a file.

    Raises:
        failure.UsageError: the address is not https, or of a kind that is not served.
        failure.CommandError: it cannot be fetched, or is no small text.
    """
    address = raw_address(url)
    parts = urlsplit(address)
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if parts.scheme != "https" and not is_local:
        raise failure.UsageError(
            f"{url}: only https:// and oci:// addresses are fetched; a manifest at hand is applied "
            "with apply_kubernetes_manifest"
        )
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(address) as answer,
        ):
            if answer.status != 200:
                raise failure.CommandError(f"{address} answers HTTP {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _MOST_BYTES:
                    limit = f"{_MOST_BYTES >> 20} MiB"
                    raise failure.CommandError(f"{address} is larger than {limit}")
    except (aiohttp.ClientError, TimeoutError) as err:
        reason = str(err) or type(err).__name__
        raise failure.CommandError(f"{address} cannot be fetched: {reason}") from err
    try:
        return body.decode()
    except UnicodeDecodeError as err:
        raise failure.CommandError(f"{address} is not text") from err
