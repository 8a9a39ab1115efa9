"""Everything the demo runs: a cluster, a Git server with the sample fleet, and the daemon."""

from __future__ import annotations

import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devcluster import toolcache
from devcluster.accounting import AuditLog
from devcluster.api import Api, Credentials
from devcluster.certificates import write_private
from devcluster.cluster import Cluster
from devcluster.daemon import Daemon
from devcluster.errors import StartError
from devcluster.gitrepo import Repo
from devcluster.processes import Program

if TYPE_CHECKING:
    from collections.abc import Callable

FLEET = Path(__file__).parent.parent / "examples" / "fleet"
INSTANCE = Path(__file__).parent / "instance.yaml"
USER = "gitopsd"
_PASSWORD = "demo"  # noqa: S105 - of a server on loopback that lives for a minute
_TIMEOUT_S = 60.0


class Stand:
    """The stand below one folder; what an earlier run left there is ended and removed first.

    Args:
        folder: where everything lives.
        pods: have a node on paper, and Deployments with replicas.
    """

    def __init__(self, folder: Path, *, pods: bool) -> None:
        self.folder = folder.absolute()
        self.pods = pods
        self.cluster = Cluster(self.folder / "cluster", pods=pods, audit=True)
        self._git = Program(self.folder, "git-server")
        self._gitopsd = Program(self.folder / "gitopsd", "gitopsd")

    def start(self, say: Callable[[str], None]) -> None:
        """Start everything up to an empty cluster that the daemon serves.

        Args:
            say: is told what happens, before it does.
        """
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        kustomize = toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
        toolcache.ensure(toolcache.CLUSTER)
        say("starting a Kubernetes control plane")
        self.cluster.up()
        self.api = Api(Credentials(self.cluster.kubeconfig))
        say("starting a Git server with the sample fleet of examples/fleet")
        self._start_git()
        say("starting gitopsd")
        kubeconfig = self.cluster.user(USER, groups=["system:masters"])
        self.daemon = Daemon(self.folder / "gitopsd", {"demo": kubeconfig}, kustomize)
        self.daemon.start()
        self.requests = AuditLog(self.cluster.audit_log, USER)

    def stop(self) -> None:
        """Stop everything that was started below the folder."""
        for program in (self._gitopsd, self._git):
            program.stop()
        self.cluster.down()

    def instance(self) -> str:
        """Return the manifest that makes the cluster follow the repository."""
        ca = (self.folder / "ca.crt").read_text().rstrip().replace("\n", "\n    ")
        text = INSTANCE.read_text()
        for name, value in {"URL": self.url, "CA": ca, "PASSWORD": _PASSWORD}.items():
            text = text.replace(f"${name}", value)
        return text

    def since(
        self,
        start: float,
        path: str,
        holds: Callable[[dict[str, Any] | None], bool],
    ) -> float:
        """Wait for an object to be as expected; return the seconds since ``start``.

        Raises:
            TimeoutError: it was not within a minute.
        """
        self.api.wait(path, holds, _TIMEOUT_S)
        return time.monotonic() - start

    def _start_git(self) -> None:
        root = self.folder / "git"
        self.repo = Repo(root / "fleet.git", root / "fleet.work")
        shutil.copytree(FLEET, self.repo.work, dirs_exist_ok=True)
        if self.pods:
            apps = self.repo.work / "k8s" / "apps.yaml"
            apps.write_text(apps.read_text().replace("overlays/demo", "overlays/pods"))
        self.repo.commit("Add the fleet")
        write_private(self.folder / "git-credentials", f"git:{_PASSWORD}\n".encode())
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{port}/fleet.git"
        options = ["--port", str(port), "--ca", str(self.folder / "ca.crt")]
        options += ["--credentials", str(self.folder / "git-credentials")]
        command = [sys.executable, "-m", "devcluster.gitserver", str(root), *options]
        self._git.start(command, {"PYTHONPATH": str(FLEET.parent.parent)})
        self._wait_for_git(port)

    def _wait_for_git(self, port: int) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        pause = threading.Event()
        while time.monotonic() < deadline:
            self._git.check()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                pause.wait(0.02)
            else:
                return
        raise StartError(f"the Git server does not answer; its log ends:\n{self._git.tail()}")
