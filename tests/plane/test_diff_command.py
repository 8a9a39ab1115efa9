"""``gitopsd diff``, ``build`` and ``tree`` on a real API server, without a daemon."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from cli import main
from kube import manifests
from tests.support import reconciling
from tests.support.gitserver import GitServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devcluster.cluster import Cluster
from tests.support.diffing import NAME, Bench, config_map, secret


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Bench:
    reconciling.prepare(cluster)
    return Bench(cluster, namespace, tmp_path)


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """Serve a folder over HTTP; yields host and port."""
    handler = functools.partial(_Quiet, directory=str(root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


# diff -------------------------------------------------------------------------------------------


def test_equal_cluster_gives_status_0(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    text = config_map(bench.namespace, "a", k="1")
    bench.source()
    bench.kustomize(f"{bench.namespace}_a__ConfigMap")
    bench.publish_here({"deploy/a.yaml": text})
    bench.owned(text)

    assert bench.run("diff") == 0

    head, *_, last = capsys.readouterr().out.splitlines()
    assert head == f"Kustomization/{bench.namespace}/apps at main@sha1:01234567"
    assert last == "No changes: 1 unchanged"


def test_created_changed_and_pruned_objects_give_status_1_and_write_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    space = bench.namespace
    bench.source()
    bench.kustomize(*(f"{space}_{name}__ConfigMap" for name in ("a", "old", "gone")))
    bench.owned(config_map(space, "a", k="1"), config_map(space, "old"), secret(space, "geheim"))
    bench.publish_here(
        {
            "deploy/a.yaml": config_map(space, "a", k="2"),
            "deploy/new.yaml": config_map(space, "new"),
            "deploy/secret.yaml": secret(space, "anders"),
        }
    )

    assert bench.run("diff") == 1

    assert capsys.readouterr().out.splitlines()[2:] == [
        f"~ ConfigMap/{space}/a changed",
        '    ~ data.k: "1" → "2"',
        f"+ ConfigMap/{space}/new created",
        f"~ Secret/{space}/login changed",
        '    ~ data.password: "*** (before)" → "*** (after)"',
        f"- ConfigMap/{space}/old pruned",
        "",
        "1 created, 2 changed, 1 pruned",
    ]
    names = bench.cluster.kubectl("get", "cm", "-n", space, "-o", "name").split()
    assert "configmap/old" in names
    assert "configmap/new" not in names


def test_without_prune_what_left_git_is_kept(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.source()
    bench.kustomize(f"{bench.namespace}_old__ConfigMap", prune=False)
    bench.owned(config_map(bench.namespace, "old"))
    bench.publish_here({"deploy/kustomization.yaml": "resources: []\n"})

    assert bench.run("diff") == 0
    assert f"· ConfigMap/{bench.namespace}/old kept: spec.prune is off" in capsys.readouterr().out


def test_refused_object_gives_status_2_beside_the_other_changes(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    space = bench.namespace
    bench.source()
    bench.kustomize()
    bench.publish_here(
        {
            "deploy/a.yaml": config_map(space, "a"),
            "deploy/b.yaml": "apiVersion: example.com/v1\nkind: No\nmetadata: {name: x}\n",
        }
    )

    assert bench.run("diff") == 2

    out = capsys.readouterr().out
    assert f"+ ConfigMap/{space}/a created" in out
    assert '! No/x dry-run failed: no matches for kind "No" in version "example.com/v1"' in out


def test_objects_are_tried_as_the_service_account_that_applies_them(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.source()
    bench.kustomize(serviceAccountName="tenant")
    bench.publish_here({"deploy/a.yaml": config_map(bench.namespace, "a")})

    assert bench.run("diff") == 2

    user = f"system:serviceaccount:{bench.namespace}:tenant"
    assert f'User "{user}" cannot get resource "configmaps"' in capsys.readouterr().out


def test_objects_are_tried_in_the_cluster_of_the_kubeconfig(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    space = bench.namespace
    weak = bench.cluster.user("remote")
    bench.cluster.kubectl(
        "create", "secret", "generic", "way", "-n", space, f"--from-file=value={weak}"
    )
    bench.source()
    bench.kustomize(kubeConfig={"secretRef": {"name": "way"}})
    bench.publish_here({"deploy/a.yaml": config_map(space, "a")})

    assert bench.run("diff") == 2
    assert 'User "remote" cannot get resource "configmaps"' in capsys.readouterr().out


def test_object_that_another_kustomization_declares_is_kept(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = f"{bench.namespace}_old__ConfigMap"
    bench.source()
    bench.kustomize(entry, name="neighbour")
    bench.kustomize(entry)
    bench.owned(config_map(bench.namespace, "old"))
    bench.publish_here({"deploy/kustomization.yaml": "resources: []\n"})

    assert bench.run("diff") == 0

    owner = f"Kustomization/{bench.namespace}/neighbour"
    out = capsys.readouterr().out
    assert f"· ConfigMap/{bench.namespace}/old kept: {owner} declares it too" in out


def test_json_is_for_programs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.source()
    bench.kustomize()
    bench.owned(secret(bench.namespace, "geheim"))
    bench.publish_here({"deploy/secret.yaml": secret(bench.namespace, "anders")})

    assert bench.run("diff", "-o", "json") == 1

    found = json.loads(capsys.readouterr().out)
    (obj,) = found["objects"]
    assert (found["cluster"], obj["kind"], obj["outcome"]) == ("home", "Secret", "changed")
    assert obj["changes"] == [
        {"field": "data.password", "before": "*** (before)", "after": "*** (after)"}
    ]


def test_local_directory_is_built_with_the_bases_around_it(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, root = bench.namespace, tmp_path / "repo"
    for path, text in {
        ".git/HEAD": "not really",
        "base/kustomization.yaml": "resources: [a.yaml]\n",
        "base/a.yaml": config_map(space, "a"),
        "overlays/home/kustomization.yaml": "resources: [../../base]\nnamePrefix: home-\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    bench.kustomize()

    assert bench.run("diff", "--path", str(root / "overlays" / "home")) == 1

    out = capsys.readouterr().out
    assert f"at {root}/overlays/home" in out
    assert f"+ ConfigMap/{space}/home-a created" in out


def test_revision_is_fetched_with_the_credentials_of_the_source(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = bench.namespace
    with GitServer(tmp_path / "git", basic=("git", "geheim")) as server:
        repo = server.repo("fleet")
        repo.push({"deploy/a.yaml": config_map(space, "a")})
        repo.tag("v1")
        repo.switch("next")
        commit = repo.push({"deploy/b.yaml": config_map(space, "b")})
        bench.cluster.kubectl(
            *("create", "secret", "generic", "git", "-n", space),
            *("--from-literal=username=git", "--from-literal=password=geheim"),
        )
        bench.source(server.url("fleet"), secretRef={"name": "git"})
        bench.kustomize()
        for revision, number in (("v1", 1), ("next", 2), ("refs/heads/next", 2), (commit, 2)):
            assert bench.run("diff", "--revision", revision) == 1
            assert f"{number} created" in capsys.readouterr().out

        assert bench.run("diff", "--revision", "nowhere") == 2
        assert "has no branch and no tag 'nowhere'" in capsys.readouterr().err
        assert bench.run("diff", "--revision", commit[:8]) == 2
        assert "give a commit with all of its 40 digits" in capsys.readouterr().err


# The artifact -----------------------------------------------------------------------------------


def test_artifact_is_downloaded_where_the_daemon_is_elsewhere(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "elsewhere"
    root.mkdir()
    bench.source()
    bench.kustomize()
    with serving(root) as address:
        artifact = bench.publish({"deploy/a.yaml": config_map(bench.namespace, "a")}, root, address)
        assert bench.run("diff") == 1
        assert "1 created" in capsys.readouterr().out

        (root / artifact.path).write_bytes(b"something else")
        assert bench.run("diff") == 2
        assert "computed digest doesn't match" in capsys.readouterr().err

        (root / artifact.path).unlink()
        assert bench.run("diff") == 2
        assert "; does the daemon run" in capsys.readouterr().err


def test_artifact_that_nobody_serves_is_told_with_what_to_do(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.source()
    bench.kustomize()
    bench.publish({"deploy/a.yaml": ""}, tmp_path / "elsewhere")

    assert bench.run("diff") == 2

    err = capsys.readouterr().err
    assert "cannot be fetched from http://127.0.0.1:1/" in err
    assert "--path DIR and --revision REV do without the artifact" in err


def test_damaged_file_of_the_daemon_is_not_touched(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.source()
    bench.kustomize()
    artifact = bench.publish_here({"deploy/a.yaml": ""})
    file = bench.folder / "data" / "artifacts" / "home" / artifact.path
    file.write_bytes(b"damaged")

    assert bench.run("diff") == 2
    assert file.read_bytes() == b"damaged"
    assert "cannot be fetched" in capsys.readouterr().err


# What is missing --------------------------------------------------------------------------------


def test_what_is_missing_is_named(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("diff") == 2
    assert f"Kustomization/{bench.namespace}/apps is not there" in capsys.readouterr().err

    bench.kustomize()
    assert bench.run("diff") == 2
    assert f"GitRepository/{bench.namespace}/fleet, the source of" in capsys.readouterr().err

    bench.source()
    assert bench.run("diff") == 2
    assert "has no artifact yet" in capsys.readouterr().err

    bench.publish_here({"other/a.yaml": ""})
    assert bench.run("diff") == 2
    assert "kustomization path not found: stat ./deploy" in capsys.readouterr().err

    assert bench.run("diff", "--path", "/nowhere") == 2
    assert "--path /nowhere: is not there" in capsys.readouterr().err


def test_missing_kustomize_is_told_with_how_to_get_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.configure(kustomize="/nowhere/kustomize")
    bench.source()
    bench.kustomize()
    bench.publish_here({"deploy/kustomization.yaml": "resources: []\n"})

    assert bench.run("build") == 1
    assert "[tools] kustomize = '/nowhere/kustomize': is not a program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ("source", "git", "fleet"),
            "only a Kustomization or a HelmRelease can be built, not a GitRepository",
        ),
        (("kustomization",), "name one Kustomization"),
        (("kustomization", "a", "b"), "name one Kustomization"),
    ],
)
def test_wrong_names_give_status_2(
    bench: Bench, argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("diff", "build"):
        assert main.main([command, *argv, "--config", str(bench.config)]) == 2
        assert words in capsys.readouterr().err


# build, tree ------------------------------------------------------------------------------------


def test_build_prints_the_objects_in_the_order_of_applying(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    space = bench.namespace
    bench.source()
    bench.kustomize(commonMetadata={"labels": {"team": "blue"}})
    bench.publish_here(
        {
            "deploy/a.yaml": config_map(space, "a", k="1"),
            "deploy/n.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
            "deploy/s.yaml": secret(space, "geheim"),
        }
    )

    assert bench.run("build") == 0

    out = capsys.readouterr().out
    objects = list(manifests.load_all(out))
    assert [each["kind"] for each in objects] == ["Namespace", "ConfigMap", "Secret"]
    assert objects[2]["data"] == {"password": "***"}
    assert objects[0]["metadata"]["labels"] == {
        "kustomize.toolkit.fluxcd.io/name": NAME,
        "kustomize.toolkit.fluxcd.io/namespace": space,
        "team": "blue",
    }
    assert bench.run("build", "--show-secrets") == 0
    assert "password: Z2VoZWlt" in capsys.readouterr().out


def test_build_substitutes_as_the_daemon_does(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.source()
    bench.apply(manifests.load(config_map(bench.namespace, "vars", colour="green")))
    reference = {"kind": "ConfigMap", "name": "vars"}
    bench.kustomize(postBuild={"substituteFrom": [reference]})
    bench.publish_here({"deploy/a.yaml": config_map(bench.namespace, "a", k="${colour}")})

    assert bench.run("build") == 0
    assert "k: green" in capsys.readouterr().out


def test_tree_shows_the_inventory(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.kustomize("_shop__Namespace", "shop_a__ConfigMap")

    assert bench.run("tree") == 0

    assert capsys.readouterr().out.splitlines() == [
        f"Kustomization/{bench.namespace}/apps",
        "├── Namespace/shop",
        "└── ConfigMap/shop/a",
    ]


def test_temporary_folders_are_gone_afterwards(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    bench.source()
    bench.kustomize()
    bench.publish_here({"deploy/s.yaml": secret(bench.namespace, "geheim")})

    assert bench.run("build") == 0
    assert list(temporary.iterdir()) == []
