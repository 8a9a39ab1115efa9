"""The installed daemon with an audited cluster and a Git server, as its users reach all three.

::

    with (
        estate.running({"home": cluster}, folder) as beds,
        estate.tenant(beds["home"], "shop") as shop,
    ):
        shop.push({"web/a.yaml": estate.config_map("shop", "a", k="1")})
        shop.kustomize("web")
        shop.until_applied("web")

The bed is the benchmark's and the soak's. Nothing here sleeps: every wait polls the API server
until something holds, and fails with the conditions of what it waited for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from bench import bed as beds
from bench.fixtures import dump
from devcluster import accounting, toolcache
from devcluster.api import Credentials, condition, is_ready
from devcluster.daemon import Daemon
from devcluster.gitserver import GitServer
from tests.support import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from devcluster.cluster import Cluster

Object = dict[str, Any]


class Tenant:
    """One namespace, one repository, and Kustomizations of the repository's folders.

    Args:
        bed: where it lives.
        name: of all of it.
    """

    def __init__(self, bed: beds.Bed, name: str) -> None:
        self.name, self._bed = name, bed
        self.repo = bed.git.repo(name)
        self._folders: list[str] = []
        bed.namespace(name)
        self.repo.push({"README.md": name})
        bed.follow(name, bed.git.url(name))

    def push(self, files: Mapping[str, str | None], *, quietly: bool = False) -> str:
        """Push files (None removes one), call the webhook unless quietly, return the commit."""
        texts = {path: text for path, text in files.items() if text is not None}
        self.repo.push(texts, delete=[path for path in files if path not in texts])
        if not quietly:
            self.announce()
        return self.repo.head

    def announce(self) -> None:
        """Call the webhook."""
        self._bed.call_hook(self.name)

    def kustomize(self, folder: str, **spec: object) -> None:
        """Create the Kustomization of a folder; its path may be given otherwise."""
        self._folders.append(folder)
        path = str(spec.pop("path", f"./{folder}"))
        self._bed.kustomize(self.kustomization(folder), self.name, path, **spec)

    def kustomization(self, folder: str) -> str:
        """Return the name of a folder's Kustomization."""
        return f"{self.name}-{folder}"

    def get(self, folder: str) -> Object:
        """Return a folder's Kustomization."""
        return self._bed.api.get(self._path(folder)) or {}

    def patch(self, folder: str, spec: Object) -> None:
        """Change the spec of a folder's Kustomization."""
        self._bed.api.patch(self._path(folder), {"spec": spec})

    def until(self, folder: str, holds: Callable[[Object | None], bool]) -> Object:
        """Wait until something holds of a folder's Kustomization, and return it."""
        return self._bed.api.wait(self._path(folder), holds, api.WAIT_S) or {}

    def until_applied(self, folder: str) -> Object:
        """Wait until a folder's Kustomization is Ready at the last commit."""
        return self.until(folder, lambda obj: is_ready(obj, self.repo.head))

    def until_refused(self, folder: str, reason: str, text: str = "") -> str:
        """Wait until Ready is False for a reason that says a text; return the message."""

        def is_refused(obj: Object | None) -> bool:
            ready = condition(obj)
            is_false = (ready.get("status"), ready.get("reason")) == ("False", reason)
            return is_false and text in ready["message"]

        return str(condition(self.until(folder, is_refused))["message"])

    def inventory(self, folder: str) -> set[str]:
        """Return the ids in a folder's inventory."""
        entries = self.get(folder)["status"].get("inventory", {}).get("entries", [])
        return {entry["id"] for entry in entries}

    def events(self, folder: str, reason: str) -> list[Object]:
        """Return the Kubernetes events about a folder's Kustomization for a reason."""
        selector = f"involvedObject.name%3D{self.kustomization(folder)}%2Creason%3D{reason}"
        path = f"/api/v1/namespaces/{beds.NAMESPACE}/events?fieldSelector={selector}"
        found: list[Object] = (self._bed.api.get(path) or {})["items"]
        return found

    def live(self, name: str, resource: str = "configmaps") -> Object | None:
        """Return an object of the core group in the tenant's namespace."""
        return self._bed.api.get(self.object(name, resource))

    def until_told(self, folder: str, reason: str, text: str) -> None:
        """Wait for an event about a folder's Kustomization that says a text."""

        def is_told() -> bool:
            return any(text in each["message"] for each in self.events(folder, reason))

        until(is_told, f"an event {reason} of {folder}: {text}")

    def is_fetched(self) -> bool:
        """Whether the source is Ready at the last commit."""
        return is_ready(self._bed.api.get(self._source()), self.repo.head)

    def patch_source(self, spec: Object) -> None:
        """Change the spec of the source."""
        self._bed.api.patch(self._source(), {"spec": spec})

    def until_live(
        self, name: str, holds: Callable[[Object | None], bool], resource: str = "configmaps"
    ) -> Object | None:
        """Wait until something holds of an object of the core group."""
        return self._bed.api.wait(self.object(name, resource), holds, api.WAIT_S)

    def object(self, name: str, resource: str = "configmaps") -> str:
        """Return the path of an object of the core group in the tenant's namespace."""
        return f"/api/v1/namespaces/{self.name}/{resource}/{name}"

    def end(self) -> None:
        """Delete what the daemon reconciles, and wait for its part of it."""
        for folder in self._folders:
            self._bed.api.delete(self._path(folder))
        for folder in self._folders:
            self._bed.api.wait(self._path(folder), lambda obj: obj is None, api.WAIT_S)
        self._bed.unfollow(self.name)

    def _source(self) -> str:
        group = "/apis/source.toolkit.fluxcd.io/v1"
        return f"{group}/namespaces/{beds.NAMESPACE}/gitrepositories/{self.name}"

    def _path(self, folder: str) -> str:
        return self._bed.kustomization(self.kustomization(folder))


@contextlib.contextmanager
def running(
    clusters: Mapping[str, Cluster],
    folder: Path,
    *,
    groups: tuple[str, ...] = ("system:masters",),
    with_helm: bool = False,
) -> Iterator[dict[str, beds.Bed]]:
    """Run one daemon on audited clusters, with a Git server of its own; one bed for each cluster.

    Args:
        clusters: by name, each started with an audit log.
        folder: for everything the daemon and the Git server keep.
        groups: of the daemon's user, who decides what it may do.
        with_helm: whether it finds helm.
    """
    kubeconfigs = {name: each.user(beds.USER, groups=groups) for name, each in clusters.items()}
    daemon = Daemon(folder / "gitopsd", kubeconfigs, kustomize_program())
    if with_helm:
        daemon.offer(toolcache.ensure(toolcache.HELM) / "helm")
    with GitServer(folder / "git") as git:
        try:
            daemon.start()
            found = {name: _bed(each, git, daemon) for name, each in clusters.items()}
            yield found
            for bed in found.values():
                bed.api.close()
        finally:
            daemon.stop()


def _bed(cluster: Cluster, git: GitServer, daemon: Daemon) -> beds.Bed:
    bed = beds.Bed(
        Credentials(cluster.kubeconfig),
        git,
        hook=f"http://127.0.0.1:{daemon.webhook_port}",
        requests=accounting.AuditLog(cluster.audit_log, beds.USER),
        daemon=daemon,
        cluster=cluster,
    )
    bed.namespace(beds.NAMESPACE)
    bed.count()
    return bed


@contextlib.contextmanager
def tenant(bed: beds.Bed, name: str) -> Iterator[Tenant]:
    """Have a tenant for the time of the block."""
    made = Tenant(bed, name)
    yield made
    made.end()


def kustomize_program() -> Path:
    """Return the pinned kustomize, built the first time."""
    return toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"


def config_map(namespace: str, name: str, **data: str) -> str:
    """Return a ConfigMap manifest as YAML."""
    return dump(api.config_map(namespace, name, **data))


def says(**data: str) -> Callable[[Object | None], bool]:
    """Tell a ConfigMap that says something."""
    return lambda obj: data.items() <= (obj or {}).get("data", {}).items()


def until(is_so: Callable[[], object], what: str) -> None:
    """Ask ten times a second until something is so.

    Raises:
        TimeoutError: it did not become so.
    """
    deadline = time.monotonic() + api.WAIT_S
    pause = threading.Event()
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {api.WAIT_S:.0f} s: {what}")
        pause.wait(0.1)


def metric(daemon: Daemon | None, name: str, **labels: str) -> float:
    """Add up one of the daemon's metrics over the children that have these labels."""
    wanted = {f'{label}="{text}"' for label, text in labels.items()}
    total = 0.0
    for line in daemon.metrics().splitlines() if daemon else ():
        found, _, rest = line.partition("{")
        if found == name and all(each in rest for each in wanted):
            total += float(rest.rpartition(" ")[2])
    return total
