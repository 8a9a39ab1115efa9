"""The records of releases in a cluster: Secrets that Helm itself reads and writes.

::

    RecordError          (of `kube.helm.record`) what a Secret holds is no record
    ReleaseTooLarge      a record does not fit into a Secret
    errors.ApiError      the API server refused or did not answer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from kube import references

if TYPE_CHECKING:
    from kube.client import Client
    from kube.helm.record import Record
    from runtime.clock import Clock
    from runtime.limits import Threads

SECRETS: Final = references.RESOURCES[references.SECRET]
TYPE: Final = "helm.sh/release.v1"
MAX_SECRET: Final = 1024 * 1024
"""Bytes of data that the API server takes in one Secret."""
TRIES: Final = 3


class ReleaseTooLarge(Exception):  # noqa: N818 - says what is wrong
    """A record does not fit into a Secret."""


class Head(NamedTuple):
    """What the metadata of a record's Secret tells."""

    version: int
    status: str
    """By its label: as good as the one in the record."""
    uid: str
    resource_version: str


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
        raise NotImplementedError

    async def history(self, name: str) -> list[Record]:
        """Return the records of a release, oldest first; those that cannot be read are left out."""
        raise NotImplementedError

    async def last(self, name: str) -> Record | None:
        """Return the newest record of a release.

        Raises:
            RecordError: it cannot be read.
        """
        raise NotImplementedError

    async def get(self, name: str, version: int) -> Record | None:
        """Return one record.

        Raises:
            RecordError: it cannot be read.
        """
        raise NotImplementedError

    async def create(self, record: Record, *, max_history: int = 0) -> None:
        """Write a new revision.

        Args:
            record: the revision.
            max_history: revisions to keep, this one included; older ones are deleted first, but
                never the last that was deployed. 0 keeps all.

        Raises:
            ReleaseTooLarge: it does not fit; nothing was written.
            AlreadyExists: there is such a revision: somebody else is at work.
        """
        raise NotImplementedError

    async def update(self, record: Record) -> None:
        """Write a revision again, whatever it is now.

        Raises:
            ReleaseTooLarge: it does not fit; nothing was written.
            NotFound: there is no such revision any more.
        """
        raise NotImplementedError

    async def delete(self, name: str, version: int) -> None:
        """Delete a revision; one that is gone is none to delete."""
        raise NotImplementedError
