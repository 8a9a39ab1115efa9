"""A Kustomization that is compared from the command line, without a daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cli import main
from devcluster import toolcache
from kube import manifests
from runtime.clock import SystemClock
from sources.storage import Owner, Storage
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from api.artifact import Artifact
    from devcluster.cluster import Cluster

NAME = "apps"


def config_map(namespace: str, name: str, **data: str) -> str:
    """Return a ConfigMap as YAML."""
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"data: {json.dumps(data)}\n"
    )


def secret(namespace: str, value: str) -> str:
    """Return the Secret ``login`` as YAML."""
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {namespace}}}\n"
        f"stringData: {{password: {value}}}\n"
    )


class Bench:
    """A namespace with one Kustomization, and a command line for it."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.config = folder / "config.toml"
        self.configure()

    def configure(self, kustomize: str = "") -> None:
        program = kustomize or toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
        self.config.write_text(
            f'[daemon]\ndata_dir = "{self.folder}/data"\n[tools]\nkustomize = "{program}"\n'
            f'[[clusters]]\nname = "home"\nkubeconfig = "{self.cluster.kubeconfig}"\n'
        )

    def run(self, command: str, *argv: str) -> int:
        where = ("-n", self.namespace, "--config", str(self.config))
        return main.main([command, "kustomization", NAME, *argv, *where])

    def apply(self, manifest: Mapping[str, Any]) -> None:
        self.cluster.kubectl(
            "apply", "--server-side", "-n", self.namespace, "-f", "-", input=json.dumps(manifest)
        )

    def source(self, url: str = "http://127.0.0.1:1/fleet.git", **spec: Any) -> None:
        body = {"interval": "1h", "url": url, "ref": {"branch": "main"}, **spec}
        self.apply(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "metadata": {"name": "fleet"},
                "spec": body,
            }
        )

    def kustomize(self, *inventory: str, name: str = NAME, **spec: Any) -> None:
        source = {"kind": "GitRepository", "name": "fleet"}
        body = {"interval": "1h", "prune": True, "path": "./deploy", "sourceRef": source, **spec}
        self.apply(
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": {"name": name},
                "spec": body,
            }
        )
        entries = [{"id": entry, "v": "v1"} for entry in inventory]
        self._status("kustomization", name, {"inventory": {"entries": entries}})

    def publish(self, files: Mapping[str, str], root: Path, url: str = "127.0.0.1:1") -> Artifact:
        """Store an artifact as a daemon does, and announce it."""
        storage = Storage(root, url, SystemClock())
        owner = Owner("GitRepository", self.namespace, "fleet")
        sha = "0123456789abcdef0123456789abcdef01234567"
        artifact = storage.put(owner, f"{sha}.tar.gz", f"main@sha1:{sha}", MemoryTree(files))
        status = {
            "digest": artifact.digest,
            "path": artifact.path,
            "url": artifact.url,
            "revision": artifact.revision,
            "lastUpdateTime": artifact.last_update_time,
        }
        self._status("gitrepository", "fleet", {"artifact": status})
        return artifact

    def publish_here(self, files: Mapping[str, str]) -> Artifact:
        """Store an artifact where the daemon of this configuration would."""
        return self.publish(files, self.folder / "data" / "artifacts" / "home")

    def owned(self, *documents: str) -> None:
        """Put objects into the cluster as an apply of the Kustomization leaves them."""
        labels = {
            "kustomize.toolkit.fluxcd.io/name": NAME,
            "kustomize.toolkit.fluxcd.io/namespace": self.namespace,
        }
        for text in documents:
            obj = manifests.load(text)
            obj["metadata"]["labels"] = labels
            self.cluster.kubectl(
                *("apply", "--server-side", "--field-manager=kustomize-controller", "-f", "-"),
                input=json.dumps(obj),
            )

    def _status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        patch = json.dumps({"status": status})
        self.cluster.kubectl(
            *("patch", kind, name, "-n", self.namespace, "--subresource=status"),
            *("--type=merge", "-p", patch),
        )
