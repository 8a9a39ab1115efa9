"""A GitRepository that tests write as users do, and reconcile when they want.

::

    source = Source(desk, git_server, namespace)
    await source.apply(ignore="/docs")
    await source.reconcile()
    assert source.conditions["Ready"][0] == "True"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.source import GitRepository
from reconcilers import gitrepository
from tests.support.written import Written

if TYPE_CHECKING:
    from devcluster.gitserver import GitServer
    from tests.support.reconciling import Desk


class Source(Written):
    """A GitRepository of a test, called as the repository that it follows."""

    def __init__(self, desk: Desk, server: GitServer, namespace: str, name: str = "fleet") -> None:
        reconciler = gitrepository.reconciler(desk.context)
        super().__init__(desk, GitRepository, reconciler, namespace, name)
        self.server = server

    async def apply(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Write it as a user would."""
        base = {
            "url": self.server.url(self.name),
            "interval": "1m",
            "timeout": "60s",
            "ref": {"branch": "main"},
        }
        await self.write(base | spec, annotations)
