"""The official helm program as a judge of what is in a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from devcluster import toolcache
from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from pathlib import Path


class HelmError(DevclusterError):
    """helm ended with an error; the message is what it wrote."""


class Helm:
    """The pinned helm, as somebody runs it who keeps records in one namespace.

    Args:
        kubeconfig: of the cluster.
        namespace: of the records.
        folder: for its caches.
    """

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self._program = toolcache.ensure(toolcache.HELM) / "helm"
        self._namespace = namespace
        folders = {f"HELM_{each}_HOME": str(folder) for each in ("CACHE", "CONFIG", "DATA")}
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), **folders}

    def text(self, *arguments: str) -> str:
        """Return what helm prints.

        Raises:
            HelmError: it failed.
        """
        answer = subprocess.run(
            [self._program, *arguments, "--namespace", self._namespace],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise HelmError(f"helm {' '.join(arguments)}: {answer.stderr.strip()}")
        return answer.stdout

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever helm prints
        """Return what helm prints as JSON, decoded.

        Raises:
            HelmError: it failed.
        """
        return json.loads(self.text(*arguments, "--output", "json"))
