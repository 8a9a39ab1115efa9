"""Indexes: read as Helm reads them, and refused where they are none."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sources.helm import convert


def converted(text: str | bytes) -> dict[str, Any]:
    target = io.BytesIO()
    convert.convert(io.BytesIO(text.encode() if isinstance(text, str) else text), target)
    found: dict[str, Any] = json.loads(target.getvalue())
    return found


def versions(*entries: str) -> list[dict[str, Any]]:
    lines = "".join(f"  - {entry}\n" for entry in entries)
    found: list[dict[str, Any]] = converted(f"apiVersion: v1\nentries:\n  web:\n{lines}")[
        "entries"
    ]["web"]
    return found


def test_everything_about_a_version_is_kept() -> None:
    (found,) = versions(
        "{name: web, version: 1.0.0, urls: [a.tgz], deprecated: true, appVersion: 1.10,"
        " keywords: [a, 1], annotations: {n: 1, t: 'true'}, icon: null, tags: x,"
        " dependencies: [{name: c, enabled: no, tags: [y]}], created: 2026-01-02T03:04:05Z}"
    )
    assert found == {
        "name": "web",
        "version": "1.0.0",
        "urls": ["a.tgz"],
        "deprecated": True,
        "appVersion": "1.1",
        "keywords": ["a", "1"],
        "annotations": {"n": "1", "t": "true"},
        "tags": "x",
        "dependencies": [{"name": "c", "enabled": False, "tags": ["y"]}],
        "created": "2026-01-02T03:04:05Z",
    }


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("1.0.0", "1.0.0"),
        ("1.10", "1.1"),
        ("'1.10'", "1.10"),
        ("2", "2"),
        ("1.0", "1"),
        ("v1", "v1"),
    ],
)
def test_version_means_what_it_means_to_helm(written: str, means: str) -> None:
    assert versions(f"{{name: web, version: {written}}}") == [{"name": "web", "version": means}]


@pytest.mark.parametrize(
    "entry",
    [
        "null",
        "{version: 1.0.0}",
        "{name: web}",
        "{name: web, version: latest}",
        "{name: ../web, version: 1.0.0}",
        "{name: .., version: 1.0.0}",
        "{name: web, version: 1.0.0, type: other}",
    ],
)
def test_version_that_no_chart_can_have_is_left_out(entry: str) -> None:
    valid = "{name: web, version: 1.0.0}"
    assert versions(entry, valid, entry) == [{"name": "web", "version": "1.0.0"}]


def test_index_in_json_and_one_without_charts_are_read() -> None:
    text = '{"apiVersion": "v1", "entries": {"a": [{"name": "a", "version": "1.0.0"}], "b": []}}'
    assert converted(text)["entries"] == {"a": [{"name": "a", "version": "1.0.0"}], "b": []}
    assert converted("apiVersion: v1\nentries: {}\ngenerated: now") == {
        "entries": {},
        "apiVersion": "v1",
        "generated": "now",
    }
    assert converted("entries:\napiVersion: v1") == {"apiVersion": "v1"}
    assert converted("apiVersion: v1\nentries:\n  a:\n")["entries"] == {"a": []}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty index.yaml file"),
        ("# nothing", "empty index.yaml file"),
        ("entries: {}", "no API version specified"),
        ("<!DOCTYPE html>\n<p>Sign in", "the index is not a mapping"),
        ("- a", "line 1: the index is not a mapping"),
        ("apiVersion: v1\nentries: [a]", "line 2: entries is not a mapping"),
        ("apiVersion: v1\nentries: {a: b}", "line 2: entries.a is not a list"),
        ("apiVersion: v1\nentries: {a: [b]}", "a version of entries.a is not a mapping"),
        ("apiVersion: v1\nentries: {a: [{[]: 1}]}", "a key of a is not text"),
        ("apiVersion: v1\nentries: {a: [], a: []}", "line 2: key 'a' is already in entries"),
        ("apiVersion: v1\nentries: {a: &x [], b: *x}", "line 2: an alias"),
        ("a: {", "line 2: did not find expected node content"),
        ("a: b: c", "line 1: mapping values are not allowed"),
        (b"\xff\xfe\xff", "unreadable characters"),
        (b"a: \xc3\x28", "unreadable characters"),
        ("apiVersion: v1\nentries: {a: [" + "[" * 100, "nested more than 50 levels"),
        ("apiVersion: v1\nentries: {a: [" + "{b: " * 100, "nested more than 50 levels"),
    ],
)
def test_text_that_is_no_index_is_refused_with_the_place(text: str | bytes, said: str) -> None:
    with pytest.raises(convert.InvalidIndexError, match=said.replace("[", r"\[")):
        converted(text)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured on Linux")
def test_25_megabytes_cost_less_than_30_for_a_moment(tmp_path: Path) -> None:
    entry = "  - name: web\n    version: {}\n    urls: [web.tgz]\n    description: |\n" + (
        "      a long text about a chart that many people have in their clusters\n" * 40
    )
    size = 0
    with (tmp_path / "index.yaml").open("w") as file:
        file.write("apiVersion: v1\nentries:\n  web:\n")
        while size < 25 * 2**20:
            size += file.write(entry.format(f"1.0.{size}"))
    measured = (
        "import re, runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    files = [convert.__file__, str(tmp_path / "index.yaml"), str(tmp_path / "index.json")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", measured, *files], stdout=subprocess.PIPE, check=True
    )
    assert int(done.stdout) < 30 * 1024
    assert (tmp_path / "index.json").stat().st_size > 20 * 2**20
