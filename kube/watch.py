"""A collection as it is and as it changes: list, watch, resume, list again.

`watch` is one endless iterator. It begins with `Listed` pages and a `Synced`, then yields each
change. What breaks is mended inside: a lost connection resumes from the last resourceVersion
(bookmarks keep it young), a resourceVersion that the server forgot (410) is answered by a new list.
So a consumer sees every object's last state, though not every state between. It learns from
`Synced.keys` what is gone after a list.

Lists come in pages and are never whole in memory. resourceVersions are compared as integers, which
Kubernetes guarantees from 1.35 on and etcd always did.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from api import meta
from kube import errors
from kube.objects import PartialMeta, PartialObject

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator

    from kube.client import Client
    from kube.objects import Resource
    from runtime.clock import Clock

BACKOFF_S: Final = (0.25, 30.0)
"""First and longest pause before a watch that broke is opened again."""
SERVER_TIMEOUT_S: Final = (300, 600)
"""The server ends each watch after a random time in this range: not all of them together."""
SHORTEST_WATCH_S: Final = 1.0
"""A watch that ends sooner counts as a failure, so that a broken proxy is not asked in a loop."""


class HasMeta(Protocol):
    """Any typed Kubernetes object."""

    @property
    def metadata(self) -> meta.ObjectMeta:
        """Its metadata."""
        ...


T = TypeVar("T", bound=HasMeta)


@dataclass(slots=True, frozen=True)
class Listed(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]


@dataclass(slots=True, frozen=True)
class Synced:
    """The list is complete: what is not in `keys`, and not newer than the list, does not exist."""

    resource_version: int
    keys: frozenset[tuple[str, str]]
    """(namespace, name) of everything that was listed."""


@dataclass(slots=True, frozen=True)
class Added(Generic[T]):
    """An object that is new to this watch: created, or newly selected."""

    object: T


@dataclass(slots=True, frozen=True)
class Modified(Generic[T]):
    """A new state of an object."""

    object: T


@dataclass(slots=True, frozen=True)
class Deleted(Generic[T]):
    """An object's last state: it is deleted, or no longer selected."""

    object: T


@dataclass(slots=True, frozen=True)
class Malformed:
    """An object that is there but does not decode; one bad object does not stop the others."""

    metadata: PartialMeta
    message: str
    """What is wrong, with the field's path."""


@dataclass(slots=True, frozen=True)
class Bookmark:
    """Every change up to this resourceVersion was delivered."""

    resource_version: int


@dataclass(slots=True, frozen=True)
class Interrupted:
    """The connection is lost or refused; the watch goes on trying."""

    error: errors.ApiError


@dataclass(slots=True, frozen=True)
class Resumed:
    """The watch is open, at its beginning and after each interruption."""


Change: TypeAlias = (
    Listed[T]
    | Synced
    | Added[T]
    | Modified[T]
    | Deleted[T]
    | Malformed
    | Bookmark
    | Interrupted
    | Resumed
)


_PROGRESS: Final = (Added, Modified, Deleted, Bookmark)
"""What shows that a watch is well: a list alone does not, nor that it could be opened."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Selection:
    """Which part of a collection is watched, and how."""

    namespace: str = ""
    """One namespace; empty for all."""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False
    """Ask for `PartialObject` in place of whole objects."""
    page_size: int = 250
    relist_every_s: tuple[float, float] | None = None
    """List again after a random time in this range, to mend what a watch may
    have missed; None: never."""


class LineSplitter:
    """Cuts a stream of pieces into lines of any length, joining the parts of a line once."""

    def __init__(self) -> None:
        self._tail: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next piece and return the lines that it completes, without empty ones."""
        *lines, rest = piece.split(b"\n")
        if lines and self._tail:
            self._tail.append(lines[0])
            lines[0] = b"".join(self._tail)
            self._tail.clear()
        if rest:
            self._tail.append(rest)
        return [line for line in lines if line]


class _Line(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Failure(meta.Struct, frozen=True):
    code: int = 500


class _Page(msgspec.Struct, Generic[T], frozen=True):
    metadata: meta.ObjectMeta
    items: tuple[T, ...] | None = None
    """Null where a list of metadata is empty."""


class _RawPage(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] | None = None


_LINE = msgspec.json.Decoder(_Line)
_RAW_PAGE = msgspec.json.Decoder(_RawPage)
_PARTIAL = msgspec.json.Decoder(PartialObject)
_FAILURE = msgspec.json.Decoder(_Failure)


def version(obj: HasMeta) -> int:
    """Return an object's resourceVersion as the integer that it is."""
    return int(obj.metadata.resource_version or 0)


def key(obj: HasMeta) -> tuple[str, str]:
    """Return an object's (namespace, name)."""
    return obj.metadata.namespace, obj.metadata.name


class _Codec(Generic[T]):
    """Decodes pages and lines; an object that does not decode becomes `Malformed`."""

    def __init__(self, type_: type[T]) -> None:
        self._object = msgspec.json.Decoder(type_)
        # mypy cannot subscript a class by a variable; msgspec can.
        self._page: msgspec.json.Decoder[_Page[T]] = msgspec.json.Decoder(_Page[type_])  # type: ignore[valid-type]

    def object(self, raw: bytes | msgspec.Raw) -> T | Malformed:
        try:
            return self._object.decode(raw)
        except msgspec.ValidationError as error:
            return Malformed(_PARTIAL.decode(raw).metadata, str(error))

    def page(self, raw: bytes) -> tuple[str, tuple[T, ...], list[Malformed]]:
        """Return a page's resourceVersion, its objects and what did not decode."""
        try:
            page = self._page.decode(raw)
        except msgspec.ValidationError:
            each = [self.object(item) for item in _RAW_PAGE.decode(raw).items or ()]
            good = tuple(item for item in each if not isinstance(item, Malformed))
            bad = [item for item in each if isinstance(item, Malformed)]
            return _PARTIAL.decode(raw).metadata.resource_version, good, bad
        return page.metadata.resource_version, page.items or (), []

    def line(self, raw: bytes) -> Change[T]:
        """Return what a line says.

        Raises:
            ApiError: it is the server's reason to end the watch.
        """
        line = _LINE.decode(raw)
        if line.type == "BOOKMARK":
            return Bookmark(int(_PARTIAL.decode(line.object).metadata.resource_version))
        if line.type == "ERROR":
            raise errors.from_response(_FAILURE.decode(line.object).code, bytes(line.object))
        obj = self.object(line.object)
        if isinstance(obj, Malformed):
            return obj
        match line.type:
            case "ADDED":
                return Added(obj)
            case "DELETED":
                return Deleted(obj)
            case _:
                return Modified(obj)


async def watch(
    client: Client,
    resource: Resource,
    type_: type[T],
    selection: Selection = Selection(),
    *,
    clock: Clock,
    rng: random.Random,
) -> AsyncGenerator[Change[T], None]:
    """List a collection and then follow it, without end.

    Close the iterator (``contextlib.aclosing``) to end the watch.

    Args:
        client: whose identity reads.
        resource: the kind.
        type_: what objects are decoded into; `PartialObject` where only metadata is asked for.
        selection: which part of the collection.
        clock: for the next relist.
        rng: for the server's time-outs, pauses and relists.

    Yields:
        `Listed` pages, `Synced`, `Resumed`, then changes; `Interrupted` for each failed attempt.

    Raises:
        Forbidden: RBAC does not let this client list or watch here.
        NotFound: the kind is not, or no longer, served.
        BadRequest: a selector cannot be read.
    """
    follower = _Follower(client, resource, _Codec(type_), selection, clock, rng)
    failures = 0
    while True:
        try:
            async with aclosing(follower.round()) as changes:
                async for change in changes:
                    if isinstance(change, _PROGRESS):
                        failures = 0
                    yield change
            failures = 0
            continue
        except (errors.Forbidden, errors.NotFound, errors.BadRequest):
            raise
        except errors.ApiError as error:
            failure = error
        if isinstance(failure, errors.Gone):
            follower.forget()
        failures += 1
        yield Interrupted(failure)
        await asyncio.sleep(_pause_s(failure, failures, rng))


class _Follower(Generic[T]):
    """Where a watch stands; each `round` is one list, if one is due, and one watch request."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        codec: _Codec[T],
        selection: Selection,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._client, self._resource, self._codec = client, resource, codec
        self._selection, self._clock, self._rng = selection, clock, rng
        self._version = 0
        self._relist_at = math.inf

    def forget(self) -> None:
        """Let the next round begin with a list."""
        self._version = 0

    async def round(self) -> AsyncGenerator[Change[T], None]:
        if not self._version or self._clock.monotonic() >= self._relist_at:
            async for change in self._list():
                yield change
        async for change in self._watch():
            yield change

    async def _list(self) -> AsyncGenerator[Change[T], None]:
        keys: set[tuple[str, str]] = set()
        at = "0"
        async for raw in self._client.list_pages(
            self._resource,
            namespace=self._selection.namespace,
            label_selector=self._selection.label_selector,
            field_selector=self._selection.field_selector,
            metadata_only=self._selection.metadata_only,
            limit=self._selection.page_size,
        ):
            at, items, malformed = self._codec.page(raw)
            keys.update(key(item) for item in items)
            yield Listed(items)
            for each in malformed:
                keys.add((each.metadata.namespace, each.metadata.name))
                yield each
        self._version = int(at)
        if self._selection.relist_every_s is not None:
            wait_s = self._rng.uniform(*self._selection.relist_every_s)
            self._relist_at = self._clock.monotonic() + wait_s
        yield Synced(self._version, frozenset(keys))

    async def _watch(self) -> AsyncGenerator[Change[T], None]:
        opened = self._clock.monotonic()
        timeout_s = self._rng.uniform(*SERVER_TIMEOUT_S)
        timeout_s = min(timeout_s, max(self._relist_at - opened, 1))
        lines = LineSplitter()
        async with self._client.watch(
            self._resource,
            resource_version=str(self._version),
            timeout_s=math.ceil(timeout_s),
            namespace=self._selection.namespace,
            label_selector=self._selection.label_selector,
            field_selector=self._selection.field_selector,
            metadata_only=self._selection.metadata_only,
        ) as pieces:
            yield Resumed()
            async for piece in pieces:
                for line in lines.feed(piece):
                    change = self._codec.line(line)
                    self._note(change)
                    yield change
        if self._clock.monotonic() - opened < SHORTEST_WATCH_S:
            raise errors.Unreachable(f"{self._client.server} ends watches at once")

    def _note(self, change: Change[T]) -> None:
        match change:
            case Added(obj) | Modified(obj) | Deleted(obj):
                self._version = max(self._version, version(obj))
            case Bookmark(resource_version):
                self._version = max(self._version, resource_version)
            case Malformed(metadata):
                self._version = max(self._version, int(metadata.resource_version))
            case _:
                pass


def _pause_s(error: errors.ApiError, failures: int, rng: random.Random) -> float:
    """Return how long to wait; a forgotten resourceVersion is no reason to wait at first."""
    if isinstance(error, errors.Gone) and failures == 1:
        return 0.0
    first, longest = BACKOFF_S
    pause_s = min(longest, first * 2.0 ** min(failures - 1, 16)) * rng.uniform(0.5, 1.0)
    return max(pause_s, error.retry_after_s or 0.0)
