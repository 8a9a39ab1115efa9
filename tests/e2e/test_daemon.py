"""The daemon as a process: starting, refusing to start, reloading, stopping, being killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devcluster import access, toolcache
from devcluster.daemon import Daemon
from tests.support import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devcluster.cluster import Cluster
    from devcluster.gitserver import GitServer

IDLE_MIB = 80
FLUX_SYSTEM = ("-n", "flux-system")
INSTANCE = """\
apiVersion: fluxcd.controlplane.io/v1
kind: FluxInstance
metadata: {{name: flux, namespace: flux-system}}
spec:
  distribution: {{version: "2.x", registry: ghcr.io/fluxcd}}
  components: [source-controller, kustomize-controller, notification-controller]
  sync: {{kind: GitRepository, url: "{url}", ref: refs/heads/main, path: "k8s/"}}
"""


@pytest.fixture
def daemon(cluster: Cluster, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is not started yet, and is ended whatever the test does."""
    made = Daemon(
        tmp_path / "d",
        {"home": cluster.kubeconfig},
        toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize",
    )
    yield made
    made.stop()
    for kind in ("fluxinstance", "kustomization", "gitrepository"):
        with contextlib.suppress(access.KubectlError):  # the CRD may not be there yet
            _remove(cluster, kind)


def _remove(cluster: Cluster, kind: str) -> None:
    """Remove what a test had a daemon follow, which is not there any more to let go of it."""
    for name in cluster.kubectl("get", kind, *FLUX_SYSTEM, "-o", "name").split():
        patch = '{"metadata": {"finalizers": null}}'
        cluster.kubectl("patch", name, *FLUX_SYSTEM, "--type=merge", "-p", patch)
        cluster.kubectl("delete", name, *FLUX_SYSTEM, "--ignore-not-found")


def until(is_so: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + api.WAIT_S, threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, "did not happen in time"
        pause.wait(0.05)


def command(daemon: Daemon, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [daemon.command, *argv, "--config", daemon.config],
        capture_output=True,
        text=True,
        check=False,
    )


def status(daemon: Daemon) -> dict[str, object]:
    found: dict[str, object] = json.loads(command(daemon, "status", "-o", "json").stdout)
    return found


def modes(daemon: Daemon) -> set[str]:
    clusters = status(daemon)["clusters"]
    return {kind["mode"] for each in clusters for kind in each["kinds"]}  # type: ignore[attr-defined]


def refused(daemon: Daemon) -> tuple[int, str]:
    """Run the daemon where it must not start; return its exit status and what it says."""
    done = subprocess.run(
        [daemon.command, "run", "--config", daemon.config],
        capture_output=True,
        text=True,
        check=False,
        timeout=api.WAIT_S,
    )
    return done.returncode, done.stderr.splitlines()[-1]


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=api.WAIT_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def resident_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def sync(cluster: Cluster, git_server: GitServer, namespace: str) -> None:
    """Let the cluster follow a repository with one ConfigMap."""
    manifest = f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: {namespace}}}}}"
    git_server.repo("fleet").push({"k8s/a.yaml": manifest})
    cluster.kubectl("apply", "-f", "-", input=INSTANCE.format(url=git_server.url("fleet")))


def ready(daemon: Daemon, kind: str) -> str:
    clusters = status(daemon)["clusters"]
    rows = [row for each in clusters for row in each["rows"] if row["kind"] == kind]  # type: ignore[attr-defined]
    return str(rows[0]["ready"]) if rows else ""


def test_idle_daemon_answers_everywhere_and_stays_small(daemon: Daemon) -> None:
    daemon.start()
    until(lambda: modes(daemon) == {"reconciling"})

    assert get(daemon.metrics_port, "/healthz") == (200, b"ok\n")
    assert get(daemon.metrics_port, "/readyz") == (200, b"ok\n")
    assert 'gitopsd_cluster_up{cluster="home"} 1.0' in daemon.metrics()
    assert daemon.pid is not None
    if Path("/proc").is_dir():
        assert resident_mib(daemon.pid) <= IDLE_MIB
    shown = command(daemon, "status")
    assert shown.returncode == 0
    assert f"process {daemon.pid}" in shown.stdout
    assert "cluster home: synced" in shown.stdout


def test_control_socket_is_the_owner_s_alone(daemon: Daemon) -> None:
    daemon.start()

    path = daemon._socket()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    daemon.stop()
    assert not path.exists()


def test_second_daemon_on_the_same_data_is_refused(daemon: Daemon) -> None:
    daemon.start()

    status_, message = refused(daemon)

    assert status_ == 1
    assert f"a gitopsd with process id {daemon.pid} is using it already" in message


def test_port_in_use_is_refused_with_the_setting(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", daemon.metrics_port)):
        status_, message = refused(daemon)

    assert status_ == 1
    assert "[listen] metrics = " in message
    assert "another process listens there" in message


def test_wrong_settings_are_refused_with_the_key(daemon: Daemon) -> None:
    daemon.config.write_text(daemon.config.read_text() + '\n[demon]\nlog_level = "info"\n')

    status_, message = refused(daemon)

    assert status_ == 2
    assert message.endswith("demon: unknown key; did you mean 'daemon'?")


def test_daemon_without_kustomize_starts_and_says_how_to_get_it(daemon: Daemon) -> None:
    text = daemon.config.read_text()
    daemon.config.write_text(
        text.replace("[tools]\nkustomize = ", "[tools]\nkustomize = '/none' #")
    )

    daemon.start()

    assert "a tool is missing" in daemon.log.read_text()


def test_stop_releases_the_leases(daemon: Daemon, cluster: Cluster) -> None:
    daemon.start()
    until(lambda: modes(daemon) == {"reconciling"})

    daemon.stop()

    template = "jsonpath={.items[*].spec.holderIdentity}"
    assert cluster.kubectl("get", "lease", *FLUX_SYSTEM, "-o", template).strip() == ""


def test_killed_daemon_takes_its_leases_up_again_at_once(daemon: Daemon) -> None:
    daemon.start()
    until(lambda: modes(daemon) == {"reconciling"})

    daemon.kill()
    daemon.start()

    until(lambda: modes(daemon) == {"reconciling"})


def test_changed_settings_are_read_and_wrong_ones_change_nothing(
    daemon: Daemon, cluster: Cluster
) -> None:
    daemon.start()
    good = daemon.config.read_text()
    second = f'\n[[clusters]]\nname = "second"\nkubeconfig = "{cluster.kubeconfig}"\n'

    def names() -> list[str]:
        return [each["name"] for each in status(daemon)["clusters"]]  # type: ignore[attr-defined]

    daemon.config.write_text(good + second)
    until(lambda: names() == ["home", "second"])

    daemon.config.write_text(good + "\n[frobnicate]\n")
    until(lambda: "frobnicate: unknown key" in str(status(daemon)["configError"]))
    assert names() == ["home", "second"]
    assert "settings: " in command(daemon, "status").stdout

    daemon.config.write_text(good)
    assert daemon.pid is not None
    os.kill(daemon.pid, signal.SIGHUP)
    until(lambda: names() == ["home"])
    assert status(daemon)["configError"] == ""


def test_service_manager_is_told_when_it_is_up_fed_and_stopping(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/tmp/gitopsd-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(api.WAIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        try:
            daemon.start()
            assert manager.recv(200).startswith(b"READY=1")
            assert manager.recv(200) == b"WATCHDOG=1"
            daemon.stop()
            said = b""
            while said != b"STOPPING=1":
                said = manager.recv(200)
        finally:
            Path(address).unlink()


def test_artifact_is_served_in_whole_and_in_part_and_nothing_else_is(
    daemon: Daemon, cluster: Cluster, git_server: GitServer, namespace: str
) -> None:
    daemon.start()
    sync(cluster, git_server, namespace)
    until(lambda: ready(daemon, "GitRepository") == "True")
    where = ("gitrepository", *FLUX_SYSTEM, "flux-system")
    url = cluster.kubectl("get", *where, "-o", "jsonpath={.status.artifact.url}")
    path = url.partition(str(daemon.artifact_port))[2]

    status_, whole = get(daemon.artifact_port, path)
    assert status_ == 200
    assert whole.startswith(b"\x1f\x8b")
    assert get(daemon.artifact_port, path, Range="bytes=2-5") == (206, whole[2:6])
    assert get(daemon.artifact_port, path.rpartition("/")[0] + "/")[0] == 404
    assert get(daemon.artifact_port, "/../identity")[0] == 404
    assert get(daemon.artifact_port, "/home/..%2f..%2fidentity")[0] == 404


def test_commands_reconcile_suspend_and_resume(
    daemon: Daemon, cluster: Cluster, git_server: GitServer, namespace: str
) -> None:
    daemon.start()
    sync(cluster, git_server, namespace)
    until(lambda: ready(daemon, "Kustomization") == "True")

    done = command(daemon, "reconcile", "kustomization", "flux-system", "--with-source")
    assert done.returncode == 0, done.stderr
    assert "✔ applied revision refs/heads/main@sha1:" in done.stdout

    verified = command(daemon, "reconcile", "kustomization", "flux-system", "--verify")
    assert verified.returncode == 0, verified.stderr
    refusal = command(daemon, "reconcile", "gitrepository", "flux-system", "--verify")
    assert "--verify is for Kustomizations" in refusal.stderr

    assert command(daemon, "suspend", "kustomization", "flux-system").returncode == 0
    refusal = command(daemon, "reconcile", "ks", "flux-system")
    assert refusal.returncode == 1
    assert "is suspended; resume it first" in refusal.stderr
    assert "Suspended" in command(daemon, "status").stdout

    assert command(daemon, "resume", "kustomization", "flux-system").returncode == 0
    listed = command(daemon, "get", "kustomizations", "-A").stdout
    assert listed.split()[:6] == [
        "NAMESPACE", "NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE",
    ]  # fmt: skip
    assert "flux-system  flux-system  refs/heads/main@sha1:" in listed


def test_reconcile_that_fails_ends_with_its_message(
    daemon: Daemon, cluster: Cluster, git_server: GitServer, namespace: str
) -> None:
    daemon.start()
    sync(cluster, git_server, namespace)
    until(lambda: ready(daemon, "Kustomization") == "True")
    git_server.repo("fleet").push({"k8s/a.yaml": "kind: [unclosed"})

    done = command(daemon, "reconcile", "kustomization", "flux-system", "--with-source")

    assert done.returncode == 1
    assert "Kustomization/flux-system/flux-system failed: " in done.stderr
    assert "a.yaml" in done.stderr


def test_commands_work_while_the_daemon_is_down(daemon: Daemon) -> None:
    daemon.start()
    daemon.stop()

    shown = command(daemon, "status")
    assert shown.returncode == 1
    assert "NOT RUNNING" in shown.stdout
    checked = command(daemon, "check")
    assert checked.returncode == 0, checked.stdout
    assert "cluster home: permissions: all that the daemon itself needs" in checked.stdout
