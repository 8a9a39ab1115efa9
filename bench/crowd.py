"""Many small Kustomizations of one repository, each of which waits for its objects' health."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.fixtures import dump
from bench.trial import Result
from devcluster import accounting
from devcluster.accounting import Kind

if TYPE_CHECKING:
    from bench.bed import Bed

_RECORD = Kind("patch", "kustomizations/status")


class Crowd:
    """Measures how they become Ready, and what a commit costs that concerns one of them.

    Args:
        bed: what is measured.
        size: how many Kustomizations; each has the four objects of a small service.
        limit_s: what is accepted until all are Ready.
    """

    def __init__(self, bed: Bed, size: int, limit_s: float) -> None:
        self._bed, self._size, self._limit_s = bed, size, limit_s
        self._name = f"crowd-{size}"
        self._repo = bed.git.repo(self._name)
        self._folders = [f"{self._name}-{number:03}" for number in range(size)]

    def run(self) -> list[Result]:
        """Measure both; leave the cluster as it was."""
        bed = self._bed
        bed.namespace(self._name)
        self._repo.push({self._file(each): service(each, self._name) for each in self._folders})
        bed.follow(self._name, bed.git.url(self._name))
        results = [self._ready(), self._touch()]
        for folder in self._folders:
            bed.api.delete(bed.kustomization(folder))
        for folder in self._folders:
            bed.delete_kustomization(folder)
        bed.unfollow(self._name)
        bed.drop_namespace(self._name)
        return results

    def _ready(self) -> Result:
        """Measure from the first one created until the last one is Ready."""
        self._bed.count()
        start = time.monotonic()
        for folder in self._folders:
            self._bed.kustomize(folder, self._name, f"./{folder}", wait=True)
        self._bed.wait_all_ready(self._folders)
        took = time.monotonic() - start
        title = f"{self._size} Kustomizations of 4 objects, wait: true, until Ready"
        requests = accounting.managed(self._bed.count())
        return Result(title, took, requests=requests, limit=self._limit_s)

    def _touch(self) -> Result:
        """Push a change to one path and wait until all have recorded the revision."""
        folder = self._folders[self._size // 2]
        self._repo.push({self._file(folder): service(folder, self._name, "example.com/web:2")})
        self._bed.count()
        start = self._bed.call_hook(self._name)
        self._bed.wait_all_ready(self._folders, self._repo.head)
        took = time.monotonic() - start
        counts = self._bed.count()
        title = (
            f"a commit that touches 1 of {self._size} paths, until all have recorded it "
            f"({counts[_RECORD]} records)"
        )
        return Result(title, took, requests=accounting.managed(counts))

    def _file(self, folder: str) -> str:
        return f"{folder}/service.yaml"


def service(name: str, namespace: str, image: str = "example.com/web:1") -> str:
    """Return ServiceAccount, Service, Deployment without replicas and Ingress of a service."""
    metadata = {"name": name, "namespace": namespace}
    labels = {"app": name}
    container = {"name": "web", "image": image, "ports": [{"containerPort": 80}]}
    backend = {"service": {"name": name, "port": {"number": 80}}}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount"},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "spec": {"selector": labels, "ports": [{"port": 80}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"serviceAccountName": name, "containers": [container]},
                },
            },
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "spec": {
                "rules": [
                    {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
                ]
            },
        },
    ]
    return "---\n".join(dump(each | {"metadata": metadata}) for each in objects)
