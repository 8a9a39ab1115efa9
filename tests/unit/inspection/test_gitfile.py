"""Which file of an artifact declares an object, by the daemon's own copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inspection import gitfile
from kube.objects import ObjectId
from runtime.clock import SystemClock
from sources.storage import Owner, Storage
from tests.support.fluxobjects import REVISION, SHA, flux, kustomization
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from pathlib import Path

    from inspection.flux import FluxObject

A = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n"
FILES = {
    "apps/a.yaml": A,
    "apps/both.yml": A.replace("name: a", "name: b") + "---\n" + A.replace("name: a", "name: c"),
    "apps/deep/d.json": '{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "d"}}',
    "apps/notes.md": "a",
    "apps/broken.yaml": "a: [\nname: a\n",
    "apps/kustomization.yaml": "resources: [a.yaml]\n",
    "other/a.yaml": A,
}


@pytest.fixture
def source(tmp_path: Path) -> FluxObject:
    """A source whose artifact the daemon of this data directory stored."""
    storage = Storage(tmp_path / "artifacts" / "home", "127.0.0.1:1", SystemClock())
    owner = Owner("GitRepository", "flux-system", "fleet")
    artifact = storage.put(owner, f"{SHA}.tar.gz", REVISION, MemoryTree(FILES))
    return flux("GitRepository", "fleet", artifact={"path": artifact.path, "revision": REVISION})


def found(
    folder: Path, source: FluxObject, name: str, path: str = "./apps", kind: str = "ConfigMap"
) -> tuple[str, ...]:
    applier = kustomization("apps", spec={"path": path})
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return gitfile.find(folder, scratch, applier, source, ObjectId("shop", name, "", kind))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a", "apps/a.yaml"),
        ("b", "apps/both.yml"),
        ("c", "apps/both.yml"),
        ("d", "apps/deep/d.json"),
    ],
)
def test_file_is_found_below_the_appliers_path(
    tmp_path: Path, source: FluxObject, name: str, file: str
) -> None:
    assert found(tmp_path, source, name) == (file,)


@pytest.mark.parametrize("path", ["", "./", "."])
def test_root_has_the_files_of_all_folders(tmp_path: Path, source: FluxObject, path: str) -> None:
    assert found(tmp_path, source, "a", path) == ("apps/a.yaml", "other/a.yaml")


def test_file_itself_may_be_the_path(tmp_path: Path, source: FluxObject) -> None:
    assert found(tmp_path, source, "a", "other/a.yaml") == ("other/a.yaml",)


@pytest.mark.parametrize(("name", "kind"), [("nothing", "ConfigMap"), ("a", "Secret")])
def test_object_that_no_file_declares_is_in_none(
    tmp_path: Path, source: FluxObject, name: str, kind: str
) -> None:
    assert found(tmp_path, source, name, kind=kind) == ()


def test_source_of_another_machine_tells_nothing(tmp_path: Path) -> None:
    elsewhere = flux(
        "GitRepository", "fleet", artifact={"path": "x/y.tar.gz", "revision": REVISION}
    )

    assert found(tmp_path, elsewhere, "a") == ()
    assert found(tmp_path, flux("GitRepository", "fleet"), "a") == ()
