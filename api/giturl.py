"""Tells whether two Git URLs name the same repository.

A webhook names the repository in the host's own ways, an object in its author's: over HTTPS, over
SSH, in the short form of scp, with or without ``.git``. All of them come down to one key. What
the key leaves out (scheme, user, port, the case of letters) differs between ways to the same
repository far more often than between repositories; and because a key only decides who looks at
its remote a little earlier, one match too many does no harm.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

_SCP: Final = re.compile(r"^(?:[^@/:]+@)?(?P<host>\[[^\]]+\]|[^/:@\[\]]+):(?P<path>(?!//).+)$")
_ALIASES: Final = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}
"""Hosts that answer SSH on port 443 for networks that close port 22."""


def key(url: str) -> str | None:
    """Return ``host/path``, equal for every form of the same repository's URL.

    Args:
        url: ``https://``, ``http://``, ``ssh://`` or ``git://`` URL, or ``[user@]host:path``.

    Returns:
        None where ``url`` names no host or no path.
    """
    parts = _split(url.strip())
    if parts is None:
        return None
    host, path = parts
    segments = [segment for segment in unquote(path).casefold().split("/") if segment]
    if not host or not segments:
        return None
    segments[-1] = segments[-1].removesuffix(".git")
    host = host.lower().rstrip(".")
    return "/".join([_ALIASES.get(host, host), *segments])


def is_same(one: str, other: str) -> bool:
    """Tell whether two URLs name the same repository; an unreadable one is equal to nothing."""
    left = key(one)
    return left is not None and left == key(other)


def _split(url: str) -> tuple[str, str] | None:
    """Return host and path."""
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        return parts.hostname or "", parts.path
    if found := _SCP.match(url):
        return found["host"].strip("[]"), found["path"]
    return None
