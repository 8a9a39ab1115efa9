"""What is measured, and how it is reached: our own daemon and cluster, or a stranger's."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from devcluster import accounting, toolcache
from devcluster.api import Api, ApiError, Credentials, is_ready
from devcluster.cluster import Cluster
from devcluster.daemon import Daemon
from devcluster.gitserver import GitServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from devcluster.accounting import Kind, Source

NAMESPACE = "bench"
"""Where the Flux objects of the benchmark are."""
USER = "gitopsd"
TIMEOUT_S = 600.0
FOREIGN_PATIENCE_S = 20.0
"""How long a stranger is given to correct a change by hand: it may do so at intervals alone."""
_CORE = "/api/v1"
_SOURCE = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/gitrepositories"
_KUSTOMIZE = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/kustomizations"
_RECEIVER = f"/apis/notification.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/receivers"


class Bed:
    """A reconciler under test, as its users reach it.

    Args:
        credentials: an administrator's, of the cluster that it serves.
        git: where its sources come from.
        hook: the base URL of its Receivers.
        requests: counts what it asks of the API server.
        pid_file: holds its process ids, one a line; None for our own daemon.
        daemon: our own daemon, which can be stopped and started; None for a stranger.
        cluster: our own cluster, whose API server can be restarted; None for a stranger's.
        quiet_s: so long nothing may be asked of the API server before a count is over.
        api: the connection to use; one of its own where none is given.
    """

    def __init__(
        self,
        credentials: Credentials,
        git: GitServer,
        *,
        hook: str,
        requests: Source,
        pid_file: Path | None = None,
        daemon: Daemon | None = None,
        cluster: Cluster | None = None,
        quiet_s: float = 0.3,
        api: Api | None = None,
    ) -> None:
        self.credentials = credentials
        self.api = api or Api(credentials)
        self.git = git
        self.daemon = daemon
        self.cluster = cluster
        self._hook = hook
        self._requests = requests
        self._pid_file = pid_file
        self._quiet_s = quiet_s

    @property
    def patience_s(self) -> float:
        """How long a change by hand may stay."""
        return TIMEOUT_S if self.daemon else FOREIGN_PATIENCE_S

    @property
    def pids(self) -> list[int]:
        """The processes of the reconciler."""
        if self.daemon:
            return [self.daemon.pid] if self.daemon.pid else []
        return [int(pid) for pid in self._pid_file.read_text().split()] if self._pid_file else []

    def count(self) -> Counter[Kind]:
        """Return the requests since the last call, up to a moment of quiet."""
        return accounting.settled(self._requests, quiet_s=self._quiet_s, limit_s=3.0)

    def namespace(self, name: str) -> None:
        """Make a namespace if it is not there."""
        if self.api.get(f"{_CORE}/namespaces/{name}") is None:
            self.api.post(f"{_CORE}/namespaces", {"metadata": {"name": name}})

    def drop_namespace(self, name: str) -> None:
        """Delete a namespace, and wait until it is gone."""
        self.api.delete(f"{_CORE}/namespaces/{name}")
        self.api.wait(f"{_CORE}/namespaces/{name}", lambda obj: obj is None, TIMEOUT_S)

    def config_map(self, namespace: str, name: str) -> str:
        """Return the path of a ConfigMap."""
        return f"{_CORE}/namespaces/{namespace}/configmaps/{name}"

    def config_maps(self, namespace: str) -> dict[str, str]:
        """Return what the benchmark's ConfigMaps of a namespace say, by name."""
        items = (self.api.get(_config_maps(namespace)) or {})["items"]
        return {item["metadata"]["name"]: item["data"]["value"] for item in items}

    def follow_config_maps(self, namespace: str) -> Generator[tuple[str, str], None, None]:
        """Yield what each of those ConfigMaps says, and then what each says after a change."""
        with contextlib.closing(self.api.follow(_config_maps(namespace), TIMEOUT_S)) as changes:
            for item in changes:
                yield item["metadata"]["name"], item["data"]["value"]

    def follow(self, name: str, repo_url: str, **settings: str) -> None:
        """Create a GitRepository that fetches when its Receiver is called, and hourly.

        Args:
            name: its name.
            repo_url: what it follows.
            settings: further fields of its spec, which may also replace the interval.
        """
        spec: dict[str, Any] = {
            "interval": "1h",
            "url": repo_url,
            "ref": {"branch": "main"},
            **settings,
        }
        self.api.post(_SOURCE, _object("source", "GitRepository", name, spec))
        secret = {"metadata": {"name": name}, "stringData": {"token": f"token-of-{name}"}}
        self.api.post(f"{_CORE}/namespaces/{NAMESPACE}/secrets", secret)
        spec = {
            "type": "generic",
            "secretRef": {"name": name},
            "resources": [{"kind": "GitRepository", "name": name}],
        }
        self.api.post(_RECEIVER, _object("notification", "Receiver", name, spec))
        self.api.wait(f"{_RECEIVER}/{name}", _has_path, TIMEOUT_S)
        self.api.wait(f"{_SOURCE}/{name}", is_ready, TIMEOUT_S)

    def wait_source(self, name: str, revision: str) -> None:
        """Wait until a GitRepository is Ready at a revision."""
        self.api.wait(f"{_SOURCE}/{name}", lambda obj: is_ready(obj, revision), TIMEOUT_S)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while."""
        threading.Event().wait(seconds)

    def unfollow(self, name: str) -> None:
        """Delete what `follow` made."""
        for path in (f"{_RECEIVER}/{name}", f"{_SOURCE}/{name}"):
            self.api.delete(path)
            self.api.wait(path, lambda obj: obj is None, TIMEOUT_S)
        self.api.delete(f"{_CORE}/namespaces/{NAMESPACE}/secrets/{name}")

    def kustomize(self, name: str, source: str, path: str, **spec: object) -> None:
        """Create a Kustomization of a folder of a source; hourly, pruned."""
        spec = {
            "interval": "1h",
            "retryInterval": "5s",
            "timeout": "5m",
            "prune": True,
            "path": path,
            "sourceRef": {"kind": "GitRepository", "name": source},
            **spec,
        }
        self.api.post(_KUSTOMIZE, _object("kustomize", "Kustomization", name, spec))

    def kustomization(self, name: str) -> str:
        """Return the path of a Kustomization."""
        return f"{_KUSTOMIZE}/{name}"

    def kustomizations(self) -> list[dict[str, Any]]:
        """Return every Kustomization of the benchmark."""
        items: list[dict[str, Any]] = (self.api.get(_KUSTOMIZE) or {})["items"]
        return items

    def wait_ready(self, name: str, revision: str = "") -> dict[str, Any]:
        """Wait until a Kustomization is Ready, at a revision if one is given; return it."""
        path = self.kustomization(name)
        obj = self.api.wait(path, lambda obj: is_ready(obj, revision), TIMEOUT_S)
        return obj or {}

    def wait_all_ready(self, names: Iterable[str], revision: str = "") -> None:
        """Wait until Kustomizations are Ready, at a revision if one is given, by one watch."""
        self.api.wait_all(_KUSTOMIZE, names, lambda obj: is_ready(obj, revision), TIMEOUT_S)

    def delete_kustomization(self, name: str) -> None:
        """Delete a Kustomization and wait until it is gone, with all it applied."""
        self.api.delete(self.kustomization(name))
        self.api.wait(self.kustomization(name), lambda obj: obj is None, TIMEOUT_S)

    def request(self, name: str) -> str:
        """Ask for a reconcile of a Kustomization; return the token to wait for."""
        token = f"bench-{time.monotonic_ns()}"
        annotations = {"reconcile.fluxcd.io/requestedAt": token}
        self.api.patch(self.kustomization(name), {"metadata": {"annotations": annotations}})
        return token

    def wait_handled(self, name: str, token: str) -> None:
        """Wait until a requested reconcile has been done and found or left all well.

        A start without caches handles the request once before it has its artifact again.
        """
        self.api.wait(
            self.kustomization(name),
            lambda obj: _handled(obj) == token and is_ready(obj, ""),
            TIMEOUT_S,
        )

    def call_hook(self, name: str) -> float:
        """Call the Receiver of a source; return the time just before.

        Raises:
            ApiError: it did not answer 200.
        """
        receiver = self.api.get(f"{_RECEIVER}/{name}") or {}
        address = urlsplit(self._hook)
        connection = http.client.HTTPConnection(address.netloc, timeout=30)
        start = time.monotonic()
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", receiver["status"]["webhookPath"], b"{}", headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise ApiError(f"the Receiver {name} answered {answer.status} {text[:200]!r}")
        return start


@contextlib.contextmanager
def ours(folder: Path, *, pods: bool = False) -> Iterator[Bed]:
    """Start a cluster, a Git server and our own daemon, and end them afterwards.

    Args:
        folder: for everything they make.
        pods: whether pods run, and Jobs end.
    """
    kustomize = toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
    with (
        Cluster(folder / "cluster", pods=pods, audit=True) as cluster,
        GitServer(folder / "git") as git,
    ):
        daemon = Daemon(
            folder / "gitopsd",
            {"bench": cluster.user(USER, groups=["system:masters"])},
            kustomize,
        )
        daemon.offer(toolcache.ensure(toolcache.HELM) / "helm")
        try:
            daemon.start()
            bed = Bed(
                Credentials(cluster.kubeconfig),
                git,
                hook=f"http://127.0.0.1:{daemon.webhook_port}",
                requests=accounting.AuditLog(cluster.audit_log, USER),
                daemon=daemon,
                cluster=cluster,
            )
            bed.namespace(NAMESPACE)
            yield bed
            bed.api.close()
        finally:
            daemon.stop()


@contextlib.contextmanager
def theirs(
    kubeconfig: Path,
    hook: str,
    pid_file: Path,
    folder: Path,
    *,
    quiet_s: float = 1.0,
    idle_s: float = 10.0,
) -> Iterator[Bed]:
    """Use a reconciler that runs already; its requests are all but ours, less an idle share.

    Args:
        kubeconfig: an administrator's, of the cluster that it serves.
        hook: the base URL of its Receivers.
        pid_file: holds its process ids, one a line.
        folder: for the Git server.
        quiet_s: as for `Bed`.
        idle_s: for how long the idle share is measured.
    """
    credentials = Credentials(kubeconfig)
    with GitServer(folder / "git") as git, contextlib.closing(Api(credentials)) as counting:
        own = _CountedApi(credentials)
        others = accounting.OthersTotals(accounting.Totals(counting), own.asked)
        bed = Bed(
            credentials,
            git,
            hook=hook,
            requests=IdleLess(others, idle_s),
            pid_file=pid_file,
            quiet_s=quiet_s,
            api=own,
        )
        bed.namespace(NAMESPACE)
        yield bed
        bed.api.close()


class _CountedApi(Api):
    """Counts what it asks, so that it can be told from what others ask."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self.asked: Counter[Kind] = Counter()

    def raw(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> tuple[int, bytes]:
        self.asked[accounting.asked(method, path, content_type)] += 1
        return super().raw(method, path, body, content_type)


class IdleLess:
    """Counts less what is asked all the time anyway, by a measure at the start.

    Args:
        source: the counts of all clients.
        seconds: for how long that is measured.
    """

    def __init__(self, source: Source, seconds: float) -> None:
        self._source = source
        source.take()
        threading.Event().wait(seconds)
        idle = source.take()
        self._per_s = {kind: number / seconds for kind, number in idle.items()}
        self._since = time.monotonic()

    def take(self) -> Counter[Kind]:
        """Return what has been answered since the last call, less the idle share."""
        now = time.monotonic()
        counts = self._source.take()
        for kind, rate in self._per_s.items():
            counts[kind] = max(0, counts[kind] - round(rate * (now - self._since)))
        self._since = now
        return +counts


def _config_maps(namespace: str) -> str:
    return f"{_CORE}/namespaces/{namespace}/configmaps?labelSelector=app%3Dbench"


def _object(group: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": f"{group}.toolkit.fluxcd.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def _has_path(obj: dict[str, Any] | None) -> bool:
    return bool((obj or {}).get("status", {}).get("webhookPath"))


def _handled(obj: dict[str, Any] | None) -> str:
    return str((obj or {}).get("status", {}).get("lastHandledReconcileAt", ""))
