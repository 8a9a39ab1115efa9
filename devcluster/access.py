"""A cluster one can talk to, whoever started it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from devcluster import toolcache
from devcluster.errors import DevclusterError

EXISTING = "GITOPSD_TEST_KUBECONFIG"
"""Names a kubeconfig whose cluster is used instead of a development cluster."""
ASSETS = "KUBEBUILDER_ASSETS"
"""Names a folder with etcd, kube-apiserver and kubectl, used instead of our own build."""


class KubectlError(DevclusterError):
    """kubectl ended with an error; the message is what it wrote."""


class Access:
    """A kubeconfig and the kubectl that goes with it.

    Args:
        kubeconfig: the path of the kubeconfig.
        scratch: a folder for kubectl's discovery cache, so that clusters never share one.
    """

    def __init__(self, kubeconfig: Path, scratch: Path) -> None:
        self.kubeconfig = kubeconfig
        self._scratch = scratch

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - subprocess's own word
        """Run kubectl against the cluster and return what it prints.

        Raises:
            KubectlError: it ended with another status than 0.
        """
        cache = f"--cache-dir={self._scratch / 'kubectl-cache'}"
        answer = subprocess.run(
            [str(program("kubectl")), cache, *arguments],
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
            input=input,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {answer.stderr.strip()}")
        return answer.stdout


def existing(scratch: Path) -> Access | None:
    """Return the cluster that ``GITOPSD_TEST_KUBECONFIG`` names, if it is set.

    Raises:
        DevclusterError: it is set and names no file.
    """
    given = os.environ.get(EXISTING, "")
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        raise DevclusterError(f"{EXISTING}={given}: no such file")
    return Access(path, scratch)


def program(name: str) -> Path:
    """Return the path of one of Kubernetes' programs.

    Looked up in ``KUBEBUILDER_ASSETS`` where that is set, then, for kubectl with an existing
    cluster, in ``PATH``; otherwise it is part of our own build.

    Raises:
        BuildError: our own build had to be made, and failed.
    """
    assets = os.environ.get(ASSETS, "")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    if os.environ.get(EXISTING, ""):
        found = shutil.which(name)
        if found:
            return Path(found)
    return toolcache.ensure(toolcache.CLUSTER) / name


def has_program(name: str) -> bool:
    """Say whether a program is to be had: a folder of test assets may lack some."""
    assets = os.environ.get(ASSETS, "")
    return not assets or (Path(assets) / name).is_file()
