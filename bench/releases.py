"""What HelmReleases cost: a chart from Git, installed, upgraded one by one and all together.

A Kustomization applies the HelmReleases, as people keep them: chart and releases in one repository.
"""

from __future__ import annotations

import re
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bench.bed import NAMESPACE, TIMEOUT_S
from bench.fixtures import dump
from bench.trial import Result
from devcluster.api import condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.bed import Bed

SIZE: Final = 20
INSTALLED_S: Final = 4.0
"""Seconds that are accepted from the first HelmRelease created until the last is Ready."""
CHANGED_S: Final = 0.6
"""Seconds from the delivery of a push that changes the values of one release until it is Ready."""
UPGRADED_S: Final = 4.0
"""Seconds from the delivery of a push with a new chart until all are Ready with it."""
_ROUNDS: Final = 9
_NAME: Final = "releases"
_PATH: Final = f"/apis/helm.toolkit.fluxcd.io/v2/namespaces/{NAMESPACE}/helmreleases"
_MANAGED: Final = frozenset({"configmaps", "services", "serviceaccounts"})
_HELM: Final = re.compile(
    r'^gitopsd_child_processes_total\{.*program="helm".*\} (\S+)$', re.MULTILINE
)
_TEMPLATES: Final = {
    "chart/values.yaml": "text: default\n",
    "chart/templates/config.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"
        "data: {text: {{ .Values.text | quote }}, chart: {{ .Chart.Version | quote }}}\n"
    ),
    "chart/templates/account.yaml": (
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: {{ .Release.Name }}}\n"
    ),
    "chart/templates/service.yaml": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}}\n"
        "spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}\n"
    ),
}


class Releases:
    """Measures every row; the cluster is left as it was.

    Args:
        bed: what is measured.
        say: tells what is going on.
    """

    def __init__(self, bed: Bed, say: Callable[[str], None]) -> None:
        self._bed, self._say = bed, say
        self._repo = bed.git.repo(_NAME)
        self._names = [f"release-{number:02}" for number in range(SIZE)]

    def rows(self) -> list[Result]:
        """Measure."""
        self._bed.namespace(_NAME)
        self._repo.push({**_TEMPLATES, "chart/Chart.yaml": _chart("1.0.0")})
        self._bed.follow(_NAME, self._bed.git.url(_NAME))
        found = [self._install(), self._change(), self._upgrade(), *self._rest()]
        self._bed.delete_kustomization(_NAME)
        for name in self._names:
            self._bed.api.wait(f"{_PATH}/{name}", lambda obj: obj is None, TIMEOUT_S)
        self._bed.unfollow(_NAME)
        self._bed.drop_namespace(_NAME)
        return found

    def _install(self) -> Result:
        self._say(f"{SIZE} HelmReleases installed")
        self._repo.push(self._manifests(self._names, "first"))
        self._bed.call_hook(_NAME)
        self._bed.wait_source(_NAME, self._repo.head)
        self._bed.count()
        start = time.monotonic()
        self._bed.kustomize(_NAME, _NAME, "./releases")
        self._wait(self._names, chart="1.0.0", revision=1)
        title = f"{SIZE} HelmReleases of a chart from Git, installed"
        return Result(title, time.monotonic() - start, limit=INSTALLED_S)

    def _change(self) -> Result:
        self._say(f"values of one release changed, {_ROUNDS} times")
        times = []
        for number in range(_ROUNDS):
            name = self._names[number]
            self._repo.push(self._manifests([name], f"changed {number}"))
            start = self._bed.call_hook(_NAME)
            self._wait([name], chart="1.0.0", revision=2)
            times.append(time.monotonic() - start)
        title = f"push of one release's values until it is upgraded (median of {_ROUNDS})"
        return Result(title, statistics.median(times), limit=CHANGED_S)

    def _upgrade(self) -> Result:
        self._say("a new chart")
        self._repo.push({"chart/Chart.yaml": _chart("1.1.0")})
        start = self._bed.call_hook(_NAME)
        self._wait(self._names, chart="1.1.0", revision=2)
        title = f"push of a new chart until all {SIZE} are upgraded"
        return Result(title, time.monotonic() - start, limit=UPGRADED_S)

    def _rest(self) -> list[Result]:
        """Ask for all of them again, with nothing to do."""
        self._say("nothing to do")
        self._bed.count()
        before, start = self._processes(), time.monotonic()
        tokens = {name: f"bench-{time.monotonic_ns()}" for name in self._names}
        for name, token in tokens.items():
            annotations = {"reconcile.fluxcd.io/requestedAt": token}
            self._bed.api.patch(f"{_PATH}/{name}", {"metadata": {"annotations": annotations}})
        for name, token in tokens.items():
            self._bed.api.wait(f"{_PATH}/{name}", partial(_is_handled, token), TIMEOUT_S)
        took = time.monotonic() - start
        counts = self._bed.count()
        requests = sum(number for kind, number in counts.items() if kind.resource in _MANAGED)
        title = f"nothing to do for {SIZE} releases"
        found = [Result(title, took, requests=requests)]
        if self._bed.daemon:
            started = self._processes() - before
            found.append(Result("helm processes meanwhile", started, limit=0.0, unit=""))
        return found

    def _processes(self) -> float:
        """Return how many helm processes our own daemon has run."""
        text = self._bed.daemon.metrics() if self._bed.daemon else ""
        return sum(float(number) for number in _HELM.findall(text))

    def _wait(self, names: Iterable[str], *, chart: str, revision: int) -> None:
        self._bed.api.wait_all(
            _PATH, names, lambda obj: _is_released(obj, chart, revision), TIMEOUT_S
        )

    def _manifests(self, names: Iterable[str], text: str) -> dict[str, str]:
        return {f"releases/{name}.yaml": dump(_release(name, text)) for name in names}


def _chart(version: str) -> str:
    return dump({"apiVersion": "v2", "name": "demo", "version": version})


def _release(name: str, text: str) -> dict[str, Any]:
    source = {"kind": "GitRepository", "name": _NAME}
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "interval": "1h",
            "targetNamespace": _NAME,
            "chart": {"spec": {"chart": "./chart", "interval": "1h", "sourceRef": source}},
            "values": {"text": text},
        },
    }


def _is_released(obj: dict[str, Any], chart: str, revision: int) -> bool:
    status = obj.get("status", {})
    newest: dict[str, Any] = next(iter(status.get("history", [])), {})
    return (
        condition(obj).get("status") == "True"
        and status.get("observedGeneration") == obj["metadata"]["generation"]
        and newest.get("chartVersion") == chart
        and newest.get("version", 0) >= revision
    )


def _is_handled(token: str, obj: dict[str, Any] | None) -> bool:
    return bool((obj or {}).get("status", {}).get("lastHandledReconcileAt") == token)
