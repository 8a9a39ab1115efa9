"""A GitRepository that tests write as users do, and reconcile when they want.

::

    source = Source(desk, git_server, namespace)
    await source.apply(ignore="/docs")
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"
"""

from __future__ import annotations

import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from api.source import GitRepository
from kube import errors
from reconcilers import gitrepository
from runtime.errors import TransientError

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.gitserver import GitServer
    from runtime.controller import Result
    from tests.support.reconciling import Desk, Reconciler


class Source:
    """A GitRepository of a test, called as the repository that it follows."""

    def __init__(self, desk: Desk, server: GitServer, namespace: str, name: str = "fleet") -> None:
        self.desk = desk
        self.server = server
        self.namespace = namespace
        self.name = name
        self.reconciler: Reconciler = gitrepository.reconciler(desk.context)
        self.live: dict[str, Any] = {}
        """The object after the last run."""

    async def apply(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Write it as a user would."""
        base = {
            "url": self.server.url(self.name),
            "interval": "1m",
            "timeout": "60s",
            "ref": {"branch": "main"},
        }
        await self.desk.create(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "metadata": {
                    "name": self.name,
                    "namespace": self.namespace,
                    "annotations": annotations or {},
                },
                "spec": base | spec,
            }
        )

    async def reconcile(self) -> Result:
        """Run once, and read what became of it."""
        try:
            return await self.desk.reconcile(self.reconciler, self.namespace, self.name)
        finally:
            await self.read()

    async def read(self) -> None:
        with suppress(errors.NotFound):
            self.live = await self.desk.live(GitRepository, self.namespace, self.name)

    async def fails(self, kind: type[Exception] = TransientError) -> None:
        with pytest.raises(kind):
            await self.reconcile()

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.live["status"]
        return status

    @property
    def conditions(self) -> dict[str, tuple[str, str, str]]:
        return {
            each["type"]: (each["status"], each["reason"], each["message"])
            for each in self.status.get("conditions", [])
        }

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(event.reason, event.message) for event in self.desk.events]

    @property
    def file(self) -> Path:
        """The stored artifact."""
        return self.desk.context.storage.root / str(self.status["artifact"]["path"])

    def names(self) -> list[str]:
        """The files in the stored artifact."""
        with tarfile.open(self.file) as archive:
            return [member.name for member in archive if member.isfile()]

    def files(self) -> dict[str, str]:
        """The files in the stored artifact, and what is in them."""
        with tarfile.open(self.file) as archive:
            members = [member for member in archive if member.isfile()]
            return {each.name: archive.extractfile(each).read().decode() for each in members}  # type: ignore[union-attr]  # it is a file
