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
from typing import TYPE_CHECKING, Any

from api.oci import OCIRepository
from reconcilers import ocirepository
from sources.oci import keychain
from tests.support.written import Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.reconciling import Desk
    from tests.support.registry import Registry

NAME = "fleet"


class Source(Written):
    """The OCIRepository ``fleet`` of a test."""

    def __init__(self, desk: Desk, registry: Registry, namespace: str) -> None:
        super().__init__(desk, OCIRepository, ocirepository.reconciler(desk.context), namespace)
        self.registry = registry
        self.path = namespace
        """Of its repository; each test has one of its own in the registry that all share."""

    @property
    def url(self) -> str:
        return self.registry.url(self.path)

    def push(self, tag: str = "latest", files: Mapping[str, str] | None = None, **more: Any) -> str:
        """Push a manifest and return its digest."""
        return self.registry.push(self.path, tag, files or {"app.yaml": "a: 1\n"}, **more)

    async def apply(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Write it as a user would."""
        base = {"url": self.url, "interval": "1m", "timeout": "60s"}
        await self.write(base | spec, annotations)

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
