"""One world for all tests of this folder; what a test changes has a name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import agents, mcpworld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devcluster.cluster import Cluster
    from tests.support.mcpworld import World


@pytest.fixture(scope="package")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A namespace with a source, Kustomizations, and what one of them applied."""
    made = mcpworld.made(cluster, tmp_path_factory.mktemp("mcp"))
    yield made
    cluster.kubectl("delete", "namespace", made.namespace, "--wait=false")


@pytest.fixture(scope="package")
def served(world: World) -> Iterator[agents.Served]:
    """The server over HTTP, as a process."""
    with agents.listening(world.config) as found:
        yield found
