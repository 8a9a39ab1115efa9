"""The records of releases in a cluster: Secrets that Helm itself reads and writes.

::

    RecordError          (of `kube.helm.record`) what a Secret holds is no record
    ReleaseTooLarge      a record does not fit into a Secret
    errors.ApiError      the API server refused or did not answer
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import orjson

from api import meta
from kube import errors, references
from kube.helm import record as records
from kube.helm.record import RecordError
from kube.objects import PartialObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kube.client import Client
    from kube.helm.record import Record
    from runtime.clock import Clock
    from runtime.limits import Threads

SECRETS: Final = references.RESOURCES[references.SECRET]
TYPE: Final = "helm.sh/release.v1"
MAX_SECRET: Final = 1024 * 1024
"""Bytes of data that the API server takes in one Secret."""


class ReleaseTooLarge(Exception):  # noqa: N818 - says what is wrong
    """A record does not fit into a Secret."""


class Head(NamedTuple):
    """What the metadata of a record's Secret tells."""

    version: int
    status: str
    """By its label: as good as the one in the record."""
    uid: str
    resource_version: str


class _Secret(meta.Struct, frozen=True):
    metadata: meta.ObjectMeta = meta.ObjectMeta()
    data: dict[str, str] = msgspec.field(default_factory=dict)


class _Page(msgspec.Struct, frozen=True):
    items: tuple[_Secret, ...] | None = None


class _PartialPage(msgspec.Struct, frozen=True):
    items: tuple[PartialObject, ...] | None = None


_SECRET: Final = msgspec.json.Decoder(_Secret)
_PAGE: Final = msgspec.json.Decoder(_Page)
_PARTIAL_PAGE: Final = msgspec.json.Decoder(_PartialPage)


class ReleaseStorage:
    """The records of one namespace, as one user.

    Args:
        client: whom to act as.
        namespace: of the Secrets; not the one that is released to.
        clock: stamps the labels.
        threads: packs and unpacks.
    """

    def __init__(self, client: Client, namespace: str, clock: Clock, threads: Threads) -> None:
        self._client, self.namespace = client, namespace
        self._clock, self._threads = clock, threads

    async def heads(self, name: str) -> tuple[Head, ...]:
        """Return the revisions of a release, oldest first, by their metadata alone."""
        found: list[Head] = []
        pages = self._client.list_pages(
            SECRETS,
            namespace=self.namespace,
            label_selector=_selector(name),
            metadata_only=True,
        )
        async for page in pages:
            items = _PARTIAL_PAGE.decode(page).items or ()
            found += [head for item in items if (head := _head(item.metadata))]
        return tuple(sorted(found))

    async def history(self, name: str) -> list[Record]:
        """Return the records of a release, oldest first; those that cannot be read are left out."""
        found = []
        pages = self._client.list_pages(
            SECRETS, namespace=self.namespace, label_selector=_selector(name), limit=10
        )
        async for page in pages:
            for secret in _PAGE.decode(page).items or ():
                with contextlib.suppress(RecordError):
                    found.append(await self._threads.run(_record, secret))
        return sorted(found, key=lambda record: record.version)

    async def last(self, name: str) -> Record | None:
        """Return the newest record of a release.

        Raises:
            RecordError: it cannot be read.
        """
        for head in reversed(await self.heads(name)):
            if record := await self.get(name, head.version):
                return record
        return None

    async def get(self, name: str, version: int) -> Record | None:
        """Return one record.

        Raises:
            RecordError: it cannot be read.
        """
        path = SECRETS.path(self.namespace, records.secret_name(name, version))
        try:
            raw = await self._client.get_raw(path)
        except errors.NotFound:
            return None
        return await self._threads.run(_record, _SECRET.decode(raw))

    async def create(self, record: Record, *, max_history: int = 0) -> Head:
        """Write a new revision.

        Args:
            record: the revision.
            max_history: revisions to keep, this one included; older ones are deleted first, but
                never the last that was deployed. 0 keeps all.

        Raises:
            ReleaseTooLarge: it does not fit; nothing was written.
            AlreadyExists: there is such a revision: somebody else is at work.
        """
        body = await self._body(record, "createdAt")
        if 0 < max_history < record.version:  # so many revisions there may be
            await self._make_room(record.name, max_history)
        raw = await self._client.create(
            SECRETS, self.namespace, orjson.dumps(body), manager=meta.HELM_MANAGER
        )
        return _wrote(record, raw)

    async def update(self, record: Record) -> Head:
        """Write a revision again, whatever it is now.

        Raises:
            ReleaseTooLarge: it does not fit; nothing was written.
            NotFound: there is no such revision any more.
        """
        body = await self._body(record, "modifiedAt")
        name = records.secret_name(record.name, record.version)
        raw = await self._client.patch(
            SECRETS, self.namespace, name, orjson.dumps(body), manager=meta.HELM_MANAGER
        )
        return _wrote(record, raw)

    async def delete(self, name: str, version: int) -> None:
        """Delete a revision; one that is gone is none to delete."""
        secret = records.secret_name(name, version)
        with contextlib.suppress(errors.NotFound):
            await self._client.delete(SECRETS, self.namespace, secret)

    async def _make_room(self, name: str, max_history: int) -> None:
        """Delete the oldest revisions so that one more makes ``max_history``."""
        for head in superfluous(await self.heads(name), max_history - 1):
            await self.delete(name, head.version)

    async def _body(self, record: Record, stamp: str) -> dict[str, Any]:
        payload = await self._threads.run(records.encode, record)
        if len(payload) > MAX_SECRET:
            raise ReleaseTooLarge(
                f"the record of release {record.full_name} takes {len(payload)} bytes and a Secret "
                f"holds {MAX_SECRET}: leave files out of the chart {record.chart.name} by its "
                ".helmignore, or split it"
            )
        return as_secret(record, payload, **{stamp: str(int(self._clock.now().timestamp()))})


def as_secret(record: Record, payload: bytes, **stamps: str) -> dict[str, Any]:
    """Return the Secret that holds a record.

    Args:
        record: the record.
        payload: the same, packed by `kube.helm.record.encode`.
        **stamps: more labels.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {
            "name": records.secret_name(record.name, record.version),
            "labels": {
                **record.labels,
                "name": record.name,
                "owner": "helm",
                "status": record.status,
                "version": str(record.version),
                **stamps,
            },
        },
        "data": {"release": base64.b64encode(payload).decode()},
    }


def superfluous(heads: Sequence[Head], keep: int) -> list[Head]:
    """Return the revisions to delete so that ``keep`` remain, oldest first.

    The last one that was deployed stays in any case, as with Helm.
    """
    deployed = [head.version for head in heads if head.status == records.DEPLOYED]
    last = max(deployed, default=0)
    candidates = [head for head in sorted(heads) if head.version != last]
    return candidates[: max(len(heads) - keep, 0)]


def _wrote(record: Record, raw: bytes) -> Head:
    written = _SECRET.decode(raw).metadata
    return Head(record.version, record.status, written.uid, written.resource_version)


def _head(metadata: meta.ObjectMeta) -> Head | None:
    """Return what the metadata of a Secret tells; None where it is no record of a release."""
    version = metadata.labels.get("version", "")
    if not version.isdecimal():
        return None
    status = metadata.labels.get("status", "")
    return Head(int(version), status, metadata.uid, metadata.resource_version)


def _selector(name: str) -> str:
    return f"owner=helm,name={name}"


def _record(secret: _Secret) -> Record:
    try:
        payload = base64.b64decode(secret.data.get("release", ""), validate=True)
    except binascii.Error as err:
        raise RecordError("the record of the release cannot be unpacked") from err
    return records.decode(payload, secret.metadata.labels)
