"""The daemon as it runs in a pod, with the ServiceAccount's files and the Service's address alone.

A kubelet is what is missing here. Its part is played by the test: a folder whose files are renewed
by swapping one link. The tokens are the API server's own and end with the Secret that each is bound
to.
"""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from bench import bed as beds
from devcluster import accounting
from devcluster.api import Credentials
from devcluster.daemon import Daemon
from devcluster.gitserver import GitServer
from tests.support import estate
from tests.support.estate import config_map, says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devcluster.cluster import Cluster

pytestmark = pytest.mark.leftovers("one daemon for the whole file")

ACCOUNT: Final = "gitopsd-in-cluster"
NAMESPACE: Final = "default"


class Projection:
    """A projected volume with one ServiceAccount's token, which lives as long as a Secret."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.folder = folder
        self._cluster = cluster
        self._bound_to = ""
        folder.mkdir()
        cluster.kubectl("create", "serviceaccount", ACCOUNT, "-n", NAMESPACE)
        cluster.kubectl(
            "create",
            "clusterrolebinding",
            ACCOUNT,
            "--clusterrole=cluster-admin",
            f"--serviceaccount={NAMESPACE}:{ACCOUNT}",
        )
        for name in ("token", "ca.crt"):
            (folder / name).symlink_to(Path("..data", name))
        self.renew()

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text()

    def renew(self) -> str:
        """Put a new token in place as a kubelet does, and end the one before, which is returned."""
        old, bound_to = self._bound_to, f"token-{uuid.uuid4().hex[:8]}"
        before = self.token if old else ""
        kubectl = self._cluster.kubectl
        kubectl("create", "secret", "generic", bound_to, "-n", NAMESPACE)
        bound = ["--bound-object-kind=Secret", f"--bound-object-name={bound_to}"]
        token = kubectl("create", "token", ACCOUNT, "-n", NAMESPACE, *bound)
        version = self.folder / f"..{bound_to}"
        version.mkdir()
        (version / "token").write_text(token)
        shutil.copy(self._cluster.ca_path, version / "ca.crt")
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.folder / "..data")
        self._bound_to = bound_to
        if old:
            shutil.rmtree(self.folder / f"..{old}")
            kubectl("delete", "secret", old, "-n", NAMESPACE)
        return before


@pytest.fixture(scope="module")
def projection(audited: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Projection:
    return Projection(audited, tmp_path_factory.mktemp("pod") / "serviceaccount")


@pytest.fixture(scope="module")
def bed(
    audited: Cluster, projection: Projection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[beds.Bed]:
    folder, server = tmp_path_factory.mktemp("in-cluster"), urlsplit(audited.server)
    table = (
        '\n[[clusters]]\nname = "own"\nin_cluster = true\n'
        f"service_account = {json.dumps(str(projection.folder))}\n"
    )
    # Whatever kubeconfig there is on this machine, nobody reads it.
    environ = {
        "KUBERNETES_SERVICE_HOST": server.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "KUBECONFIG": "/nonexistent",
        "HOME": str(folder),
    }
    daemon = Daemon(folder / "gitopsd", {}, estate.kustomize_program(), table, environ)
    with GitServer(folder / "git") as git:
        daemon.start()
        bed = beds.Bed(
            Credentials(audited.kubeconfig),
            git,
            hook=f"http://127.0.0.1:{daemon.webhook_port}",
            requests=accounting.AuditLog(audited.audit_log, beds.USER),
            daemon=daemon,
            cluster=audited,
        )
        bed.namespace(beds.NAMESPACE)
        yield bed
        bed.api.close()
        daemon.stop()


def answer_to(cluster: Cluster, token: str) -> int:
    """Return the status that the API server has for a token."""
    server = urlsplit(cluster.server)
    tls = ssl.create_default_context(cafile=str(cluster.ca_path))
    connection = http.client.HTTPSConnection(server.netloc, context=tls, timeout=10)
    try:
        connection.request("GET", "/api", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_daemon_serves_the_cluster_whose_pod_it_is(
    bed: beds.Bed, projection: Projection, audited: Cluster
) -> None:
    with estate.tenant(bed, f"test-{uuid.uuid4().hex[:8]}") as tenant:
        tenant.push({"web/a.yaml": config_map(tenant.name, "a", k="1")})
        tenant.kustomize("web")
        tenant.until_applied("web")

        old = projection.renew()
        estate.until(lambda: answer_to(audited, old) == 401, "the old token refused")

        tenant.push({"web/a.yaml": config_map(tenant.name, "a", k="2")})
        tenant.until_applied("web")
        bed.api.patch(tenant.object("a"), {"data": {"k": "3"}})
        tenant.until_live("a", says(k="2"))


def test_commands_use_the_same_account(bed: beds.Bed, audited: Cluster) -> None:
    assert bed.daemon
    server = urlsplit(audited.server)
    done = subprocess.run(
        [bed.daemon.command, "check", "--config", bed.daemon.config],
        env={
            "PATH": "/usr/bin:/bin",
            "KUBERNETES_SERVICE_HOST": server.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(server.port),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "own" in done.stdout
    assert audited.server in done.stdout, done.stdout + done.stderr
