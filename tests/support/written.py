"""A source that tests write as users do, and reconcile when they want; the base of each kind's."""

from __future__ import annotations

import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from kube import errors
from runtime.errors import TransientError

if TYPE_CHECKING:
    from pathlib import Path

    from api.meta import CustomObject
    from runtime.controller import Result
    from tests.support.reconciling import Desk, Reconciler


class Written:
    """One object of a test.

    Args:
        desk: where reconcilers are run by hand.
        kind: its kind.
        reconciler: of the kind.
        namespace: its namespace.
        name: its name.
    """

    def __init__(
        self,
        desk: Desk,
        kind: type[CustomObject],
        reconciler: Reconciler,
        namespace: str,
        name: str = "fleet",
    ) -> None:
        self.desk, self.kind, self.reconciler = desk, kind, reconciler
        self.namespace, self.name = namespace, name
        self.live: dict[str, Any] = {}
        """The object after the last run."""

    async def write(self, spec: dict[str, Any], annotations: dict[str, str] | None = None) -> None:
        """Write it as a user would."""
        await self.desk.create(
            {
                "apiVersion": self.kind.api_version(),
                "kind": self.kind.KIND,
                "metadata": {
                    "name": self.name,
                    "namespace": self.namespace,
                    "annotations": annotations or {},
                },
                "spec": spec,
            }
        )

    async def reconcile(self) -> Result:
        """Run once, and read what became of it."""
        try:
            return await self.desk.reconcile(self.reconciler, self.namespace, self.name)
        finally:
            await self.read()

    async def read(self) -> None:
        """Read what became of it."""
        with suppress(errors.NotFound):
            self.live = await self.desk.live(self.kind, self.namespace, self.name)

    async def fails(self, kind: type[Exception] = TransientError) -> None:
        """Run once, in vain."""
        with pytest.raises(kind):
            await self.reconcile()

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        status: dict[str, Any] = self.live["status"]
        return status

    @property
    def artifact(self) -> dict[str, Any]:
        """Its artifact."""
        artifact: dict[str, Any] = self.status["artifact"]
        return artifact

    @property
    def conditions(self) -> dict[str, tuple[str, str, str]]:
        """Status, reason and message of each condition, by type."""
        return {
            each["type"]: (each["status"], each["reason"], each["message"])
            for each in self.status.get("conditions", [])
        }

    @property
    def events(self) -> list[tuple[str, str]]:
        """Reason and message of every event so far."""
        return [(event.reason, event.message) for event in self.desk.events]

    @property
    def file(self) -> Path:
        """The stored artifact."""
        return self.desk.context.storage.root / str(self.artifact["path"])

    def names(self) -> list[str]:
        """The files in the stored artifact."""
        with tarfile.open(self.file) as archive:
            return [member.name for member in archive if member.isfile()]

    def files(self) -> dict[str, str]:
        """The files in the stored artifact, and what is in them."""
        with tarfile.open(self.file) as archive:
            members = [member for member in archive if member.isfile()]
            return {each.name: archive.extractfile(each).read().decode() for each in members}  # type: ignore[union-attr]  # it is a file
