"""One development cluster in one folder: started, stopped, and its API server restarted alone.

::

    with Cluster(Path("/tmp/here")) as cluster:
        cluster.kubectl("get", "namespaces")

The context manager ends the cluster however its process ends, a kill included: a guard process
waits for that. `up` and `down` leave a cluster running between two commands.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devcluster import access, certificates, components, podlogs
from devcluster.components import Plan
from devcluster.errors import StartError
from devcluster.processes import Program

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_START_TIMEOUT_S = 60.0
_ATTEMPTS = 3
_ADMIN_GROUP = "system:masters"
_PORTS = ("etcd", "api", "nodes")
_STAGES = Path(__file__).parent / "stages.yaml"


class Cluster(access.Access):
    """A control plane of our own.

    Args:
        directory: its home; the same folder gives the same ports, users and data again.
        pods: run a scheduler and kwok too, so that pods of a Deployment become Ready, those of a
            Job end, and all of them have a log; ``stages.yaml`` says what else they can do.
        audit: write every request to `audit_log`.
        doorman: a kubeconfig of whom the API server asks about bearer tokens that it does not know.
    """

    def __init__(
        self,
        directory: Path,
        *,
        pods: bool = False,
        audit: bool = False,
        doorman: Path | None = None,
    ) -> None:
        directory = directory.absolute()
        super().__init__(directory / "kubeconfig", directory)
        self.directory = directory
        self._pods = pods
        self._plan = Plan(directory, 0, 0, audit, doorman)
        self._programs = {name: Program(directory, name) for name in _NAMES}
        self._guard: subprocess.Popen[bytes] | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._plan.server

    @property
    def ca_path(self) -> Path:
        """The authority that signed the API server's certificate and every user's."""
        return self._plan.pki / "ca.crt"

    @property
    def audit_log(self) -> Path:
        """A JSON line (``audit.k8s.io/v1`` Event) for each request, where `audit` was asked for."""
        return self._plan.audit_log

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each program that runs."""
        return {name: pid for name, program in self._programs.items() if (pid := program.pid)}

    @property
    def all_pids(self) -> set[int]:
        """Every process that belongs to the cluster, the guard included."""
        guard = {self._guard.pid} if self._guard else set()
        return guard | set(self.pids.values())

    def up(self) -> None:
        """Start what does not run yet; return when the API server is ready and namespaces work.

        Raises:
            BuildError: the programs had to be built first, and could not be.
            StartError: a program ended, or was not ready within a minute.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        access.program("kube-apiserver")  # a build comes before any waiting
        for attempt in range(1, _ATTEMPTS + 1):
            self._prepare()
            try:
                self._start_api()
                break
            except StartError:
                taken = "address already in use" in self._log_text()
                self.down()
                if not taken or attempt == _ATTEMPTS:
                    raise
                (self.directory / "ports.json").unlink()
        self._start_controllers()

    def down(self) -> None:
        """Stop what `up` started here, and nothing else."""
        for name in reversed(_NAMES):
            self._programs[name].stop(grace_s=3.0)

    def __enter__(self) -> Self:
        """Start the cluster, and a guard that ends it should this process be killed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "devcluster.guard", self.directory],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd=Path(__file__).parent.parent,
        )
        try:
            self.up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the cluster; the folder stays."""
        try:
            self.down()
        finally:
            if self._guard is not None:
                self._guard.communicate()
                self._guard = None

    def user(self, name: str, *, groups: tuple[str, ...] | list[str] = ()) -> Path:
        """Return a kubeconfig with a client certificate for a user, who can do nothing yet."""
        return self._user(
            name, tuple(groups), self.directory / f"kubeconfig-{name.replace(':', '-')}"
        )

    def stop_api(self) -> None:
        """End the API server; etcd and the controllers stay.

        It gets two seconds: with watches open, it would wait a minute for their clients to go.
        """
        self._programs["kube-apiserver"].stop(grace_s=2.0)

    def kill_api(self) -> None:
        """End the API server as a crash would."""
        self._programs["kube-apiserver"].kill()

    def start_api(self) -> None:
        """Start the API server again, at the same address, and wait until it is ready."""
        self._programs["kube-apiserver"].start(
            components.apiserver(self._plan), components.ENVIRONMENT
        )
        self._wait_for("kube-apiserver", self._is_ready)

    def restart_api(self) -> None:
        """Stop the API server and start it again."""
        self.stop_api()
        self.start_api()

    def get(self, path: str) -> bytes:
        """GET a path of the API server as the administrator.

        Raises:
            OSError: it does not answer, or not with a 2xx status.
        """
        pki, context = self._plan.pki, self._context
        if context is None:
            context = self._context = ssl.create_default_context(cafile=pki / "ca.crt")
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        url = self.server + path
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - https
            content: bytes = answer.read()
        return content

    def _prepare(self) -> None:
        """Settle the ports, then write certificates and kubeconfigs that are not there yet."""
        ports = self._ports()
        self._plan = replace(
            self._plan, etcd_port=ports["etcd"], api_port=ports["api"], node_port=ports["nodes"]
        )
        authority = certificates.Authority(self._plan.pki)
        pki = self._plan.pki
        if not (pki / "service-account.key").exists():
            _write_pair(
                pki,
                "apiserver",
                authority.issue("kube-apiserver", hosts=("127.0.0.1", "localhost")),
            )
            _write_pair(pki, "admin", authority.issue("admin", (_ADMIN_GROUP,)))
            pair = certificates.signing_key()
            (pki / "service-account.pub").write_bytes(pair.certificate)
            certificates.write_private(pki / "service-account.key", pair.key)
        admin = certificates.Pair(
            (pki / "admin.crt").read_bytes(), (pki / "admin.key").read_bytes()
        )
        certificates.write_private(
            self.kubeconfig, certificates.kubeconfig(self.server, authority, admin)
        )

    def _ports(self) -> dict[str, int]:
        """Return the ports of this folder; those that it has none for yet were free just now."""
        path = self.directory / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        with contextlib.ExitStack() as held:
            for name in _PORTS:
                if name not in ports:
                    listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
                    ports[name] = listener.getsockname()[1]
        path.write_text(json.dumps(ports))
        return ports

    def _user(self, name: str, groups: tuple[str, ...], path: Path) -> Path:
        authority = certificates.Authority(self._plan.pki)
        content = certificates.kubeconfig(self.server, authority, authority.issue(name, groups))
        certificates.write_private(path, content)
        return path

    def _start_api(self) -> None:
        if self._programs["etcd"].pid is None:
            self._programs["etcd"].start(components.etcd(self._plan))
        if self._programs["kube-apiserver"].pid is None:
            self._programs["kube-apiserver"].start(
                components.apiserver(self._plan), components.ENVIRONMENT
            )
        self._wait_for("kube-apiserver", self._is_ready, also="etcd")

    def _start_controllers(self) -> None:
        # The controllers get names of their own, so that an audit log tells them from a person.
        if access.has_program("kube-controller-manager"):
            kubeconfig = self._component_user("kube-controller-manager")
            self._start(
                "kube-controller-manager", components.controller_manager(self._plan, kubeconfig)
            )
        else:
            print(
                "no kube-controller-manager there: namespaces stay Terminating when deleted",
                file=sys.stderr,
            )
        if self._pods:
            self._start(
                "kube-scheduler", components.scheduler(self._component_user("kube-scheduler"))
            )
            configs = (_STAGES, podlogs.configure(self.directory))
            user = self._component_user("kwok")
            self._start("kwok", components.kwok(self._plan, user, configs))
            self.kubectl("apply", "--server-side", "-f", "-", input=_NODE)
        if access.has_program("kube-controller-manager"):
            self._wait_for("kube-controller-manager", self._has_default_account)

    def _component_user(self, name: str) -> Path:
        """Return the kubeconfig of a component: a name of its own, every right."""
        return self._user(f"system:{name}", (_ADMIN_GROUP,), self._plan.pki / f"{name}.kubeconfig")

    def _start(self, name: str, command: list[str | Path]) -> None:
        if self._programs[name].pid is None:
            self._programs[name].start(command)

    def _wait_for(self, name: str, is_ready: Callable[[], bool], also: str = "") -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        pause = threading.Event()
        while not is_ready():
            for each in filter(None, (also, name)):
                self._programs[each].check()
            if time.monotonic() > deadline:
                tail = self._programs[name].tail()
                raise StartError(f"{name} was not ready within a minute; its log ends:\n{tail}")
            pause.wait(0.1)

    def _is_ready(self) -> bool:
        try:
            return self.get("/readyz") == b"ok"
        except (OSError, urllib.error.URLError):
            return False

    def _has_default_account(self) -> bool:
        try:
            self.get("/api/v1/namespaces/default/serviceaccounts/default")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def _log_text(self) -> str:
        return "".join(self._programs[name].tail(50) for name in ("etcd", "kube-apiserver"))


_NAMES = ("etcd", "kube-apiserver", *components.COMPONENTS)

_NODE = """\
apiVersion: v1
kind: Node
metadata:
  name: paper
  labels: {kubernetes.io/hostname: paper, kubernetes.io/os: linux}
"""


def remove(directory: Path) -> None:
    """Stop the cluster of a folder and delete its data; builds in the cache stay."""
    Cluster(directory).down()
    shutil.rmtree(directory, ignore_errors=True)


def _write_pair(folder: Path, name: str, pair: certificates.Pair) -> None:
    (folder / f"{name}.crt").write_bytes(pair.certificate)
    certificates.write_private(folder / f"{name}.key", pair.key)
