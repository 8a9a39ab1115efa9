"""Charts that are not there, through the whole daemon: the release itself says which and why."""

from __future__ import annotations

import http.server
import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bench.bed import NAMESPACE
from devcluster.api import condition, is_ready
from tests.support import api, estate, helmcharts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.bed import Bed
    from devcluster.cluster import Cluster

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")

SOURCES = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}"
RELEASES = f"/apis/helm.toolkit.fluxcd.io/v2/namespaces/{NAMESPACE}/helmreleases"
CONFIG_MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: {{ .Release.Name }}}}"
INDEX = """\
apiVersion: v1
entries:
  demo:
  - {apiVersion: v2, name: demo, version: 1.2.0, urls: [demo-1.2.0.tgz]}
"""


@pytest.fixture(scope="module")
def bed(audited: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A daemon that finds helm."""
    folder = tmp_path_factory.mktemp("estate")
    with estate.running({"home": audited}, folder, with_helm=True) as running:
        yield running["home"]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """The address of a chart repository that has version 1.2.0 of a chart ``demo``."""
    chart = helmcharts.pack("demo", {"templates/a.yaml": CONFIG_MAP}, version="1.2.0")
    (tmp_path / "demo-1.2.0.tgz").write_bytes(chart)
    (tmp_path / "index.yaml").write_text(INDEX)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Release:
    """One HelmRelease of a chart."""

    def __init__(self, bed: Bed, name: str, **chart: Any) -> None:
        self.bed, self.name, self.path = bed, name, f"{RELEASES}/{name}"
        bed.namespace(name)
        spec = {"interval": "1h", "targetNamespace": name, "chart": {"spec": chart}}
        bed.api.post(RELEASES, {**_head("helm", "v2", "HelmRelease", name), "spec": spec})

    def says(self, *told: str) -> dict[str, Any]:
        """Wait until Ready is False with some texts in its message; return the condition."""

        def is_told(obj: dict[str, Any] | None) -> bool:
            found = condition(obj)
            return found.get("status") == "False" and all(each in found["message"] for each in told)

        return condition(self.bed.api.wait(self.path, is_told, api.WAIT_S))

    def becomes_ready(self) -> None:
        """Wait until it is released, then delete it."""
        self.bed.api.wait(self.path, is_ready, api.WAIT_S)
        self.bed.api.delete(self.path)
        self.bed.api.wait(self.path, lambda obj: obj is None, api.WAIT_S)


@pytest.fixture
def name() -> str:
    return f"bad-{uuid.uuid4().hex[:8]}"


def test_a_chart_that_is_not_in_git_is_named_until_it_is(bed: Bed, name: str) -> None:
    with estate.tenant(bed, name) as tenant:
        source = {"kind": "GitRepository", "name": name}
        release = Release(bed, name, chart="./charts/demo", sourceRef=source)
        found = release.says(
            f"HelmChart '{NAMESPACE}/{NAMESPACE}-{name}' is not ready", "charts/demo"
        )
        assert "no such file or directory" in found["message"]
        tenant.push(
            {
                "charts/demo/Chart.yaml": "{apiVersion: v2, name: demo, version: 1.0.0}",
                "charts/demo/templates/a.yaml": CONFIG_MAP,
            }
        )
        release.becomes_ready()


@pytest.mark.parametrize(
    ("chart", "version", "told"),
    [
        ("nope", "*", "no chart name found"),
        ("demo", ">=2.0.0", "no 'demo' chart with version matching '>=2.0.0' found"),
    ],
)
def test_a_chart_that_no_repository_has_is_named_until_another_is_asked_for(
    bed: Bed, name: str, repository: str, chart: str, version: str, told: str
) -> None:
    path = f"{SOURCES}/helmrepositories"
    head = _head("source", "v1", "HelmRepository", name)
    bed.api.post(path, {**head, "spec": {"url": repository, "interval": "1h"}})
    source = {"kind": "HelmRepository", "name": name}
    release = Release(bed, name, chart=chart, version=version, sourceRef=source)
    release.says(f"HelmChart '{NAMESPACE}/{NAMESPACE}-{name}' is not ready", told)
    mended = {"chart": {"spec": {"chart": "demo", "version": "1.x"}}}
    bed.api.patch(release.path, {"spec": mended})
    release.becomes_ready()
    bed.api.delete(f"{path}/{name}")


def _head(group: str, version: str, kind: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{group}.toolkit.fluxcd.io/{version}",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
