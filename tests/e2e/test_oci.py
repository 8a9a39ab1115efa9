"""The daemon as a process, and a registry: pushed, pulled, applied, served."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

from devcluster import access, toolcache
from devcluster.daemon import Daemon
from tests.support import api
from tests.support.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from devcluster.cluster import Cluster

OBJECTS = """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {{name: fleet, namespace: {namespace}}}
spec: {{url: "{url}", interval: 1h, ref: {{semver: "1.x"}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: fleet, namespace: {namespace}}}
spec:
  interval: 1h
  prune: true
  targetNamespace: {namespace}
  sourceRef: {{kind: OCIRepository, name: fleet}}
"""
MANIFEST = "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{version: {0}}}}}"


def test_artifact_of_a_registry_is_applied_and_served(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    kustomize = toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
    daemon = Daemon(tmp_path / "d", {"home": cluster.kubeconfig}, kustomize)
    with Registry(tmp_path / "registry") as registry:
        registry.push("fleet", "1.0.0", {"a.yaml": MANIFEST.format("one")})
        try:
            daemon.start()
            objects = OBJECTS.format(namespace=namespace, url=registry.url("fleet"))
            applied(cluster, objects)
            comes(cluster, namespace, "configmap/a", "{.data.version}", "one")
            registry.push("fleet", "1.1.0", {"a.yaml": MANIFEST.format("two")})
            argv = ["reconcile", "source", "oci", "fleet", "-n", namespace]
            subprocess.run(
                [daemon.command, *argv, "--config", daemon.config], check=True, capture_output=True
            )
            comes(cluster, namespace, "configmap/a", "{.data.version}", "two")
            status = json.loads(
                cluster.kubectl(
                    "get", "ocirepository/fleet", "-n", namespace, "-o", "jsonpath={.status}"
                )
            )
            content = urllib.request.urlopen(status["url"], timeout=api.WAIT_S).read()
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            assert status["artifact"]["digest"] == digest
            assert status["artifact"]["revision"].startswith("1.1.0@sha256:")
            cluster.kubectl("delete", "kustomization/fleet", "ocirepository/fleet", "-n", namespace)
        finally:
            daemon.stop()


def applied(cluster: Cluster, text: str) -> None:
    """Apply objects as soon as their kinds are there: the daemon installs them."""
    deadline, pause = time.monotonic() + api.WAIT_S, threading.Event()
    while True:
        try:
            cluster.kubectl("apply", "-f", "-", input=text)
        except access.KubectlError:
            if time.monotonic() > deadline:
                raise
            pause.wait(0.2)
        else:
            return


def comes(cluster: Cluster, namespace: str, name: str, path: str, wanted: str) -> None:
    """Wait until a field of an object has a value."""
    cluster.kubectl("wait", name, "-n", namespace, "--for=create", f"--timeout={api.WAIT_S:.0f}s")
    condition = f"--for=jsonpath={path}={wanted}"
    cluster.kubectl("wait", name, "-n", namespace, condition, f"--timeout={api.WAIT_S:.0f}s")
