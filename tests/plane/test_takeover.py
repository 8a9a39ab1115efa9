"""Not two captains on one ship: Leases, Deployments, orders, and two daemons."""

from __future__ import annotations

import asyncio
import functools
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cli import main
from daemon import leadership, settings
from kube import lease
from tests.support import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.cluster import Cluster

LEASE = "kustomize-controller-leader-election"
FLUX = "kustomize-controller-7c4f-flux"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at Leases often, so that a test takes no minute."""
    monkeypatch.setattr(leadership, "LOOK_S", 0.1)
    monkeypatch.setattr(leadership, "CHECK_S", 0.1)


@pytest.fixture
def home(cluster: Cluster) -> Iterator[settings.Cluster]:
    """The settings of the session's cluster, whose Leases nobody holds."""
    cluster.kubectl("delete", "lease", "-n", "flux-system", "--all", "--ignore-not-found")
    cluster.kubectl("delete", "deployment", "-n", "flux-system", "--all", "--ignore-not-found")
    yield settings.Cluster(name="home", kubeconfig=cluster.kubeconfig)
    cluster.kubectl("delete", "lease", "-n", "flux-system", "--all", "--ignore-not-found")
    cluster.kubectl("delete", "deployment", "-n", "flux-system", "--all", "--ignore-not-found")


def ensure_namespace(cluster: Cluster) -> None:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


def hold(cluster: Cluster, holder: str = FLUX, name: str = LEASE) -> None:
    ensure_namespace(cluster)
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 35}
    spec["renewTime"] = "2026-01-01T00:00:00.000000Z"
    manifest = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": spec,
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


def holder(cluster: Cluster, name: str = LEASE) -> str:
    template = "jsonpath={.spec.holderIdentity}"
    return cluster.kubectl("get", "lease", "-n", "flux-system", name, "-o", template)


def deploy(cluster: Cluster, replicas: int) -> None:
    ensure_namespace(cluster)
    labels = {"app": "kustomize-controller"}
    pod = {"containers": [{"name": "manager", "image": "none.invalid/none"}]}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kustomize-controller", "namespace": "flux-system"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


@contextmanager
def configured(path: Path, cluster: Cluster) -> Iterator[list[str]]:
    file = path / "config.toml"
    file.write_text(f'[[clusters]]\nname = "home"\nkubeconfig = "{cluster.kubeconfig}"\n')
    yield ["--config", str(file)]


async def command(*argv: str) -> int:
    """Run a command line beside the loop, as a process of its own would."""
    return await asyncio.to_thread(main.main, list(argv))


async def test_daemon_takes_and_gives_back_leases_that_nobody_holds(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    async with served.fleet(tmp_path, home) as fleet:
        for kind in ("GitRepository", "Kustomization", "Receiver", "FluxInstance"):
            await served.until(functools.partial(is_led, fleet, kind))
        assert await asyncio.to_thread(holder, cluster) == fleet.shared.identity

    assert await asyncio.to_thread(holder, cluster) == ""


async def test_kind_whose_lease_flux_holds_is_observed_and_the_others_are_not(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    await asyncio.to_thread(hold, cluster)

    async with served.fleet(tmp_path, home) as fleet:
        await served.until(lambda: fleet.mode("GitRepository") == "reconciling")
        found = fleet.kind("Kustomization")

        assert found is not None
        assert found.mode == "observing"
        assert f"is held by {FLUX}; `gitopsd takeover` takes it" in found.reason
        assert await asyncio.to_thread(holder, cluster) == FLUX


async def test_takeover_takes_the_lease_and_says_how_to_scale_flux_down(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(hold, cluster)
    await asyncio.to_thread(deploy, cluster, 1)

    with configured(tmp_path, cluster) as config:
        async with served.fleet(tmp_path, home) as fleet:
            await served.until(lambda: fleet.mode("Kustomization") == "observing")
            assert await command("takeover", *config) == 0
            await served.until(lambda: fleet.mode("Kustomization") == "reconciling")

            assert await asyncio.to_thread(holder, cluster) == fleet.shared.identity

    said = capsys.readouterr().out
    assert f"kubectl --kubeconfig {cluster.kubeconfig} -n flux-system scale deployment" in said
    assert "kustomize-controller --replicas=0" in said


async def test_undone_takeover_hands_the_lease_back_to_a_flux_that_runs(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    await asyncio.to_thread(deploy, cluster, 1)

    with configured(tmp_path, cluster) as config:
        assert await command("takeover", *config) == 0
        async with served.fleet(tmp_path, home) as fleet:
            await served.until(lambda: fleet.mode("Kustomization") == "reconciling")
            assert await command("takeover", "--undo", *config) == 0
            await served.until(lambda: fleet.mode("Kustomization") == "observing")

            found = fleet.kind("Kustomization")
            assert found is not None
            assert "Deployment flux-system/kustomize-controller has 1 replicas" in found.reason
            await served.until(lambda: holder(cluster) == "")


async def test_deployment_scaled_to_zero_is_taken_over_without_an_order(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    await asyncio.to_thread(deploy, cluster, 1)

    async with served.fleet(tmp_path, home) as fleet:
        await served.until(lambda: "has 1 replicas" in reason(fleet))
        await asyncio.to_thread(deploy, cluster, 0)
        await served.until(lambda: fleet.mode("Kustomization") == "reconciling")


async def test_second_daemon_observes_until_the_first_stops(
    home: settings.Cluster, tmp_path: Path
) -> None:
    async with served.fleet(tmp_path / "b") as second:
        async with served.fleet(tmp_path / "a", home) as first:
            await served.until(lambda: first.mode("Kustomization") == "reconciling")
            await second.fleet.apply([home])
            await served.until(lambda: "another gitopsd" in reason(second))
            assert second.mode("Kustomization") == "observing"

        await served.until(lambda: second.mode("Kustomization") == "reconciling")


async def test_order_does_not_set_two_daemons_against_each_other(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    await asyncio.to_thread(hold, cluster, "gitopsd_elsewhere_1")

    with configured(tmp_path, cluster) as config:
        assert await command("takeover", *config) == 0
        async with served.fleet(tmp_path, home) as fleet:
            await served.until(lambda: fleet.mode("GitRepository") == "reconciling")

            assert fleet.mode("Kustomization") == "observing"
            assert await asyncio.to_thread(holder, cluster) == "gitopsd_elsewhere_1"


async def test_lease_lost_to_somebody_else_ends_the_reconciling(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RETRY_S", 0.2)

    async with served.fleet(tmp_path, home) as fleet:
        await served.until(lambda: fleet.mode("Kustomization") == "reconciling")
        await asyncio.to_thread(hold, cluster)
        await served.until(lambda: fleet.mode("Kustomization") == "observing")

        assert fleet.mode("GitRepository") == "reconciling"


def is_led(fleet: served.Served, kind: str) -> bool:
    return fleet.mode(kind) == "reconciling"


def reason(fleet: served.Served, kind: str = "Kustomization") -> str:
    found = fleet.kind(kind)
    return found.reason if found else ""
