"""The fast path for plain directories gives what kustomize and Flux's decoder give, or declines."""

from __future__ import annotations

import copy
import subprocess
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kube import manifests
from reconcilers.kustomization import generate, manifest, plain
from tests.support.kustomizer import MemoryTree, kustomize_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kustomizer import Files

FINISH = manifest.Finish({"kustomize.toolkit.fluxcd.io/name": "apps"})

EXACT = {
    "config map": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n",
    "namespace": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n",
    "quoted scalars": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
        'data:\n  a: "yes"\n  b: "0644"\n  c: \'1e3\'\n  d: "null"\n  e: ""\n  "on": "off"\n'
    ),
    "blocks": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n"
        "  a: |\n    one\n      two\n\n    three\n  b: >-\n    one\n    two\n\n    three\n"
        "  c: |+\n    keep\n\n  d: |2\n      indented\n"
    ),
    "unicode": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
        'data:\n  a: "h\\u00e9 \\U0001F600"\n  b: héé 🎉 naïve\n'
    ),
    "numbers and booleans": (
        "apiVersion: x.io/v1\nkind: Foo\nmetadata:\n  name: a\n"
        "spec: {i: 5, j: -7, z: 0, f: 1.5, g: 0.25, t: true, u: false, nil: null, w: ~}\n"
    ),
    "quantities and versions": (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\nspec:\n"
        "  replicas: 0\n  template:\n    spec:\n      containers:\n"
        "      - name: c\n        image: nginx:1.25\n        args: [--flag, -v, --x=1, ./run]\n"
        "        resources: {limits: {cpu: 100m, memory: 64Mi}}\n"
        "        env:\n        - {name: V, value: 1.2.3}\n        - {name: T, value: 1h30m}\n"
    ),
    "several documents, comments and empty ones": (
        "# head\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\n"
        "---\n# only\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n  namespace: ns # here\n"
    ),
    "json": '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}\n',
    "carriage returns": (
        "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: a\r\n"
        "data:\r\n  a: |\r\n    x\r\n"
    ),
    "an anchor nobody uses": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata: &d\n  k: v\n"
    ),
    "empty collections": (
        "apiVersion: x.io/v1\nkind: Foo\nmetadata:\n  name: a\nspec:\n  m: {}\n  l: []\n  w:\n"
    ),
    "no document": "# nothing here\n",
    "empty": "",
    "status and creation time": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  creationTimestamp: null\n"
        "status: {}\n"
    ),
}

HEAD = "apiVersion: x.io/v1\nkind: Foo\nmetadata:\n  name: a\n"
DECLINED = {
    "an unquoted yes": HEAD + "spec: {a: yes}\n",
    "an unquoted on key": HEAD + "spec: {on: x}\n",
    "octal": HEAD + "spec: {a: 0644}\n",
    "underscores": HEAD + "spec: {a: 1_000}\n",
    "a date": HEAD + "spec: {a: 2024-01-01}\n",
    "sexagesimal": HEAD + "spec: {a: 12:30:45}\n",
    "an exponent": HEAD + "spec: {a: 1e3}\n",
    "a big number": HEAD + "spec: {a: 12345678901234567890}\n",
    "a round float": HEAD + "spec: {a: 1.0}\n",
    "an alias": HEAD + "spec: {a: &x {b: c}, d: *x}\n",
    "a tag": HEAD + "spec: {a: !!str 5}\n",
    "a repeated key": HEAD + "spec:\n  a: 1\n  a: 2\n",
    "an integer key": HEAD + "spec: {1: x}\n",
    "a directive": "%YAML 1.1\n---\n" + HEAD,
    "a document end": HEAD + "...\n",
    "a byte order mark": "\ufeff" + HEAD,
    "a local resource": HEAD + '  annotations:\n    config.kubernetes.io/local-config: "true"\n',
    "an escape kustomize refuses": '{"apiVersion":"v1","kind":"A","metadata":{"name":"a\\/b"}}',
    "broken yaml": "a: [\n",
}
UNUSUAL = {
    "a list": "apiVersion: v1\nkind: List\nitems: []\n",
    "no name": "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}\n",
    "an empty name": 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ""}\n',
    "no metadata": "apiVersion: v1\nkind: ConfigMap\n",
    "a numeric label": "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {x: 5}}\n",
    "empty annotations": "apiVersion: v1\nkind: A\nmetadata:\n  name: a\n  annotations:\n",
}


def kustomize(tmp_path: Path, files: Files) -> list[dict[str, Any]]:
    """Build files with the real program, as Flux would, and return the canonical objects."""
    listed = generate.resources(MemoryTree(files).entries(), "")
    directory = tmp_path / "build"
    directory.mkdir()
    MemoryTree(files).checkout(directory)
    (directory / "kustomization.yaml").write_text(
        manifests.dump(generate.generated(listed)).decode()
    )
    argv = [str(kustomize_program()), "build", ".", "--load-restrictor", "LoadRestrictionsNone"]
    done = subprocess.run(
        [*argv, "--reorder", "none"], cwd=directory, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return canonical(done.stdout)


def canonical(text: str | bytes) -> list[dict[str, Any]]:
    return [
        orjson.loads(FINISH.object(copy.deepcopy(obj), origin)[1])
        for obj, origin in manifest.objects(manifests.load_all(text), "")
    ]


def fast(files: Files) -> list[dict[str, Any]]:
    found = []
    for name in generate.resources(MemoryTree(files).entries(), ""):
        content = MemoryTree(files).read(name)
        assert plain.is_exact(content), name
        for obj, _ in manifest.objects(manifests.load_all(content), name):
            assert plain.is_ordinary(obj), name
        found += canonical(content)
    return found


@pytest.mark.parametrize("text", EXACT.values(), ids=EXACT.keys())
def test_exact_file_builds_as_kustomize_builds_it(tmp_path: Path, text: str) -> None:
    files = {"x.yaml": text}
    assert fast(files) == kustomize(tmp_path, files)


def test_exact_directory_builds_in_the_order_of_kustomize(tmp_path: Path) -> None:
    files = {
        path: f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"
        for path, name in (
            ("b.yaml", "b"),
            ("a/z.yml", "z"),
            ("a/b/c.yaml", "c"),
            ("a.yaml", "a"),
            ("a-b/x.yaml", "x"),
        )
    } | {"README.md": "no manifest"}
    assert fast(files) == kustomize(tmp_path, files)


@pytest.mark.parametrize("text", DECLINED.values(), ids=DECLINED.keys())
def test_file_that_readers_may_see_differently_is_left_to_kustomize(text: str) -> None:
    assert not plain.is_exact(text.encode())


@pytest.mark.parametrize("text", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_object_that_kustomize_acts_upon_is_left_to_it(text: str) -> None:
    assert not all(plain.is_ordinary(obj) for obj in manifests.load_all(text))


def test_deep_nesting_is_left_to_kustomize() -> None:
    assert not plain.is_exact(b"a: " + b"[" * 5000 + b"]" * 5000)


def test_text_that_is_not_utf8_is_left_to_kustomize() -> None:
    assert not plain.is_exact(b"a: \xff\xfe")


_scalars = st.one_of(
    st.sampled_from(
        [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
            "Y",
            "N",
            "Yes",
            "NO",
            "true",
            "True",
            "TRUE",
            "false",
            "null",
            "Null",
            "~",
            "0",
            "00",
            "1",
            "-1",
            "+1",
            "07",
            "08",
            "0644",
            "0o17",
            "0x1F",
            "0b11",
            "1_0",
            "1.0",
            "1.5",
            ".5",
            "5.",
            "-0",
            "-0.5",
            "1e3",
            "1E3",
            "1.5e-3",
            ".inf",
            "-.inf",
            ".nan",
            "2024-01-01",
            "12:30",
            "12:30:45",
            "=",
            "<<",
            "1.2.3",
            "10.0.0.0/8",
            "100m",
            "1Gi",
            "50%",
            "5s",
            "1h30m",
            "--flag",
            "-x",
            "-",
            "--",
            "./a",
            "../b",
            ".a",
            "/a",
            "a:b",
            "a#b",
            "@a",
            "`a`",
            "1a",
            "a1",
            "!x",
            "&x",
            "*x",
            "|x",
            ">x",
            "%x",
            "9007199254740993",
            "123456789012345678",
            "0.1",
            "0.10",
            "1.25",
            "12e",
            "0x",
            "1__2",
            "v1",
            "V1",
            "Off",
            "ON",
            "v1.2.3",
            "nan",
            "inf",
            "NaN",
            "1,000",
            "1k",
            "3d",
            "5m0s",
            "0.0.0.0",
            "::1",
            "http://x/y?z=1",
            "a=b",
        ]
    ),
    st.text(alphabet="abyYnNoeE01289.-+_:xX~!/%=", min_size=1, max_size=6),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.lists(_scalars, min_size=30, max_size=60))
def test_unquoted_scalars_are_exact_only_if_kustomize_reads_them_alike(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    spec = "".join(
        f"apiVersion: x.io/v1\nkind: Foo\nmetadata:\n  name: n{number}\nspec:\n  v: {value}\n---\n"
        for number, value in enumerate(values)
        if plain.is_exact(f"v: {value}\n".encode())
    )
    files = {"x.yaml": spec}
    assert fast(files) == kustomize(tmp_path_factory.mktemp("differential"), files)
