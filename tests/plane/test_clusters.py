"""Clusters come, go, move and fail, one by one."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from daemon import cluster as managed
from daemon import settings, wiring
from tests.support import engine, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.cluster import Cluster
    from devcluster.gitserver import GitServer

_QUIETLY = ("--ignore-not-found", "-o", "yaml")
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: greeting
  namespace: {namespace}
data:
  hello: world
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at API servers often, so that a test takes no minute."""
    monkeypatch.setattr(managed, "PULSE_S", 0.2)


@pytest.fixture
def home(cluster: Cluster) -> Iterator[settings.Cluster]:
    """The settings of the session's cluster, whose Leases nobody holds."""
    forget = ("delete", "lease", "-n", "flux-system", "--all", "--ignore-not-found")
    cluster.kubectl(*forget)
    yield settings.Cluster(name="home", kubeconfig=cluster.kubeconfig)
    cluster.kubectl(*forget)


@pytest.fixture
def nowhere(tmp_path: Path, cluster: Cluster) -> settings.Cluster:
    """A cluster at an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    file = tmp_path / "nowhere.kubeconfig"
    file.write_text(
        cluster.kubeconfig.read_text().replace(cluster.server, f"https://127.0.0.1:{port}")
    )
    return settings.Cluster(name="nowhere", kubeconfig=file)


async def kubectl(cluster: Cluster, *arguments: str, text: str | None = None) -> str:
    return await asyncio.to_thread(cluster.kubectl, *arguments, input=text)


async def test_cluster_that_is_away_is_shown_and_harms_no_other(
    home: settings.Cluster, nowhere: settings.Cluster, tmp_path: Path
) -> None:
    async with served.fleet(tmp_path, nowhere, home) as fleet:
        await served.until(lambda: fleet.state("home").state == "synced")
        await served.until(lambda: fleet.state("nowhere").state == "away")

        assert "127.0.0.1" in fleet.state("nowhere").message
        assert fleet.fleet.health().is_ready
        assert fleet.state("home").state == "synced"


async def test_missing_kubeconfig_is_told_and_taken_up_when_it_appears(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "later.kubeconfig"
    later = msgspec.structs.replace(home, kubeconfig=file)

    async with served.fleet(tmp_path, later) as fleet:
        await served.until(lambda: fleet.state().state == "away")
        assert str(file) in fleet.state().message
        await asyncio.to_thread(file.write_bytes, cluster.kubeconfig.read_bytes())
        await served.until(lambda: fleet.supervisor.state()["cluster home"].error != "")
        fleet.fleet.retry()
        await served.until(lambda: fleet.state().state == "synced")
        assert fleet.supervisor.state()["cluster home"].error == ""


async def test_api_server_restarted_in_the_middle_is_survived(
    home: settings.Cluster, cluster: Cluster, namespace: str, git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    await asyncio.to_thread(
        repo.push, {"apps/greeting.yaml": CONFIG_MAP.format(namespace=namespace)}
    )
    async with served.fleet(tmp_path, home) as fleet:
        await served.until(lambda: fleet.mode("Kustomization") == "reconciling")
        await kubectl(cluster, "apply", "-f", "-", text=pair(namespace, git_server.url("fleet")))
        await served.until(lambda: fleet.ready("Kustomization", namespace, namespace) == "True")

        await asyncio.to_thread(cluster.stop_api)
        await served.until(lambda: fleet.state().state == "away")
        await asyncio.to_thread(cluster.start_api)
        await served.until(lambda: fleet.state().state == "synced")

        where = ("-n", namespace, "configmap", "greeting")
        await kubectl(cluster, "delete", *where)
        await served.until(lambda: "world" in cluster.kubectl("get", *where, *_QUIETLY))
        await kubectl(cluster, "delete", "kustomization,gitrepository", "-n", namespace, "--all")


async def test_api_server_that_moves_is_followed_by_the_kubeconfig(
    home: settings.Cluster, nowhere: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "moving.kubeconfig"
    await asyncio.to_thread(file.write_bytes, cluster.kubeconfig.read_bytes())
    moving = msgspec.structs.replace(home, kubeconfig=file)

    async with served.fleet(tmp_path, moving) as fleet:
        await served.until(lambda: fleet.state().state == "synced")
        await asyncio.to_thread(cluster.stop_api)
        try:
            await served.until(lambda: fleet.state().state == "away")
            assert nowhere.kubeconfig is not None
            await asyncio.to_thread(file.write_bytes, nowhere.kubeconfig.read_bytes())
            await served.until(lambda: fleet.state().server not in {"", cluster.server})
        finally:
            await asyncio.to_thread(cluster.start_api)


async def test_sync_of_the_settings_is_a_flux_instance_that_applies_the_repository(
    home: settings.Cluster, cluster: Cluster, namespace: str, git_server: GitServer, tmp_path: Path
) -> None:
    repo = git_server.repo("fleet")
    await asyncio.to_thread(
        repo.push, {"apps/greeting.yaml": CONFIG_MAP.format(namespace=namespace)}
    )
    sync = settings.Sync(url=git_server.url("fleet"), path="apps")

    async with served.fleet(tmp_path, msgspec.structs.replace(home, sync=sync)) as fleet:
        await served.until(lambda: fleet.ready("FluxInstance", "flux-system", "flux") == "True")
        await served.until(
            lambda: fleet.ready("Kustomization", "flux-system", "flux-system") == "True"
        )
        where = ("fluxinstance", "-n", "flux-system", "flux")
        found = await kubectl(cluster, "get", *where, "-o", "json")
        assert json.loads(found)["spec"]["sync"] == {
            "kind": "GitRepository",
            "url": git_server.url("fleet"),
            "ref": "refs/heads/main",
            "path": "apps",
            "interval": "1m",
        }
        text = await kubectl(cluster, "get", "configmap", "-n", namespace, "greeting", "-o", "yaml")
        assert "hello: world" in text
        await kubectl(cluster, "delete", *where)


async def test_components_of_the_flux_instance_switch_kinds(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    only_sources = msgspec.structs.replace(home, components=("source-controller",))

    async with served.fleet(tmp_path, only_sources) as fleet:
        await served.until(lambda: fleet.mode("GitRepository") == "reconciling")
        await served.until(lambda: fleet.mode("Kustomization") == "off")
        assert fleet.mode("Receiver") == "off"

        patch = {"spec": {"components": ["kustomize-controller"]}}
        where = ("fluxinstance", "-n", "flux-system", "flux")
        await kubectl(cluster, "patch", *where, "--type=merge", "-p", json.dumps(patch))
        await served.until(lambda: fleet.mode("Kustomization") == "reconciling")
        await served.until(lambda: fleet.mode("GitRepository") == "off")

        await kubectl(cluster, "delete", *where)
        await served.until(lambda: fleet.mode("GitRepository") == "reconciling")


async def test_clusters_are_added_changed_and_removed_one_by_one(
    home: settings.Cluster, nowhere: settings.Cluster, tmp_path: Path
) -> None:
    async with served.fleet(tmp_path) as fleet:
        assert fleet.fleet.reports() == ()
        await fleet.fleet.apply([home])
        await served.until(lambda: fleet.state().state == "synced")
        since = fleet.state().since

        await fleet.fleet.apply([home, nowhere])
        assert fleet.state().since == since
        changed = msgspec.structs.replace(nowhere, context="no-such-context")
        await fleet.fleet.apply([home, changed])
        await served.until(lambda: "no-such-context" in fleet.state("nowhere").message)

        await fleet.fleet.apply([home])
        assert [each.name for each in fleet.fleet.reports()] == ["home"]
        assert fleet.state().state == "synced"


async def test_rbac_that_forbids_everything_is_shown_as_the_reason(
    home: settings.Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    nobody = await asyncio.to_thread(cluster.user, "nobody-at-all")
    refused = msgspec.structs.replace(home, kubeconfig=nobody)

    async with served.fleet(tmp_path, refused) as fleet:
        await served.until(lambda: fleet.state().state == "away")
        assert "forbidden" in fleet.state().message


def pair(namespace: str, url: str) -> str:
    """Return a source and a Kustomization, both named like their namespace."""
    meta = f"metadata: {{name: {namespace}, namespace: {namespace}}}"
    return f"""\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
{meta}
spec: {{interval: 1h, url: "{url}", ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
{meta}
spec:
  interval: 1h
  path: ./apps
  prune: true
  sourceRef: {{kind: GitRepository, name: {namespace}}}
"""


async def test_settings_name_the_managers_whose_fields_git_overrides(
    cluster: Cluster, tmp_path: Path
) -> None:
    home = settings.Cluster(name="home", override_managers=("meddler",))
    async with engine.connected(cluster) as client, served.fleet(tmp_path) as running:
        context = wiring.build(home, running.shared, client)
    absorbed = context.tracker.identities["Kustomization"].absorbed
    assert absorbed[-1].name == "meddler"
