"""A bucket of an S3-compatible store: MinIO, Amazon S3, and whoever speaks as they do.

Requests are signed for the region of the spec, else the one that the endpoint's name tells, else
``us-east-1``; a store that names another one in its refusal is asked again with that.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from yarl import URL

from sources import web
from sources.bucket import records, sigv4
from sources.bucket.listing import BucketError, Content, Listed, MissingError, broken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from runtime.clock import Clock
    from sources.bucket.sigv4 import Keys
    from sources.web import Web

DEFAULT_REGION: Final = "us-east-1"
_AWS: Final = re.compile(r"(?:^|\.)amazonaws\.com(?:\.cn)?$")
_AWS_REGION: Final = re.compile(
    r"^(?:.*\.)?s3(?:-fips)?[.-](?:dualstack\.)?(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d)\.amazonaws\.com"
)
_VIRTUAL: Final = re.compile(
    r"(?:^|\.)(?:amazonaws\.com(?:\.cn)?|aliyuncs\.com)$|^storage\.googleapis\.com$"
)
_HOST_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_ENDPOINT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is."""

    endpoint: str
    """``host`` or ``host:port``."""
    bucket: str
    region: str = ""
    """Empty where nobody says."""
    is_secure: bool = True

    def __post_init__(self) -> None:
        """Refuse an endpoint that is more than a host.

        Raises:
            ValueError: it is.
        """
        if not _ENDPOINT.fullmatch(self.endpoint):
            raise ValueError(
                f"endpoint {self.endpoint!r} has to be a host, or host:port, without scheme or path"
            )

    @property
    def signed_region(self) -> str:
        """The region to sign for, as far as it can be told."""
        named = _AWS_REGION.match(self.endpoint)
        return self.region or (named["region"] if named else DEFAULT_REGION)

    @property
    def origin(self) -> tuple[str, str]:
        """The host to ask and the path of the bucket there."""
        name, colon, port = self._host.partition(":")
        is_label = bool(_HOST_LABEL.fullmatch(self.bucket))
        if is_label and _VIRTUAL.search(name):
            return f"{self.bucket}.{name}{colon}{port}", "/"
        return self._host, f"/{self.bucket}"

    @property
    def _host(self) -> str:
        """The endpoint; for Amazon's global one, that of the region."""
        if self.endpoint == "s3.amazonaws.com" and self.signed_region != DEFAULT_REGION:
            return f"s3.{self.signed_region}.amazonaws.com"
        return self.endpoint


class S3:
    """One bucket.

    Args:
        client: how to reach the store.
        place: where the bucket is.
        keys: whom to sign as; None asks as nobody.
        clock: the time of signatures.
        page: objects that are asked for at once; no store gives more than a thousand.
    """

    def __init__(
        self, client: Web, place: Place, keys: Keys | None, clock: Clock, page: int = 1000
    ) -> None:
        self._web, self._place, self._keys, self._clock = client, place, keys, clock
        self._page_size = page

    async def objects(self, prefix: str) -> AsyncIterator[Listed]:
        """See `sources.bucket.listing.Bucket`."""
        token = ""
        while True:
            found, values = await self._page(prefix, token)
            is_encoded = values.get("EncodingType") == "url"
            for _, each in found:
                key = each.get("Key", "")
                yield Listed(
                    unquote_plus(key, errors="surrogateescape") if is_encoded else key,
                    each.get("ETag", "").strip('"'),
                    _number(each.get("Size", "")),
                )
            following = values.get("NextContinuationToken", "")
            if values.get("IsTruncated") != "true":
                return
            if not following or following == token:
                raise BucketError("the listing does not go on, although it says so")
            token = following

    @asynccontextmanager
    async def content(self, key: str, limit: int) -> AsyncIterator[Content]:
        """See `sources.bucket.listing.Bucket`."""
        try:
            target = self._target(f"/{key}", [])
            async with self._web.open(
                "GET", self._url(target), self._headers(target), limit=limit
            ) as body:
                yield Content(body, body.headers.get("ETag", "").strip('"'))
        except web.StatusError as err:
            raise _refusal(err) from err
        except web.WebError as err:
            raise broken(err) from err

    async def _page(
        self, prefix: str, token: str
    ) -> tuple[list[tuple[str, dict[str, str]]], dict[str, str]]:
        parameters = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)]
        parameters.append(("max-keys", str(self._page_size)))
        parameters += [("continuation-token", token)] if token else []
        try:
            body = await self._get(parameters)
            return await self._web.threads.run(records.read, body, "Contents", "CommonPrefixes")
        except web.StatusError as err:
            raise _refusal(err) from err
        except web.WebError as err:
            raise broken(err) from err
        except records.RecordsError as err:
            raise BucketError(str(err)) from err

    async def _get(self, parameters: list[tuple[str, str]]) -> bytes:
        """Ask about the bucket; once more where the store says which region it is in."""
        try:
            return await self._ask(parameters)
        except web.StatusError as err:
            region = _region(err)
            if not region or region == self._place.signed_region or self._place.region:
                raise
            self._place = replace(self._place, region=region)
        return await self._ask(parameters)

    async def _ask(self, parameters: list[tuple[str, str]]) -> bytes:
        target = self._target("", parameters)
        return await self._web.get(self._url(target), lambda: self._headers(target))

    def _target(self, key: str, parameters: list[tuple[str, str]]) -> str:
        base = self._place.origin[1]
        where = sigv4.path(f"{base.rstrip('/')}{key}" or "/")
        return f"{where}?{sigv4.query(parameters)}" if parameters else where

    def _url(self, target: str) -> URL:
        scheme = "https" if self._place.is_secure else "http"
        return URL(f"{scheme}://{self._place.origin[0]}{target}", encoded=True)

    def _headers(self, target: str) -> Mapping[str, str]:
        headers = {"Host": _host_header(self._place)}
        if self._keys is None:
            return headers
        scope = sigv4.Scope(self._place.signed_region)
        return sigv4.sign("GET", target, headers, self._keys, scope, self._clock.now())


def _host_header(place: Place) -> str:
    """Return the host as HTTP clients send it: without the port that the scheme implies."""
    host = place.origin[0]
    return host.removesuffix(":443" if place.is_secure else ":80")


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _error(err: web.StatusError) -> dict[str, str]:
    try:
        return records.read(err.body)[1]
    except records.RecordsError:
        return {}


def _region(err: web.StatusError) -> str:
    return err.headers.get("x-amz-bucket-region", "") or _error(err).get("Region", "")


def _refusal(err: web.StatusError) -> BucketError:
    """Return what a refusal means, in the store's words where it has any."""
    said = _error(err)
    code, message = said.get("Code", ""), said.get("Message", "")
    text = f"{message[:256]} ({code})" if message and code else str(err)
    return MissingError(text) if code in _MISSING else broken(err, text)
