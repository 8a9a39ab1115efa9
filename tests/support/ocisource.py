"""An OCIRepository that tests write as users do, and reconcile when they want.

::

    source = Source(desk, registry, namespace)
    await source.apply(ref={"tag": "1.0.0"})
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"
"""

from __future__ import annotations

import base64
import json
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from api.oci import OCIRepository
from kube import errors
from reconcilers import ocirepository
from runtime.errors import TransientError
from sources.oci import keychain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.controller import Result
    from tests.support.reconciling import Desk
    from tests.support.registry import Registry

NAME = "fleet"


class Source:
    """The OCIRepository ``fleet`` of a test."""

    def __init__(self, desk: Desk, registry: Registry, namespace: str) -> None:
        self.desk = desk
        self.registry = registry
        self.namespace = namespace
        self.path = namespace
        """Of its repository; each test has one of its own in the registry that all share."""
        self.reconciler = ocirepository.reconciler(desk.context)
        self.live: dict[str, Any] = {}
        """The object after the last run."""

    @property
    def url(self) -> str:
        return self.registry.url(self.path)

    def push(self, tag: str = "latest", files: Mapping[str, str] | None = None, **more: Any) -> str:
        """Push a manifest and return its digest."""
        return self.registry.push(self.path, tag, files or {"app.yaml": "a: 1\n"}, **more)

    async def apply(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Write it as a user would."""
        await self.desk.create(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "OCIRepository",
                "metadata": {
                    "name": NAME,
                    "namespace": self.namespace,
                    "annotations": annotations or {},
                },
                "spec": {"url": self.url, "interval": "1m", "timeout": "60s"} | spec,
            }
        )

    async def secret(self, name: str, data: Mapping[str, bytes], type_: str = "Opaque") -> None:
        """Write a Secret beside it."""
        await self.desk.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.namespace},
                "type": type_,
                "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
            }
        )

    async def login(self, name: str, username: str, password: str, host: str = "") -> None:
        """Write a docker config Secret."""
        entry = {"username": username, "password": password}
        content = json.dumps({"auths": {host or self.registry.host: entry}}).encode()
        await self.secret(name, {keychain.CONFIG_KEY: content}, "kubernetes.io/dockerconfigjson")

    async def reconcile(self) -> Result:
        """Run once, and read what became of it."""
        try:
            return await self.desk.reconcile(self.reconciler, self.namespace, NAME)
        finally:
            await self.read()

    async def read(self) -> None:
        with suppress(errors.NotFound):
            self.live = await self.desk.live(OCIRepository, self.namespace, NAME)

    async def fails(self, kind: type[Exception] = TransientError) -> None:
        with pytest.raises(kind):
            await self.reconcile()

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.live["status"]
        return status

    @property
    def artifact(self) -> dict[str, Any]:
        artifact: dict[str, Any] = self.status["artifact"]
        return artifact

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
        return self.desk.context.storage.root / str(self.artifact["path"])

    def names(self) -> list[str]:
        """The files in the stored artifact."""
        with tarfile.open(self.file) as archive:
            return [member.name for member in archive if member.isfile()]
