"""The addresses of chart repositories, of their indexes and of the charts in them."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit, urlunsplit

from yarl import URL

from sources.oci.errors import ContentError

OCI = "oci"
_HIDDEN = re.compile(r"(?<=://)[^/?#]*@|[?#].*", re.DOTALL)


def scheme(url: str) -> str:
    """Return a URL's scheme in lower case."""
    return url.partition("://")[0].lower()


def normalise(url: str) -> str:
    """Return a URL such that two which mean the same repository are equal.

    The path of a registry ends without a slash, every other with one.

    Raises:
        ValueError: the URL does not parse.
    """
    parts = urlsplit(url)
    if parts.port == 0 or not parts.hostname:
        raise ValueError("it names no host")
    ending = "" if parts.scheme == OCI else "/"
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + ending))


def shown(url: str) -> str:
    """Return a URL as messages may have it: without user, query and fragment."""
    return _HIDDEN.sub("", url)


def index_of(url: str) -> URL:
    """Return the address of a repository's index; a query stays behind it."""
    parts = urlsplit(url)
    return _exact(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/index.yaml")))


def resolve(url: str, reference: str) -> URL:
    """Return the address of a chart.

    Args:
        url: the repository's.
        reference: what the index says: absolute, or relative to the repository, whose query it then
            gets.

    Raises:
        ContentError: it is no HTTP(S) address.
    """
    try:
        parts = urlsplit(urljoin(url, reference))
        if not urlsplit(reference).scheme:
            parts = parts._replace(query=urlsplit(url).query)
        target = _exact(urlunsplit(parts))
    except ValueError as err:
        raise ContentError(f"the index names {reference[:80]!r}, which is no URL") from err
    if target.scheme not in {"http", "https"} or not target.host:
        raise ContentError(f"the index names {reference[:80]!r}, which is no http(s) URL")
    return target


def _exact(url: str) -> URL:
    """Return a URL whose escapes stay as they are, since some are signed; others get escapes."""
    return URL(url, encoded=url.isascii() and " " not in url)
