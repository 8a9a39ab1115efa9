"""The installed daemon as a process of its own, with a configuration made for it."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devcluster.certificates import write_private
from devcluster.errors import StartError
from devcluster.processes import Program

if TYPE_CHECKING:
    from collections.abc import Mapping

_START_TIMEOUT_S = 60.0
_LONGEST_SOCKET_PATH = 100


class Daemon:
    """One ``gitopsd run``.

    Args:
        folder: holds its configuration, data and log; the same folder goes on where it was.
        clusters: the kubeconfig of each cluster, by the cluster's name.
        kustomize: the program to build with.
        extra: TOML to add at the end of the configuration.
        environ: variables beside our own.
    """

    def __init__(
        self,
        folder: Path,
        clusters: Mapping[str, Path],
        kustomize: Path,
        extra: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "config.toml"
        self.command = Path(sys.executable).parent / "gitopsd"
        self.secret = secrets.token_hex(16).encode()
        self.webhook_port, self.metrics_port, self.artifact_port = _free_ports()
        self._program = Program(self.folder, "gitopsd")
        self._environ = environ
        self._write_config(clusters, kustomize, extra)

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._program.pid

    @property
    def data_dir(self) -> Path:
        """Where it keeps its caches."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What it writes: a JSON line for each record."""
        return self._program.log

    def offer(self, program: Path) -> None:
        """Put a program where the daemon looks for its tools, before it starts."""
        tools = self.data_dir / "tools"
        tools.mkdir(parents=True, exist_ok=True)
        (tools / program.name).symlink_to(program)

    def start(self, *, wait: bool = True) -> None:
        """Start it; return when it says that it is ready.

        Raises:
            StartError: it ended, or was not ready within 60 s.
        """
        self._program.start([self.command, "run", "--config", self.config], self._environ)
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when ``/readyz`` says ok.

        Raises:
            StartError: the process ended, or 60 s went by.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        pause = threading.Event()
        while self._readiness() != http.HTTPStatus.OK:
            self._program.check()
            if time.monotonic() > deadline:
                raise StartError(f"gitopsd is not ready; its log ends:\n{self.tail()}")
            pause.wait(0.01)

    def stop(self) -> None:
        """End it as a service manager does."""
        self._program.stop(grace_s=30.0)

    def kill(self) -> None:
        """End it without a warning."""
        self._program.stop_with(signal.SIGKILL)

    def tail(self, lines: int = 15) -> str:
        """Return the end of the log."""
        return self._program.tail(lines)

    def metrics(self) -> str:
        """Return what ``/metrics`` says."""
        return self._get(self.metrics_port, "/metrics")[1].decode()

    def push_webhook(
        self, url: str, *, ref: str = "refs/heads/main", secret: bytes | None = None
    ) -> tuple[int, bytes]:
        """Post GitHub's push webhook for a repository; return the answer's status and body.

        Args:
            url: the repository's clone URL.
            ref: what was pushed.
            secret: signs it; the right one unless given.
        """
        body = json.dumps({"ref": ref, "repository": {"clone_url": url}}).encode()
        digest = hmac.new(secret or self.secret, body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": secrets.token_hex(8),
            "X-Hub-Signature-256": f"sha256={digest}",
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.webhook_port, timeout=10)
        try:
            connection.request("POST", "/webhooks/github", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _readiness(self) -> int:
        try:
            return self._get(self.metrics_port, "/readyz")[0]
        except OSError:
            return 0

    def _get(self, port: int, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _write_config(self, clusters: Mapping[str, Path], kustomize: Path, extra: str) -> None:
        secret = self.folder / "webhook-secret"
        write_private(secret, self.secret)
        tables = "".join(
            f"\n[[clusters]]\nname = {json.dumps(name)}\nkubeconfig = {json.dumps(str(path))}\n"
            for name, path in clusters.items()
        )
        self.config.write_text(
            f"""\
[daemon]
data_dir = {json.dumps(str(self.data_dir))}
control_socket = {json.dumps(str(self._socket()))}

[listen]
webhooks = "127.0.0.1:{self.webhook_port}"
artifacts = "127.0.0.1:{self.artifact_port}"
metrics = "127.0.0.1:{self.metrics_port}"

[github]
webhook_secret_file = {json.dumps(str(secret))}

[tools]
kustomize = {json.dumps(str(kustomize))}
{tables}{extra}"""
        )

    def _socket(self) -> Path:
        """Return a path that is short enough for a socket."""
        path = self.folder / "control.sock"
        if len(str(path).encode()) <= _LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"gitopsd-{digest}.sock"


def _free_ports() -> tuple[int, int, int]:
    """Return three ports that were free a moment ago."""
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
        socket.create_server(("127.0.0.1", 0)) as third,
    ):
        ports = [each.getsockname()[1] for each in (first, second, third)]
    return ports[0], ports[1], ports[2]
