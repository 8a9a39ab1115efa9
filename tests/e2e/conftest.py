"""One audited cluster for all daemons, and one daemon for each file."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from devcluster.cluster import Cluster
from tests.support import estate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.bed import Bed


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real control plane that writes down every request."""
    with Cluster(tmp_path_factory.mktemp("audited"), audit=True) as started:
        yield started


@pytest.fixture(scope="module")
def bed(audited: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A daemon on the audited cluster, as its administrator."""
    with estate.running({"home": audited}, tmp_path_factory.mktemp("estate")) as running:
        yield running["home"]


@pytest.fixture
def tenant(bed: Bed) -> Iterator[estate.Tenant]:
    """A fresh namespace with a repository that the daemon follows."""
    with estate.tenant(bed, f"test-{uuid.uuid4().hex[:8]}") as made:
        yield made
