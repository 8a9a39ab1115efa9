"""A bucket of Google Cloud Storage, by its JSON API and a service account's key."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import msgspec
from yarl import URL

from sources import web
from sources.auth import jws, oauth
from sources.auth.errors import CredentialsError
from sources.bucket.listing import BucketError, Content, Listed, MissingError, broken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.web import Web

ENDPOINT: Final = "storage.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LASTS_S: Final = 3600
_FIELDS: Final = "items(name,etag,size,generation),nextPageToken"


class ServiceAccount(msgspec.Struct, frozen=True):
    """The key of a service account, as Google hands it out."""

    client_email: str
    private_key: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    private_key_id: str = ""

    def __repr__(self) -> str:
        """Return it without its key."""
        return f"ServiceAccount({self.client_email!r})"


class _Item(msgspec.Struct, frozen=True):
    name: str
    etag: str = ""
    size: str = "0"
    generation: str = ""


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    items: tuple[_Item, ...] = ()
    next_page_token: str = ""


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Refused(msgspec.Struct, frozen=True):
    error: _Error = _Error()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is."""

    bucket: str
    endpoint: str = ENDPOINT
    is_secure: bool = True
    token: str = field(default="", repr=False)
    """What to present; empty asks as nobody."""


def account(text: bytes) -> ServiceAccount:
    """Read the key of a service account.

    Raises:
        CredentialsError: it is none.
    """
    try:
        found = msgspec.json.decode(text, type=ServiceAccount)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise CredentialsError(
            "'serviceaccount' is not the JSON key of a service account: it has 'client_email' "
            "and 'private_key'"
        ) from err
    if not found.token_uri.startswith(("https://", "http://")):
        raise CredentialsError("'token_uri' of 'serviceaccount' is no https:// address")
    return found


async def token(
    client: Web, account: ServiceAccount, threads: Threads, clock: Clock, scope: str = SCOPE
) -> str:
    """Return an access token; one that may read from storage, unless another scope is wanted.

    Raises:
        CredentialsError: the key cannot be used, or Google refuses it.
    """
    assertion = await threads.run(_assertion, account, scope, clock.now().timestamp())
    form = {"grant_type": _GRANT, "assertion": assertion}
    return await oauth.token(client, account.token_uri, form)


def _assertion(account: ServiceAccount, scope: str, now_s: float) -> str:
    issued_s = int(now_s)
    claims = {
        "iss": account.client_email,
        "scope": scope,
        "aud": account.token_uri,
        "iat": issued_s,
        "exp": issued_s + _LASTS_S,
    }
    return jws.sign(
        jws.private_key(account.private_key.encode()), claims, kid=account.private_key_id
    )


class GCS:
    """One bucket.

    Args:
        client: how to reach the store.
        place: where the bucket is, and the token to present.
    """

    def __init__(self, client: Web, place: Place) -> None:
        self._web, self._place = client, place
        self._generations: dict[str, tuple[str, str]] = {}

    async def objects(self, prefix: str) -> AsyncIterator[Listed]:
        """See `sources.bucket.listing.Bucket`."""
        following = ""
        while True:
            page = await self._page(prefix, following)
            for item in page.items:
                self._generations[item.name] = (item.generation, item.etag)
                size = int(item.size) if item.size.isdecimal() else 0
                yield Listed(item.name, item.etag, size)
            if not page.next_page_token:
                return
            if page.next_page_token == following:
                raise BucketError("the listing does not go on, although it says so")
            following = page.next_page_token

    @asynccontextmanager
    async def content(self, key: str, limit: int) -> AsyncIterator[Content]:
        """See `sources.bucket.listing.Bucket`. What is read is what was listed."""
        generation, etag = self._generations.get(key, ("", ""))
        parameters = {"alt": "media"}
        if generation:
            parameters["ifGenerationMatch"] = generation
        url = self._url(f"/{quote(key, safe='')}", parameters)
        try:
            async with self._web.open("GET", url, self._headers(), limit=limit) as body:
                encoding = body.headers.get("x-goog-stored-content-encoding", "identity")
                yield Content(body, etag, is_as_stored=encoding == "identity")
        except web.StatusError as err:
            raise _refusal(err) from err
        except web.WebError as err:
            raise broken(err) from err

    async def _page(self, prefix: str, following: str) -> _Page:
        parameters = {"prefix": prefix, "fields": _FIELDS, "maxResults": "1000"}
        if following:
            parameters["pageToken"] = following
        try:
            body = await self._web.get(self._url("", parameters), self._headers)
            return msgspec.json.decode(body, type=_Page)
        except web.StatusError as err:
            raise _refusal(err) from err
        except web.WebError as err:
            raise broken(err) from err
        except (msgspec.MsgspecError, UnicodeDecodeError) as err:
            raise BucketError(f"{self._place.endpoint} does not answer as it should") from err

    def _url(self, rest: str, parameters: dict[str, str]) -> URL:
        place = self._place
        scheme = "https" if place.is_secure else "http"
        path = f"/storage/v1/b/{quote(place.bucket, safe='')}/o{rest}"
        return URL(f"{scheme}://{place.endpoint}{path}?{urlencode(parameters)}", encoded=True)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._place.token}"} if self._place.token else {}


def _refusal(err: web.StatusError) -> BucketError:
    try:
        said = msgspec.json.decode(err.body, type=_Refused).error.message[:256]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = ""
    return MissingError(said or str(err)) if err.status == 404 else broken(err, said)
