"""A container of Azure Blob Storage, by its REST API.

Presented is what the Secret holds: an account key, which signs each request (Shared Key), a shared
access signature, or a token of Entra ID for a client with a secret or a certificate.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from yarl import URL

from sources import web
from sources.auth.errors import CredentialsError
from sources.bucket import records
from sources.bucket.listing import BucketError, Content, Listed, MissingError, broken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from runtime.clock import Clock
    from sources.web import Web

VERSION: Final = "2021-12-02"
"""The version of the API that is spoken."""
_MISSING: Final = frozenset({"BlobNotFound", "ContainerNotFound"})
_STANDARD: Final = "\n" * 11
"""The standard headers that Shared Key signs, none of which a read has."""


@dataclass(frozen=True, slots=True)
class Access:
    """What to present. At most one of the three."""

    account_key: bytes = field(default=b"", repr=False)
    sas: str = field(default="", repr=False)
    """A shared access signature: a query, without its question mark."""
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is."""

    endpoint: str
    """``https://<account>.blob.core.windows.net``."""
    container: str

    def __post_init__(self) -> None:
        """Refuse an endpoint that is no address.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                f"endpoint {self.endpoint!r} has to be an address such as "
                "https://<account>.blob.core.windows.net"
            )

    @property
    def account(self) -> str:
        """The account's name: the first label of the host."""
        return (urlsplit(self.endpoint).hostname or "").partition(".")[0]


def account_key(text: str) -> bytes:
    """Read an account key.

    Raises:
        CredentialsError: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise CredentialsError("'accountKey' is not base64") from err


class Azure:
    """One container.

    Args:
        client: how to reach the store.
        place: where the container is.
        access: what to present.
        clock: the time of signatures.
    """

    def __init__(self, client: Web, place: Place, access: Access, clock: Clock) -> None:
        self._web, self._place, self._access, self._clock = client, place, access, clock

    async def objects(self, prefix: str) -> AsyncIterator[Listed]:
        """See `sources.bucket.listing.Bucket`."""
        marker = ""
        while True:
            found, values = await self._page(prefix, marker)
            for _, each in found:
                name = each.get("Name", "")
                is_encoded = each.get("Name@Encoded") == "true"
                size = each.get("Content-Length", "")
                yield Listed(
                    unquote(name, errors="surrogateescape") if is_encoded else name,
                    _etag(each.get("Etag", "")),
                    int(size) if size.isdecimal() else 0,
                )
            following = values.get("NextMarker", "")
            if not following:
                return
            if following == marker:
                raise BucketError("the listing does not go on, although it says so")
            marker = following

    @asynccontextmanager
    async def content(self, key: str, limit: int) -> AsyncIterator[Content]:
        """See `sources.bucket.listing.Bucket`."""
        url = self._url(f"/{quote(key)}", {})
        try:
            async with self._web.open("GET", url, self._headers(url), limit=limit) as body:
                yield Content(body, _etag(body.headers.get("ETag", "")))
        except web.StatusError as err:
            raise _refusal(err) from err
        except web.WebError as err:
            raise broken(err) from err

    async def _page(
        self, prefix: str, marker: str
    ) -> tuple[list[tuple[str, dict[str, str]]], dict[str, str]]:
        parameters = {"restype": "container", "comp": "list"}
        parameters |= {"prefix": prefix} if prefix else {}
        parameters |= {"marker": marker} if marker else {}
        url = self._url("", parameters)
        try:
            body = await self._web.get(url, lambda: self._headers(url))
            return await self._web.threads.run(records.read, body, "Blob")
        except web.StatusError as err:
            raise _refusal(err) from err
        except web.WebError as err:
            raise broken(err) from err
        except records.RecordsError as err:
            raise BucketError(str(err)) from err

    def _url(self, rest: str, parameters: Mapping[str, str]) -> URL:
        query = "&".join(filter(None, (urlencode(parameters, quote_via=quote), self._access.sas)))
        base = self._place.endpoint.rstrip("/")
        path = f"{base}/{quote(self._place.container)}{rest}"
        return URL(f"{path}?{query}" if query else path, encoded=True)

    def _headers(self, url: URL) -> dict[str, str]:
        date = format_datetime(self._clock.now(), usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": VERSION}
        if self._access.token:
            headers["Authorization"] = f"Bearer {self._access.token}"
        elif self._access.account_key:
            account = self._place.account
            signature = shared_key(account, self._access.account_key, url, headers)
            headers["Authorization"] = f"SharedKey {account}:{signature}"
        return headers


def shared_key(account: str, key: bytes, url: URL, headers: Mapping[str, str]) -> str:
    """Return the signature of a read by Shared Key.

    Args:
        account: the account's name.
        key: its key.
        url: percent-encoded, query included.
        headers: those that begin with ``x-ms-``; all are signed.
    """
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    parameters = sorted(parse_qsl(url.raw_query_string, keep_blank_values=True))
    resource = f"/{account}{url.raw_path}" + "".join(
        f"\n{name.lower()}:{value}" for name, value in parameters
    )
    text = f"GET{_STANDARD}\n{lines}{resource}"
    return base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()


def _etag(text: str) -> str:
    """Return an ETag with its quotes, which listings leave out and answers do not."""
    bare = text.strip('"')
    return f'"{bare}"'


def _refusal(err: web.StatusError) -> BucketError:
    try:
        said = records.read(err.body.removeprefix(b"\xef\xbb\xbf"))[1]
    except records.RecordsError:
        said = {}
    code = err.headers.get("x-ms-error-code", "") or said.get("Code", "")
    message = said.get("Message", "").partition("\n")[0]
    text = f"{message[:256]} ({code})" if message and code else f"{err} ({code})" if code else ""
    return MissingError(text) if code in _MISSING else broken(err, text)
