"""What a bucket holds: its objects' keys and ETags, and the revision that follows from them.

The revision is Flux's: the SHA-256 of a line ``key etag`` for each object that is kept, in the
order of the keys' bytes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sources import ignore as rules
from sources import tree as trees
from sources import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager

MAX_KEY: Final = 4096
"""Bytes of a key, as a path on this machine."""
MAX_NAME: Final = 255
"""Bytes between two slashes: no file system takes more."""


class BucketError(Exception):
    """A bucket that cannot be listed or read; the text is fit for users."""


class MissingError(BucketError):
    """There is no such bucket, or no such object."""


class BrokenError(BucketError):
    """An exchange that broke off, or found the store busy; another try may mend it."""


class ListingError(BucketError):
    """A listing that cannot be finished, or that holds what can be no artifact."""


class Listed(NamedTuple):
    """One object of a listing."""

    key: str
    etag: str
    size: int


class Content:
    """An object whose content is still to come.

    Args:
        body: where it comes from.
        etag: of this content.
        is_as_stored: whether the store sends what it lists, not something unpacked.
    """

    def __init__(self, body: web.Body, etag: str, *, is_as_stored: bool = True) -> None:
        self.etag = etag
        self.is_measured = body.length is not None or not is_as_stored
        """Whether an early end shows; else the listing has to tell the size."""
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content in pieces.

        Raises:
            BucketError: it ends early, or is longer than allowed.
        """
        try:
            async for chunk in self._body.chunks():
                yield chunk
        except web.WebError as err:
            raise broken(err) from err


def broken(error: web.WebError, text: str = "") -> BucketError:
    """Return what a failed exchange is to whoever reads a bucket.

    Args:
        error: the failure.
        text: how to word it; as the error does where empty.
    """
    return (BrokenError if web.may_pass(error) else BucketError)(text or str(error))


class Bucket(Protocol):
    """One bucket of one store, whoever runs it."""

    def objects(self, prefix: str) -> AsyncIterator[Listed]:
        """Yield the objects below a prefix, ``""`` for all.

        Raises:
            MissingError: there is no such bucket.
            BucketError: it cannot be listed.
            CredentialsError: the credentials cannot be used.
        """
        ...

    def content(self, key: str, limit: int) -> AbstractAsyncContextManager[Content]:
        """Open an object of ``limit`` bytes at most.

        Raises:
            MissingError: there is no such object.
            BucketError: it cannot be read.
        """
        ...


Index = dict[str, Listed]
"""The objects that are kept, by their keys."""


async def listed(bucket: Bucket, prefix: str, limit: int) -> Index:
    """Return every object of a bucket.

    Args:
        bucket: which.
        prefix: of their keys.
        limit: how many there may be.

    Raises:
        MissingError: there is no such bucket.
        ListingError: a listing that began cannot be finished.
        BucketError: the bucket cannot be listed at all.
    """
    found: Index = {}
    try:
        async for each in bucket.objects(prefix):
            found[each.key] = each
            if len(found) > limit:
                raise ListingError(f"there are more than {limit} objects; name a prefix")
    except BucketError as err:
        if found and not isinstance(err, ListingError):
            raise ListingError(str(err)) from err
        raise
    return found


def kept(objects: Index, ignore_file: str, patterns: str | None) -> Index:
    """Return the objects that belong into the artifact. Blocks for many objects.

    Args:
        objects: all there are.
        ignore_file: the text of the bucket's own ``.sourceignore``.
        patterns: ``spec.ignore``, which comes last and so wins.

    Raises:
        ListingError: one lies where no file can; see `paths`.
    """
    ignored = rules.only(ignore_file, patterns)
    found = {
        key: each
        for key, each in objects.items()
        if not key.endswith("/") and key != rules.FILE_NAME and not ignored.excludes(key)
    }
    paths(found)
    return found


def revision(etags: Mapping[str, str]) -> str:
    """Return the revision of some objects, ``sha256:<hex>``.

    Args:
        etags: by key.
    """
    state = hashlib.sha256()
    for key in sorted(etags, key=_bytes):
        state.update(f"{key} {etags[key]}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{state.hexdigest()}"


def paths(keys: Iterable[str]) -> dict[str, str]:
    """Return where each object lies in the artifact: its key, superfluous slashes left out.

    Raises:
        ListingError: a key leaves the artifact, is no path that a file can have, or is the same
            path as another, or a folder of it.
    """
    found: dict[str, str] = {}
    owners: dict[str, str] = {}
    for key in keys:
        path = _path(key)
        if path in owners:
            raise ListingError(f"objects {_shown(owners[path])} and {_shown(key)} are one file")
        owners[path], found[key] = key, path
    for path, key in owners.items():
        _check_parents(path, key, owners)
    return found


def _check_parents(path: str, key: str, owners: Mapping[str, str]) -> None:
    parent = path.rpartition("/")[0]
    while parent:
        if parent in owners:
            raise ListingError(
                f"object {_shown(owners[parent])} is a file, and {_shown(key)} lies below it"
            )
        parent = parent.rpartition("/")[0]


def _path(key: str) -> str:
    parts = [part for part in key.split("/") if part not in {"", "."}]
    path = "/".join(parts)
    try:
        trees.check_path(path)
    except trees.UnsafePathError as err:
        raise ListingError(f"object {_shown(key)} is no path inside an artifact") from err
    if any(ord(character) < 32 for character in path):
        raise ListingError(f"object {_shown(key)} is no path inside an artifact")
    if len(_bytes(path)) > MAX_KEY or any(len(_bytes(part)) > MAX_NAME for part in parts):
        raise ListingError(f"object {_shown(key)} has a longer name than a file may have")
    return path


def _shown(key: str) -> str:
    text = key if len(key) <= 80 else f"{key[:80]}..."
    return ascii(text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
