"""The daemon shows of whole fleets what Flux's own controllers showed when they were recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from devcluster import toolcache
from devcluster.api import Api, Credentials
from devcluster.cluster import Cluster
from devcluster.daemon import Daemon
from devcluster.gitserver import GitServer
from tests.parity import differences, record
from tests.support import encrypting, estate
from tests.support.fleets import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kube.objects import JsonObject

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")


class Place(NamedTuple):
    """Where fleets are run."""

    connection: Api
    git: GitServer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A cluster of its own, which the daemon serves: fleets have namespaces of fixed names."""
    folder = tmp_path_factory.mktemp("fleets")
    with Cluster(folder / "cluster") as cluster, GitServer(folder / "git") as git:
        kubeconfig = cluster.user("gitopsd", groups=["system:masters"])
        kustomize = toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
        daemon = Daemon(folder / "gitopsd", {"home": kubeconfig}, kustomize)
        tools = daemon.data_dir / "tools"
        tools.mkdir(parents=True)
        (tools / "sops").symlink_to(encrypting.sops_program())
        connection = Api(Credentials(cluster.kubeconfig))
        try:
            daemon.start()
            yield Place(connection, git)
        finally:
            daemon.stop()
            connection.close()


@pytest.mark.parametrize("folder", record.folders(), ids=lambda each: each.name)
def test_fleet_shows_what_flux_showed(place: Place, folder: Path) -> None:
    expected = differences.applied(folder.name, record.read(folder))
    fleet = Fleet(folder, place.connection, place.git)
    for stage in fleet.stages:
        fleet.push(stage)
        lines = record.difference(expected[stage], shown(fleet, expected[stage]))
        assert not lines, f"after {stage}:\n{lines}"
        fleet.turned()
    assert fleet.end() == expected["left"]


def shown(fleet: Fleet, expected: JsonObject) -> Any:
    """Return what is shown as soon as it is what was expected, or at last."""
    found: JsonObject = {}

    def is_expected() -> bool:
        found.clear()
        if fleet.is_settled():
            found.update(fleet.shown())
        return found == expected

    try:
        estate.until(is_expected, fleet.folder.name)
    except TimeoutError:
        return found or fleet.described()
    return found
