"""What registries hold: tags, manifests, blobs, and what refers to them.

Everything is asked for by digest but the one thing that may move, a tag, and what arrives is
compared with the digest and the length that were announced. Nothing is cached: an unchanged tag
costs a HEAD, and all who ask the same at the same time share it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from api import durations
from sources.auth import tls
from sources.auth.keep import Keep
from sources.oci import access, joint, keychain, manifests, names, transport
from sources.oci.errors import ConnectionFailed, ContentError
from sources.oci.manifests import Descriptor, Index, Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from typing import BinaryIO

    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.auth.proxy import Proxy
    from sources.auth.tls import Trust
    from sources.oci.access import Access
    from sources.oci.keychain import Login
    from sources.oci.names import Name
    from sources.oci.transport import Answer

REMEMBERED: Final = 1024
"""Ways into repositories that are remembered, each with a token of some kB; the oldest goes."""
PAGE: Final = 1000
"""Tags asked for at once; many registries give fewer."""
TAGS: Final = 200_000
"""Tags of one repository beyond which something is badly wrong."""
REFERRERS: Final = 10_000
"""Referrers of one manifest beyond which something is badly wrong."""
_ACCEPT: Final = ", ".join(manifests.ACCEPTED)
_NEXT: Final = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_WRITE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository in a registry, and how to talk to it."""

    name: Name
    login: Login = keychain.ANONYMOUS
    trust: Trust = tls.SYSTEM
    """For ``insecure`` without a CA, one that takes any certificate; the caller decides."""
    proxy: Proxy | None = None
    insecure: bool = False
    """Whether to speak in clear where the registry does not speak TLS."""
    timeout_s: float = 60.0
    """Seconds that each operation may take."""

    @property
    def key(self) -> bytes:
        """What all that would be sent the same way have in common."""
        through = self.proxy.identity if self.proxy else b""
        parts = (str(self.name).encode(), self.login.identity, self.trust.identity, through)
        return tls.digest(b"repository", *parts, b"%d" % self.insecure)


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest as a registry sent it."""

    descriptor: Descriptor
    """Its media type is what the registry called it."""
    content: bytes


class _Tags(msgspec.Struct):
    tags: tuple[str, ...] | None = None


class Registries:
    """Asks registries. One serves the whole daemon; nothing is opened before the first request.

    Every method raises `errors.RegistryError` when a registry does not give what is asked for, and
    `sources.auth.errors.CredentialsError` when the CA or the client's certificate cannot be used.

    Args:
        threads: writes files and makes TLS contexts.
        clock: tells when tokens end.
    """

    def __init__(self, threads: Threads, clock: Clock) -> None:
        self._threads = threads
        self._clock = clock
        self._http = transport.Transport(threads)
        self._accesses: dict[bytes, Access] = {}
        self._resolving: joint.Joint[Descriptor] = joint.Joint()
        self._listing: joint.Joint[tuple[str, ...]] = joint.Joint()
        self.borrowed = Keep(clock)
        """The logins that clouds have lent."""

    async def aclose(self) -> None:
        """Close all connections."""
        self._accesses.clear()
        await self._http.aclose()

    async def tags(self, repository: Repository) -> tuple[str, ...]:
        """Return all tags of a repository, in the registry's order.

        Raises:
            RegistryError: see the class.
        """
        async with _within(repository):
            return await self._listing.call(repository.key, lambda: self._tags(repository))

    async def resolve(self, repository: Repository, reference: str) -> Descriptor:
        """Return what a tag means now, or whether a digest is there: by HEAD, else by GET.

        Raises:
            RegistryError: see the class.
        """
        key = (repository.key, reference)
        async with _within(repository):
            return await self._resolving.call(key, lambda: self._resolve(repository, reference))

    async def manifest(self, repository: Repository, digest: str) -> Manifest:
        """Return a manifest; of an index, the one for linux/amd64, as in Flux.

        Raises:
            RegistryError: see the class.
        """
        async with _within(repository):
            found = await self._manifest(repository, digest)
            if isinstance(found, Index):
                found = await self._manifest(repository, found.default().digest)
            if isinstance(found, Index):
                raise ContentError("an index in an index is no artifact")
            return found

    async def document(
        self, repository: Repository, digest: str, accept: str = _ACCEPT
    ) -> Document:
        """Return a manifest or an index as it is, verified.

        Args:
            repository: where it is.
            digest: which.
            accept: media types that are wanted.

        Raises:
            RegistryError: see the class.
        """
        async with _within(repository):
            answer = await self._sent(repository, digest, accept)
            name = answer.headers.get("Content-Type", "").partition(";")[0].strip()
            return Document(Descriptor(name, digest, len(answer.body)), answer.body)

    async def referrers(self, repository: Repository, digest: str) -> tuple[Descriptor, ...]:
        """Return what refers to a manifest: signatures and the like; empty where nothing does.

        Raises:
            RegistryError: see the class.
        """
        async with _within(repository):
            answer = await self._get(repository, f"referrers/{digest}", manifests.OCI_INDEX)
            if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                # Registries of before the referrers API: clients keep an index under this tag.
                tag = digest.replace(":", "-")
                answer = await self._get(repository, f"manifests/{tag}", manifests.OCI_INDEX)
            if answer.status == HTTPStatus.NOT_FOUND:
                return ()
            found: list[Descriptor] = []
            while True:
                self._check(repository, answer, f"referrers of {digest}")
                page = manifests.decode(answer.body, manifests.OCI_INDEX)
                entries = page.manifests if isinstance(page, Index) else ()
                found.extend(entries)
                if len(found) > REFERRERS:
                    raise ContentError(f"{digest} has more than {REFERRERS} referrers")
                path = _next(answer) if entries else ""
                if not path:
                    return tuple(found)
                answer = await self._get(repository, path, manifests.OCI_INDEX)

    async def read(self, repository: Repository, blob: Descriptor, limit: int) -> bytes:
        """Return a small blob's content, verified.

        Args:
            repository: where it is.
            blob: which, from a manifest.
            limit: bytes that it may have.

        Raises:
            RegistryError: see the class.
        """
        async with _within(repository):
            parts = [part async for part in self._blob(repository, blob, limit)]
            return b"".join(parts)

    async def download(
        self, repository: Repository, blob: Descriptor, file: BinaryIO, limit: int
    ) -> None:
        """Write a blob to a file, verified; what was written before a failure is no use.

        Args:
            repository: where it is.
            blob: which, from a manifest.
            file: open for writing; written to in a thread.
            limit: bytes that it may have.

        Raises:
            RegistryError: see the class.
            OSError: the disk refused.
        """
        async with _within(repository), aclosing(self._blob(repository, blob, limit)) as parts:
            async for part in parts:
                await self._threads.run(file.write, part)

    async def _tags(self, repository: Repository) -> tuple[str, ...]:
        found: list[str] = []
        path = f"tags/list?{urlencode({'n': PAGE})}"
        while path:
            answer = await self._get(repository, path, "application/json")
            self._check(repository, answer, f"the tags of {repository.name}")
            try:
                page = msgspec.json.decode(answer.body, type=_Tags).tags or ()
            except msgspec.MsgspecError as err:
                raise ContentError(f"{repository.name.host} sent no list of tags") from err
            found.extend(page)
            if len(found) > TAGS:
                raise ContentError(f"{repository.name} has more than {TAGS} tags")
            path = _next(answer) if page else ""
        return tuple(found)

    async def _resolve(self, repository: Repository, reference: str) -> Descriptor:
        path = f"manifests/{reference}"
        answer = await self._access(repository).get(path, method="HEAD", accept=_ACCEPT)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status != HTTPStatus.OK or not digest:
            answer = await self._get(repository, path, _ACCEPT)
            self._check(repository, answer, _what(repository, reference))
            digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        try:
            names.check_digest(digest)
        except names.InvalidNameError as err:
            raise ContentError(f"{repository.name.host} sent {err}") from err
        if ":" in reference and digest != reference:
            raise ContentError(f"{repository.name.host} sent {digest} for {reference}")
        length = answer.headers.get("Content-Length", "")
        return Descriptor(
            answer.headers.get("Content-Type", ""), digest, int(length) if length.isdecimal() else 0
        )

    async def _manifest(self, repository: Repository, digest: str) -> Manifest | Index:
        answer = await self._sent(repository, digest, _ACCEPT)
        return manifests.decode(answer.body, answer.headers.get("Content-Type", ""))

    async def _sent(self, repository: Repository, digest: str, accept: str) -> Answer:
        """Return the answer with a manifest, compared with its digest."""
        answer = await self._get(repository, f"manifests/{_digest(digest)}", accept)
        self._check(repository, answer, _what(repository, digest))
        _compare(answer.body, digest)
        return answer

    async def _blob(
        self, repository: Repository, blob: Descriptor, limit: int
    ) -> AsyncGenerator[bytes]:
        """Yield a blob's content in large pieces; the last only after all of it was verified."""
        if blob.size > limit:
            raise ContentError(f"blob {blob.digest} has {blob.size} bytes; {limit} are allowed")
        state = hashlib.new(_digest(blob.digest).partition(":")[0])
        path, size, pending = f"blobs/{blob.digest}", 0, bytearray()
        async with self._access(repository).stream(path) as response:
            if response.status != HTTPStatus.OK:
                body = await response.content.read(transport.ANSWER_BYTES)
                answer = transport.Answer(response.status, response.headers, (), body, response.url)
                self._check(repository, answer, f"blob {blob.digest} of {repository.name}")
            async for chunk in response.content.iter_any():
                state.update(chunk)
                size += len(chunk)
                if size > blob.size:
                    raise ContentError(f"blob {blob.digest} has more than its {blob.size} bytes")
                pending += chunk
                if len(pending) >= _WRITE_BYTES:
                    yield bytes(pending)
                    pending.clear()
        if size != blob.size:
            raise ContentError(f"blob {blob.digest} has {size} bytes instead of {blob.size}")
        if state.hexdigest() != blob.digest.partition(":")[2]:
            raise ContentError(f"what was sent for blob {blob.digest} has another digest")
        yield bytes(pending)

    async def _get(self, repository: Repository, path: str, accept: str) -> Answer:
        return await self._access(repository).get(path, accept=accept)

    def _check(self, repository: Repository, answer: Answer, what: str) -> None:
        if answer.status != HTTPStatus.OK:
            anonymous = repository.login.is_anonymous
            raise transport.refusal(answer, what, is_anonymous=anonymous)

    def _access(self, repository: Repository) -> Access:
        # Taken out and put in again, so that the order is that of their last use.
        found = self._accesses.pop(repository.key, None) or access.Access(
            self._http, self._clock, repository
        )
        self._accesses[repository.key] = found
        while len(self._accesses) > REMEMBERED:
            del self._accesses[next(iter(self._accesses))]
        return found


@asynccontextmanager
async def _within(repository: Repository) -> AsyncIterator[None]:
    """Give an operation the seconds that it may take."""
    try:
        async with asyncio.timeout(repository.timeout_s):
            yield
    except TimeoutError as err:
        limit = durations.format_go(repository.timeout_s)
        raise ConnectionFailed(f"{repository.name.host} did not answer within {limit}") from err


def _next(answer: Answer) -> str:
    """Return the path and query of the next page, on the same host; empty on the last."""
    found = _NEXT.search(answer.headers.get("Link", ""))
    if found is None:
        return ""
    target = answer.url.join(type(answer.url)(found[1], encoded=True))
    if target.origin() != answer.url.origin():
        raise ContentError("the next page of a list is said to be on another host")
    return target.raw_path_qs


def _what(repository: Repository, reference: str) -> str:
    separator = "@" if ":" in reference else ":"
    return f"{repository.name}{separator}{reference}"


def _digest(text: str) -> str:
    try:
        return names.check_digest(text)
    except names.InvalidNameError as err:
        raise ContentError(str(err)) from err


def _compare(content: bytes, digest: str) -> None:
    algorithm, _, expected = digest.partition(":")
    if hashlib.new(algorithm, content).hexdigest() != expected:
        raise ContentError(f"what was sent for manifest {digest} has another digest")
