"""Several clusters in one daemon: what happens to one is nothing to the others."""

from __future__ import annotations

import json
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from devcluster.api import ApiError
from devcluster.cluster import Cluster
from tests.support import estate
from tests.support.estate import config_map, metric, says

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.bed import Bed
    from tests.support.estate import Tenant

pytestmark = [
    pytest.mark.leftovers("an API server of this file is stopped and started again"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def beds(audited: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bed]]:
    """One daemon on two clusters."""
    folder = tmp_path_factory.mktemp("pair")
    with Cluster(folder / "second", audit=True) as second:
        clusters = {"steady": audited, "shaky": second}
        with estate.running(clusters, folder / "estate") as running:
            yield running


@pytest.fixture
def tenants(beds: dict[str, Bed]) -> Iterator[dict[str, Tenant]]:
    """A tenant of each cluster, with one object."""
    made = {}
    for name, bed in beds.items():
        tenant = made[name] = estate.Tenant(bed, f"{name}-{uuid.uuid4().hex[:8]}")
        tenant.push({"web/a.yaml": config_map(tenant.name, "a", k="1")})
        tenant.kustomize("web")
        tenant.until_applied("web")
    yield made
    for tenant in made.values():
        tenant.end()


def state(bed: Bed, name: str) -> str:
    """Return what ``gitopsd status`` says of a cluster."""
    assert bed.daemon
    command: list[str | Path] = [
        bed.daemon.command,
        "status",
        "--config",
        bed.daemon.config,
        "-o",
        "json",
    ]
    answer = subprocess.run(command, capture_output=True, check=False)
    report = json.loads(answer.stdout)
    return str(next(each["state"] for each in report["clusters"] if each["name"] == name))


def test_cluster_that_goes_away_stops_no_other_and_catches_up(
    beds: dict[str, Bed], tenants: dict[str, Tenant]
) -> None:
    shaky = beds["shaky"].cluster
    assert shaky
    shaky.kill_api()
    estate.until(lambda: state(beds["shaky"], "shaky") == "away", "the cluster shown as away")
    assert metric(beds["shaky"].daemon, "gitopsd_cluster_up", cluster="shaky") == 0
    assert metric(beds["shaky"].daemon, "gitopsd_cluster_up", cluster="steady") == 1
    _see_served(tenants["steady"])
    tenant = tenants["shaky"]
    tenant.push({"web/a.yaml": None, "web/b.yaml": config_map(tenant.name, "b")}, quietly=True)
    shaky.start_api()
    tenant.announce()
    tenant.until_applied("web")
    assert tenant.live("a") is None
    assert tenant.live("b")
    estate.until(lambda: state(beds["shaky"], "shaky") == "synced", "the cluster shown as synced")
    _see_served(tenants["steady"])


def test_start_without_one_of_the_clusters_serves_the_others(
    beds: dict[str, Bed], tenants: dict[str, Tenant]
) -> None:
    shaky, daemon = beds["shaky"].cluster, beds["shaky"].daemon
    assert shaky
    assert daemon
    daemon.stop()
    shaky.kill_api()
    daemon.start(wait=False)
    estate.until(lambda: _answers(tenants["steady"]), "the daemon's webhooks")
    _see_served(tenants["steady"])
    tenant = tenants["shaky"]
    tenant.push({"web/a.yaml": config_map(tenant.name, "a", k="2")}, quietly=True)
    shaky.start_api()
    tenant.until_live("a", says(k="2"))
    tenant.until_applied("web")


def _answers(tenant: Tenant) -> bool:
    try:
        tenant.announce()
    except (OSError, ApiError):
        return False
    return True


def _see_served(tenant: Tenant) -> None:
    value = uuid.uuid4().hex
    tenant.push({"web/a.yaml": config_map(tenant.name, "a", k=value)})
    tenant.until_live("a", says(k=value))
    tenant.until_applied("web")
