"""Charts packed here and by the real helm hold the same; versions resolve to the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kube import manifests
from reconcilers.helmchart import chart as charts
from sources.helm import package
from sources.helm.errors import ChartError
from tests.support import helming
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EVERYTHING = {
    "Chart.yaml": """\
apiVersion: v2
name: web
version: 1.2.3-rc.1
appVersion: 1.10
kubeVersion: ">=1.20"
type: application
description: |
  two
  lines
deprecated: false
unknown: dropped
keywords: [a, 1, true]
annotations: {number: 1, truth: yes, text: "0123"}
maintainers:
- name: Ada
  email: ada@example.com
sources: []
""",
    "Chart.lock": """\
dependencies:
- name: common
  repository: file://../common
  version: 1.0.0
digest: sha256:0000
generated: "2024-05-06T07:08:09.123456789+02:00"
""",
    "crds/crd.yaml": "kind: CustomResourceDefinition\n",
    "templates/_helpers.tpl": "{{- define \"a\" }}{{ end }}\n",
    "templates/NOTES.txt": "notes\n",
    "templates/.hidden.yaml": "out\n",
    "templates/sub/.hidden": "in\n",
    "templates/tests/test.yaml": "kind: Pod\n",
    "values.schema.json": '{"type": "object"}\n',
    "README.md": "\ufeffread me\n",
    "docs/a.md": "a\n",
    ".hidden": "h\n",
    "charts/common/Chart.yaml": "apiVersion: v1\nname: common\nversion: 1\n",
    "charts/common/values.yaml": "a: 1\n",
    "charts/common/requirements.yaml": "dependencies: []\n",
    "charts/common/charts/deep/Chart.yaml": "apiVersion: v2\nname: deep\nversion: 0.1.0\n",
    "charts/_skipped/Chart.yaml": "apiVersion: v2\nname: skipped\nversion: 0.1.0\n",
}  # fmt: skip
IGNORING = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "values.yaml": "a: 1\n",
    "a.txt": "", "ab.txt": "", "b.md": "", "c/a.txt": "", "c/d/a.txt": "", "c/d/e.md": "",
    "docs/x.md": "", "docs/sub/x.md": "", "templates/a.yaml": "", "templates/.b.yaml": "",
    "x/docs/y.md": "", "[z].txt": "",
}  # fmt: skip


def ours(files: Mapping[str, str]) -> dict[str, bytes]:
    loaded = charts.load_directory(MemoryTree(helming.below("charts/web", files)), "charts/web")
    return helming.unpacked(package.pack(loaded.entries()))


def theirs(files: Mapping[str, str], tmp_path: Path) -> dict[str, bytes]:
    helming.write(tmp_path / "web", files)
    helming.helm("package", tmp_path / "web", "--destination", tmp_path, home=tmp_path / "home")
    (archive,) = tmp_path.glob("*.tgz")
    return helming.unpacked(archive.read_bytes())


def meaning(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return files in which what was rewritten counts by what it says."""
    rewritten = ("Chart.yaml", "Chart.lock")
    return {
        path: manifests.load(content) if path.endswith(rewritten) else content
        for path, content in files.items()
    }


def test_packed_chart_holds_what_helm_packs(tmp_path: Path) -> None:
    files = helming.chart() | EVERYTHING
    found, wanted = ours(files), theirs(files, tmp_path)
    assert meaning(found) == meaning(wanted)
    # Helm keeps subcharts in a map, so their order is any.
    assert [path for path in found if "/charts/" not in path] == [
        path for path in wanted if "/charts/" not in path
    ]


def test_chart_of_version_1_keeps_its_requirements(tmp_path: Path) -> None:
    files = {
        "Chart.yaml": "name: web\nversion: 0.1.0\n",
        "requirements.yaml": "dependencies:\n- {name: a, version: 1.x, repository: ''}\n",
        "requirements.lock": "dependencies:\n- {name: a, version: 1.0.0, repository: ''}\n",
        "charts/a/Chart.yaml": "name: a\nversion: 1.0.0\n",
    }
    assert meaning(ours(files)) == meaning(theirs(files, tmp_path))


@pytest.mark.parametrize(
    "rules",
    [
        "*.txt", "a.txt", "/a.txt", "c/", "c", "/c/d", "c/d/", "c/*", "docs", "/docs/", "docs/*.md",
        "!*.md", "!b.md\n!a*", "?.txt", "[ab].txt", "[^a]*.txt", "\\[z].txt", "  # no\n#x\n\n*.md ",
        "templates/", "c/d\nb.md\n*/docs", "a.txt/", "!c/", "[a-c].*", "**.md", "a[", "*",
        "./a.txt",
    ],
)  # fmt: skip
def test_helmignore_leaves_out_what_helm_leaves_out(tmp_path: Path, rules: str) -> None:
    files = IGNORING | {".helmignore": rules}
    try:
        wanted = sorted(theirs(files, tmp_path))
    except Exception:  # noqa: BLE001 - whatever helm fails with
        with pytest.raises(ChartError):
            ours(files)
        return
    assert sorted(ours(files)) == wanted
