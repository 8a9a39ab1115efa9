"""Builds are made once, named by their inputs, and never half there."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devcluster import toolcache
from devcluster.errors import BuildError

if TYPE_CHECKING:
    from tests.unit.devcluster.conftest import FakeGo


def test_build_is_made_once_and_then_found(fake_go: FakeGo) -> None:
    calls = fake_go()
    first = toolcache.ensure(toolcache.KUSTOMIZE)
    assert toolcache.ensure(toolcache.KUSTOMIZE) == first
    assert len(calls.read_text().splitlines()) == 1
    assert subprocess.check_output([first / "kustomize"]) == b"built\n"


def test_build_of_a_module_leaves_the_program_and_its_links_alone(fake_go: FakeGo) -> None:
    fake_go()
    folder = toolcache.ensure(toolcache.CLUSTER)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "devcluster",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
    }
    assert (folder / "kubectl").resolve() == (folder / "devcluster").resolve()


def test_version_flags_name_the_kubernetes_release(fake_go: FakeGo) -> None:
    calls = fake_go()
    toolcache.ensure(toolcache.CLUSTER)
    assert f"version.gitVersion={toolcache.KUBERNETES_VERSION}" in calls.read_text()
    assert "-trimpath" in calls.read_text()


def test_package_is_installed_at_its_version(fake_go: FakeGo) -> None:
    calls = fake_go()
    toolcache.ensure(toolcache.KUSTOMIZE)
    assert calls.read_text().startswith("install -v -trimpath")
    assert "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2" in calls.read_text()


def test_failed_build_says_what_to_do_and_leaves_nothing(fake_go: FakeGo) -> None:
    fake_go(ending='echo "no space left on device" >&2; exit 1')
    with pytest.raises(BuildError) as failure:
        toolcache.ensure(toolcache.KUSTOMIZE)
    assert "no space left on device" in str(failure.value)
    assert "GOPROXY" in str(failure.value)
    assert not list((toolcache.cache_dir() / "builds").iterdir())


def test_build_that_made_no_program_is_a_failure(fake_go: FakeGo) -> None:
    fake_go(installs="something-else")
    with pytest.raises(BuildError):
        toolcache.ensure(toolcache.KUSTOMIZE)


def test_two_builds_at_once_are_one(fake_go: FakeGo) -> None:
    calls = fake_go(ending="i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    threads = [
        threading.Thread(target=toolcache.ensure, args=(toolcache.KUSTOMIZE,)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls.read_text().splitlines()) == 1


def test_key_changes_with_everything_that_changes_the_program(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum", "main.go"):
        (tmp_path / name).write_text(name)
    recipe = dataclasses.replace(toolcache.CLUSTER, module=tmp_path)
    keys = {recipe.key, dataclasses.replace(recipe, version="v9").key}
    keys.add(dataclasses.replace(recipe, ldflags="-s").key)
    for name in ("go.mod", "go.sum", "main.go"):
        (tmp_path / name).write_text("changed")
        keys.add(recipe.key)
    assert len(keys) == 6


def test_seeded_program_counts_as_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = tmp_path / "given"
    program.write_text("#!/bin/sh\n")
    assert toolcache.seed(toolcache.KWOK, program) == toolcache.ensure(toolcache.KWOK)


@pytest.mark.parametrize(
    ("platform", "given", "expected"),
    [
        ("linux", "/there", "/there/gitopsd"),
        ("linux", "", "/home/ada/.cache/gitopsd"),
        ("darwin", "", "/home/ada/Library/Caches/gitopsd"),
    ],
)
def test_cache_is_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, platform: str, given: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", "/home/ada")
    assert toolcache.cache_dir() == Path(expected)
