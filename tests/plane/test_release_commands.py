"""``gitopsd build``, ``diff`` and ``history`` of a HelmRelease, without a daemon."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from cli import main
from devcluster import toolcache
from kube.helm import record as records
from kube.helm.storage import ReleaseStorage
from runtime.clock import SystemClock
from runtime.limits import Threads
from sources.storage import Owner, Storage
from tests.support import api, helmcharts, helming, reconciling
from tests.support.gitserver import GitServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from devcluster.cluster import Cluster

NAME = "app"
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hunter2}
"""
HOOK = """\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}
"""
FILES = {**helmcharts.DEMO, "templates/login.yaml": SECRET, "templates/hook.yaml": HOOK}


class Bench:
    """A namespace with one HelmRelease, and a command line for it."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.config = folder / "config.toml"
        kustomize = toolcache.ensure(toolcache.KUSTOMIZE) / "kustomize"
        self.config.write_text(
            f'[daemon]\ndata_dir = "{folder}/data"\n'
            f'[tools]\nkustomize = "{kustomize}"\nhelm = "{helming.helm_program()}"\n'
            f'[[clusters]]\nname = "home"\nkubeconfig = "{cluster.kubeconfig}"\n'
        )

    def run(self, command: str, *argv: str, kind: str = "helmrelease") -> int:
        where = ("-n", self.namespace, "--config", str(self.config))
        return main.main([command, kind, NAME, *argv, *where])

    def apply(self, manifest: Mapping[str, Any], manager: str = "test") -> None:
        arguments = ("apply", "--server-side", f"--field-manager={manager}", "--force-conflicts")
        self.cluster.kubectl(
            *arguments, "-n", self.namespace, "-f", "-", input=json.dumps(manifest)
        )

    def release(self, inventory: tuple[str, ...] = (), **spec: Any) -> None:
        """Declare the HelmRelease, with the chart ``./chart`` of a GitRepository."""
        source = {"kind": "GitRepository", "name": "fleet"}
        chart = {"spec": {"chart": "./chart", "sourceRef": source}}
        whole = {"interval": "1h", "chart": chart, **spec}
        self.apply(
            {
                "apiVersion": "helm.toolkit.fluxcd.io/v2",
                "kind": "HelmRelease",
                "metadata": {"name": NAME},
                "spec": {key: value for key, value in whole.items() if value is not None},
            }
        )
        entries = [{"id": f"{self.namespace}_{each}", "v": "v1"} for each in inventory]
        self._status("helmrelease", NAME, {"inventory": {"entries": entries}})

    def publish(self, archive: bytes) -> None:
        """Offer a chart as a HelmChart does."""
        storage = Storage(self.folder / "data/artifacts/home", "127.0.0.1:1", SystemClock())
        chart, name = f"{self.namespace}-{NAME}", "demo-0.1.0.tgz"
        artifact = storage.put_file(
            Owner("HelmChart", self.namespace, chart), name, "0.1.0", io.BytesIO(archive)
        )
        self.apply(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "HelmChart",
                "metadata": {"name": chart},
                "spec": {
                    "chart": "./chart",
                    "interval": "1h",
                    "sourceRef": {"kind": "GitRepository", "name": "fleet"},
                },
            }
        )
        status = {
            "digest": artifact.digest,
            "path": artifact.path,
            "url": artifact.url,
            "revision": artifact.revision,
            "lastUpdateTime": artifact.last_update_time,
        }
        self._status("helmchart", chart, {"artifact": status})

    def _status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        patch = json.dumps({"status": status})
        self.cluster.kubectl(
            *("patch", kind, name, "-n", self.namespace, "--subresource=status"),
            *("--type=merge", "-p", patch),
        )

    def chart_folder(self, **changes: str) -> Path:
        """Return a directory with the chart in it."""
        folder = self.folder / "chart"
        files = {"Chart.yaml": "apiVersion: v2\nname: demo\nversion: 0.2.0\n", **FILES, **changes}
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(str(content))
        return folder


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Bench:
    reconciling.prepare(cluster)
    return Bench(cluster, namespace, tmp_path)


def test_build_prints_objects_and_hooks_without_secrets(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.release(values={"text": "from the spec"})
    bench.publish(helmcharts.pack("demo", FILES))
    assert bench.run("build") == 0
    printed = capsys.readouterr().out
    assert "text: from the spec" in printed
    assert f"{meta.HELM_OWNER_NAME}: {NAME}" in printed
    assert "# Hook: pre-install\napiVersion: batch/v1\nkind: Job" in printed
    assert "hunter2" not in printed
    assert bench.run("build", "--show-secrets") == 0
    assert "hunter2" in capsys.readouterr().out


def test_build_takes_a_chart_and_values_of_this_machine(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.release(values={"text": "from the spec"})
    folder, file = bench.chart_folder(), bench.folder / "values.yaml"
    file.write_text("text: from a file\n")
    assert bench.run("build", "--chart", str(folder), "--values", str(file)) == 0
    assert "text: from a file" in capsys.readouterr().out
    packed = bench.folder / "packed.tgz"
    packed.write_bytes(helmcharts.pack("demo"))
    assert bench.run("build", "--chart", str(packed)) == 0
    assert "text: from the spec" in capsys.readouterr().out


def test_a_chart_of_another_revision_is_packed_as_the_daemon_does(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    with GitServer(bench.folder / "git") as server:
        repo = server.repo("fleet")
        files = {f"chart/{path}": text for path, text in FILES.items()}
        chart = {"chart/Chart.yaml": "apiVersion: v2\nname: demo\nversion: 0.3.0\n"}
        other = {"chart/other.yaml": "text: from another file\n"}
        repo.push({**files, **chart, **other})
        spec = {"interval": "1h", "url": server.url("fleet"), "ref": {"branch": "main"}}
        bench.apply(
            {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "metadata": {"name": "fleet"},
                "spec": spec,
            }
        )
        source = {"kind": "GitRepository", "name": "fleet"}
        wanted = {"chart": "./chart", "sourceRef": source, "valuesFiles": ["chart/other.yaml"]}
        bench.release(chart={"spec": wanted})
        assert bench.run("build", "--revision", "main") == 0
        assert "text: from another file" in capsys.readouterr().out
        assert bench.run("diff", "--revision", "nowhere") == 2
        assert "has no branch and no tag 'nowhere'" in capsys.readouterr().err
    bench.release(chart=None, chartRef={"kind": "OCIRepository", "name": "a"})
    assert bench.run("build", "--revision", "main") == 2
    assert "comes neither from a GitRepository nor from a HelmRepository" in capsys.readouterr().err


def test_diff_tells_what_a_release_would_create_change_and_prune(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.release(("app__ConfigMap", "old__ConfigMap"), values={"text": "new"})
    bench.publish(helmcharts.pack("demo", FILES))
    labels = {meta.HELM_OWNER_NAME: NAME, meta.HELM_OWNER_NAMESPACE: bench.namespace}
    for name, data in (("app", {"text": "old", "revision": "1"}), ("old", {"a": "b"})):
        metadata = {"name": name, "namespace": bench.namespace, "labels": labels}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        bench.apply(obj, meta.HELM_MANAGER)
    assert bench.run("diff") == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"HelmRelease/{bench.namespace}/{NAME} at demo@0.1.0")
    assert f"~ ConfigMap/{bench.namespace}/app changed" in printed
    assert '~ data.text: "old" → "new"' in printed
    assert f"+ Secret/{bench.namespace}/login created" in printed
    assert f"- ConfigMap/{bench.namespace}/old pruned" in printed
    assert "hunter2" not in printed
    assert bench.run("diff", "-o", "json") == 1
    told = json.loads(capsys.readouterr().out)
    outcomes = {each["name"]: each["outcome"] for each in told["objects"]}
    assert outcomes == {"app": "changed", "login": "created", "old": "pruned"}


def test_diff_knows_what_helm_installed_and_what_outlives_a_release(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n"
    )
    gone = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: gone}\n"
    templates = {"templates/kept.yaml": kept, "templates/gone.yaml": gone}
    file = bench.folder / "first.tgz"
    file.write_bytes(helmcharts.pack("demo", {**helmcharts.DEMO, **templates}))
    helm = helmcharts.Program(bench.cluster.kubeconfig, bench.folder)
    helm.run("install", NAME, str(file), "-n", bench.namespace)
    bench.release()
    bench.publish(helmcharts.pack("demo"))
    assert bench.run("diff") == 1
    printed = capsys.readouterr().out
    assert f"- ConfigMap/{bench.namespace}/gone pruned" in printed
    assert f"· ConfigMap/{bench.namespace}/kept kept" in printed
    assert '~ data.revision: "1" → "2"' in printed


def test_diff_of_what_is_merged_on_the_client_tells_fields_and_not_managers(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = f"{{{meta.HELM_OWNER_NAME}: {NAME}, {meta.HELM_OWNER_NAMESPACE}: {bench.namespace}}}"
    head = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: %s, labels: {labels}}}\ndata: %s\n"
    same = {"templates/same.yaml": head % ("same", "{a: b}")}
    file = bench.folder / "first.tgz"
    file.write_bytes(helmcharts.pack("demo", same | {"templates/m.yaml": head % ("m", "{a: b}")}))
    helm = helmcharts.Program(bench.cluster.kubeconfig, bench.folder)
    helm.run("install", NAME, str(file), "-n", bench.namespace, "--server-side=false")
    bench.release()
    bench.publish(helmcharts.pack("demo", same | {"templates/m.yaml": head % ("m", "{c: d}")}))
    assert bench.run("diff") == 1
    printed = capsys.readouterr().out
    assert "- data.a" in printed
    assert '+ data.c: "d"' in printed
    assert "taken over" not in printed
    assert "same" not in printed


def test_what_cannot_be_rendered_is_said(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("build") == 1
    assert "is not there; `gitopsd get helmreleases -A`" in capsys.readouterr().err
    bench.release()
    assert bench.run("build") == 1
    assert "has no artifact; render a local chart with --chart" in capsys.readouterr().err
    bad = bench.chart_folder(**{"templates/config.yaml": "a: {{ .Values.x.y }}\n"})
    assert bench.run("build", "--chart", str(bad)) == 1
    assert "demo/templates/config.yaml:1" in capsys.readouterr().err
    assert bench.run("diff", "--chart", str(bad)) == 2
    assert bench.run("build", "--chart", str(bench.folder / "nowhere")) == 2
    assert bench.run("build", "--path", ".") == 2
    assert "--path means nothing to a HelmRelease" in capsys.readouterr().err


@pytest.mark.blocking("commands run in threads, with loops of their own")
async def test_history_lists_the_revisions_of_a_release(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(bench.release)
    threads = Threads()
    async with api.client(bench.cluster.kubeconfig) as client:
        store = ReleaseStorage(client, bench.namespace, SystemClock(), threads)
        text = (
            b'{"name":"app","version":1,"namespace":"n","chart":{"metadata":{"name":"demo",'
            b'"version":"0.1.0","appVersion":"9"}},"info":{"status":"superseded",'
            b'"last_deployed":"2026-01-02T00:00:00Z","description":"Install complete"}}'
        )
        first = records.parse(text)
        await store.create(first)
        await store.create(first.changed(version=2).with_info(status="failed", description="no"))
    await threads.aclose()
    assert await asyncio.to_thread(bench.run, "history") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:3] == ["REVISION", "UPDATED", "STATUS"]
    assert lines[1][:5] == ["1", "2026-01-02T00:00:00Z", "superseded", "demo-0.1.0", "9"]
    assert lines[2][2] == "failed"
    assert await asyncio.to_thread(bench.run, "history", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["revision"] for each in told] == [1, 2]
