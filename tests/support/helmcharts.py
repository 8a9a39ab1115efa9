"""Charts for tests, packed as ``helm package`` packs them, and the helm program on a cluster.

::

    archive = helmcharts.pack("demo", {"templates/cm.yaml": "..."}, version="1.2.3")
    helm = helmcharts.Program(cluster.kubeconfig, tmp_path)
    helm.run("list", "-n", namespace)
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import yaml

from tests.support import helming

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %(plural)s.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: %(kind)s, plural: %(plural)s}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, description: %(text)s}
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  text: {{ .Values.text | quote }}
  revision: {{ .Release.Revision | quote }}
"""
DEMO = {"values.yaml": "text: default\n", "templates/config.yaml": CONFIG_MAP}
"""The smallest chart that shows its values and its revision."""


def pack(
    name: str, files: Mapping[str, str | bytes] = DEMO, *, version: str = "0.1.0", **metadata: Any
) -> bytes:
    """Return a chart as an archive.

    Args:
        name: of the chart.
        files: by their path in the chart; a sub-chart is a file ``charts/<name>.tgz``, or files.
        version: of the chart.
        **metadata: more of ``Chart.yaml``.
    """
    head = {"apiVersion": "v2", "name": name, "version": version, **metadata}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in {"Chart.yaml": yaml.safe_dump(head), **files}.items():
            raw = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode = len(raw), 0o644
            archive.addfile(info, io.BytesIO(raw))
    return buffer.getvalue()


class Program:
    """The pinned helm on a cluster: the judge of what the daemon writes.

    Args:
        kubeconfig: of the cluster.
        directory: for its caches.
    """

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self._kubeconfig, self._directory = kubeconfig, directory

    def run(self, *arguments: str, input: str = "") -> str:  # noqa: A002 - as subprocess calls it
        """Return what helm prints; fails with what it complains of."""
        done = self.attempt(*arguments, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def attempt(
        self,
        *arguments: str,
        input: str = "",  # noqa: A002 - see `run`
    ) -> subprocess.CompletedProcess[str]:
        """Run helm, whatever comes of it."""
        folders = {
            f"HELM_{name}_HOME": str(self._directory / name.lower())
            for name in ("CACHE", "CONFIG", "DATA")
        }
        return subprocess.run(
            [helming.helm_program(), *arguments],
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"KUBECONFIG": str(self._kubeconfig), "HOME": str(self._directory), **folders},
        )

    def json(self, *arguments: str) -> Any:
        """Return what helm prints with ``-o json``, decoded."""
        return json.loads(self.run(*arguments, "-o", "json"))


def definition(kind: str, plural: str, text: str = "first") -> str:
    """Return the manifest of a definition in the group ``example.com``.

    Args:
        kind: what it defines.
        plural: its name in paths.
        text: what it says of itself.
    """
    return _DEFINITION % {"kind": kind, "plural": plural, "text": text}
