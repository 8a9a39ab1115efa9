"""The commands that speak to an API server alone, without a daemon."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli import main
from kube import manifests
from tests.support import reconciling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from devcluster.cluster import Cluster

PING = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'
SOURCE = """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: fleet, namespace: {namespace}}}
spec: {{interval: 1h, url: "http://127.0.0.1:1/fleet.git"}}
"""


@pytest.fixture
def gitopsd(cluster: Cluster, namespace: str, tmp_path: Path) -> Callable[..., int]:
    """Runs a command line on the session's cluster, which serves the kinds and has one source."""
    reconciling.prepare(cluster)
    cluster.kubectl("apply", "-f", "-", input=SOURCE.format(namespace=namespace))
    config = tmp_path / "config.toml"
    config.write_text(
        f'[daemon]\ndata_dir = "{tmp_path}/data"\n'
        f'[[clusters]]\nname = "home"\nkubeconfig = "{cluster.kubeconfig}"\n'
    )

    def run(*argv: str) -> int:
        return main.main([*argv, "--config", str(config)])

    return run


def suspended(cluster: Cluster, namespace: str) -> bool:
    found = json.loads(
        cluster.kubectl("get", "gitrepository", "-n", namespace, "fleet", "-o", "json")
    )
    return bool(found["spec"].get("suspend", False))


def test_get_lists_what_waits_to_be_reconciled(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("get", "sources", "git", "-n", namespace) == 0

    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE"]
    assert line.split() == ["fleet", "False", "False", "waiting", "to", "be", "reconciled"]


def test_get_prints_json_for_programs(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("get", "source", "git", "fleet", "-n", namespace, "-o", "json") == 0

    assert json.loads(capsys.readouterr().out)["metadata"]["name"] == "fleet"
    assert gitopsd("get", "all", "-n", namespace, "-o", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["cluster"], found["object"]["kind"]) == ("home", "GitRepository")


def test_get_of_nothing_says_so(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("get", "kustomizations", "-n", namespace) == 1
    assert f"no Kustomization in namespace {namespace}" in capsys.readouterr().err


def test_export_is_what_was_applied(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "fleet", "namespace": namespace},
        "spec": {"interval": "1h", "timeout": "60s", "url": "http://127.0.0.1:1/fleet.git"},
    }
    for words in (["source", "git", "fleet"], ["source", "git", "--all"], ["sources"], ["all"]):
        assert gitopsd("export", *words, "-n", namespace) == 0
        text = capsys.readouterr().out
        assert text.startswith(
            "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n"
        )
        assert manifests.load(text.encode()) == expected


def test_export_is_applied_without_a_change(
    gitopsd: Callable[..., int],
    cluster: Cluster,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gitopsd("export", "source", "git", "fleet", "-n", namespace) == 0
    cluster.kubectl("apply", "-f", "-", input=capsys.readouterr().out)
    found = json.loads(
        cluster.kubectl("get", "gitrepository", "-n", namespace, "fleet", "-o", "json")
    )
    assert found["metadata"]["generation"] == 1


def test_export_of_what_is_not_there_names_it(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("export", "source", "git", "fleet", "other", "-n", namespace) == 1
    assert f"not in namespace {namespace}: other" in capsys.readouterr().err
    assert gitopsd("export", "bucket", "--all", "-n", namespace) == 1
    assert "no such object" in capsys.readouterr().err
    assert gitopsd("export", "source", "git", "-n", namespace) == 2
    assert "give --all" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["reconcile", "suspend", "resume"])
def test_artifact_of_somebody_else_is_left_to_them(
    gitopsd: Callable[..., int], namespace: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd(command, "source", "external", "made", "-n", namespace) == 2
    assert "ExternalArtifact objects are" in capsys.readouterr().err


def test_suspend_and_resume_change_the_spec(
    gitopsd: Callable[..., int], cluster: Cluster, namespace: str
) -> None:
    assert gitopsd("suspend", "source", "git", "fleet", "-n", namespace) == 0
    assert suspended(cluster, namespace)

    assert gitopsd("resume", "source", "git", "fleet", "-n", namespace, "--no-wait") == 0
    assert not suspended(cluster, namespace)


def test_missing_object_is_named(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("suspend", "reconcile"):
        assert gitopsd(command, "source", "git", "nothing", "-n", namespace) == 1
        assert f"GitRepository/{namespace}/nothing is not there" in capsys.readouterr().err


def test_reconcile_without_a_daemon_ends_at_its_time_limit(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("reconcile", "source", "git", "fleet", "-n", namespace, "--timeout", "300ms")

    assert gitopsd(*argv) == 1
    assert "was not reconciled within 0.3 s; does the daemon run" in capsys.readouterr().err


def test_status_without_a_daemon_shows_what_the_cluster_says(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("status") == 1

    out = capsys.readouterr().out
    assert "NOT RUNNING" in out
    assert f"{namespace}/fleet" in out


def test_check_finds_the_definitions_and_the_permissions(
    gitopsd: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    gitopsd("check")

    out = capsys.readouterr().out
    assert "✔ cluster home: CRD gitrepositories.source.toolkit.fluxcd.io: serves v1" in out
    assert "✔ cluster home: permissions: all that the daemon itself needs" in out


def test_check_lists_what_a_weak_credential_may_not_do(
    gitopsd: Callable[..., int],
    cluster: Cluster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.toml"
    weak = cluster.user("weak")
    config.write_text(config.read_text().replace(str(cluster.kubeconfig), str(weak)))

    assert gitopsd("check") == 1

    out = capsys.readouterr().out
    assert "✗ cluster home: permissions: may not list fluxinstances" in out
    assert "patch kustomizations/status" in out
    assert "bind the user to a ClusterRole with these rights" in out


def test_get_all_lists_kind_by_kind(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("get", "all", "-n", namespace) == 0

    title, header, line = capsys.readouterr().out.splitlines()
    assert (title, header.split()[0], line.split()[0]) == ("GitRepository", "NAME", "fleet")

    assert gitopsd("get", "all", "-n", "kube-system") == 1
    err = capsys.readouterr().err
    assert "no Flux objects in namespace kube-system; -A looks in all of them" in err


def test_get_prints_what_is_there_and_names_what_is_not(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("get", "source", "git", "fleet", "other", "-n", namespace) == 1

    captured = capsys.readouterr()
    assert "fleet" in captured.out
    assert f"no GitRepository other in namespace {namespace}" in captured.err


def test_events_of_an_object_are_listed(
    gitopsd: Callable[..., int],
    cluster: Cluster,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gitopsd("events", "-n", namespace) == 0
    assert f"no events in namespace {namespace}" in capsys.readouterr().out
    for kind, name in (("GitRepository", "fleet"), ("Deployment", "web")):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.1"},
            "involvedObject": {"kind": kind, "name": name, "namespace": namespace},
            "type": "Warning",
            "reason": "Something",
            "message": "of " + name,
            "lastTimestamp": "2026-01-02T12:00:00Z",
        }
        cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(event))

    assert gitopsd("events", "-n", namespace) == 0
    _, line = capsys.readouterr().out.splitlines()
    assert line.split()[1:] == ["Warning", "Something", "GitRepository/fleet", "of", "fleet"]

    assert gitopsd("events", "ks", "-n", namespace) == 0
    assert "no events" in capsys.readouterr().out


def test_cluster_that_is_away_keeps_no_other_from_being_shown(
    gitopsd: Callable[..., int],
    namespace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.toml"
    away = '[[clusters]]\nname = "{}"\nkubeconfig = "{}"\ncontext = "{}"\n'
    kubeconfig = config.read_text().split('kubeconfig = "')[1].split('"')[0]
    config.write_text(
        config.read_text()
        + away.format("gone", tmp_path / "nowhere", "")
        + away.format("wrong", kubeconfig, "no-such-context")
    )

    for command in (("get", "source", "git", "-n", namespace), ("stats",), ("events", "-A")):
        assert gitopsd(*command) == 1
        captured = capsys.readouterr()
        assert "cluster gone: " in captured.err
        assert "no-such-context" in captured.err
        assert captured.out
    assert gitopsd("get", "source", "git", "-n", namespace) == 1
    header, line = capsys.readouterr().out.splitlines()
    assert (header.split()[0], line.split()[:2]) == ("CLUSTER", ["home", "fleet"])


def test_user_without_rights_is_told_what_is_missing(
    gitopsd: Callable[..., int],
    cluster: Cluster,
    namespace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.toml"
    weak = cluster.user("weak")
    config.write_text(config.read_text().replace(str(cluster.kubeconfig), str(weak)))

    assert gitopsd("get", "ks", "-n", namespace) == 1
    assert "cluster home: Kustomization: kustomizations" in capsys.readouterr().err


def test_object_is_created_shown_and_deleted(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ("--source", "git/fleet", "--path", "./apps", "--prune")
    where = ("-n", namespace)
    assert gitopsd("create", "kustomization", "apps", *source, *where, "--no-wait") == 0
    assert gitopsd("get", "ks", "apps", *where, "-o", "name") == 0
    assert "kustomization.kustomize.toolkit.fluxcd.io/apps" in capsys.readouterr().out

    assert gitopsd("graph", "ks", "apps", *where) == 0
    assert f"GitRepository_{namespace.replace('-', '_')}_fleet -->" in capsys.readouterr().out
    assert gitopsd("debug", "ks/apps", *where) == 1
    assert "cause: not-reconciled" in capsys.readouterr().out

    assert gitopsd("delete", "ks", "apps", *where) == 2
    assert "say --silent" in capsys.readouterr().err
    assert gitopsd("delete", "ks", "apps", *where, "--silent") == 0
    assert gitopsd("delete", "ks", "apps", *where, "--silent") == 1
    assert f"Kustomization/{namespace}/apps is not there" in capsys.readouterr().err


def test_what_nobody_applied_is_traced_to_nobody(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["ns/" + namespace], ["namespace", namespace], ["Namespaces", namespace]):
        assert gitopsd("trace", *words) == 1
        assert "not managed by Flux" in capsys.readouterr().out
    assert gitopsd("trace", "namespac", namespace) == 2
    assert "did you mean Namespace" in capsys.readouterr().err


def test_cluster_is_the_same_as_itself(
    gitopsd: Callable[..., int], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("compare", "home", "home", "-n", namespace) == 0
    assert "are the same: 1 objects" in capsys.readouterr().out
    assert gitopsd("compare", "home", "hom") == 2
    assert "no cluster is named 'hom'" in capsys.readouterr().err


def test_webhooks_and_drift_are_told_without_a_daemon(
    gitopsd: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gitopsd("webhooks") == 0
    assert "http://127.0.0.1:9292/webhooks/github" in capsys.readouterr().out
    assert gitopsd("drift") == 0
    captured = capsys.readouterr()
    assert captured.out
    assert "this is from the Events of the last hour" in captured.err
    assert gitopsd("drift", "-o", "json") == 0
    captured = capsys.readouterr()
    assert isinstance(json.loads(captured.out), list)
    assert not captured.err


def test_watch_prints_what_changes_until_interrupted(
    gitopsd: Callable[..., int], cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    assert gitopsd("get", "all", "-n", namespace) == 0
    argv = ["get", "source", "git", "-n", namespace, "--watch"]
    command = [sys.executable, "-m", "cli.main", *argv, "--config", str(tmp_path / "config.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        header, first = (process.stdout.readline() for _ in range(2))
        assert header.startswith(b"NAME")
        assert first.split()[2] == b"False"
        suspended = b""
        while b"True" not in suspended:  # the watch may begin after the first change
            flag = "false" if suspended else "true"
            patch = f'{{"spec":{{"suspend":{flag}}},"metadata":{{"labels":{{"n":"{flag}"}}}}}}'
            cluster.kubectl(
                "patch", "gitrepository", "fleet", "-n", namespace, "--type=merge", "-p", patch
            )
            ready, _, _ = select.select([process.stdout], [], [], 2.0)
            suspended = process.stdout.readline() if ready else b"nothing yet"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b""


def test_empty_name_deletes_nothing(
    gitopsd: Callable[..., int], cluster: Cluster, namespace: str
) -> None:
    assert gitopsd("delete", "source", "git", "", "-n", namespace, "--silent") == 2

    names = cluster.kubectl("get", "gitrepositories", "-n", namespace, "-o", "name")
    assert names.split() == ["gitrepository.source.toolkit.fluxcd.io/fleet"]


def test_kinds_that_may_not_be_listed_do_not_make_a_cluster_away(
    gitopsd: Callable[..., int],
    cluster: Cluster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.toml"
    weak = cluster.user("weak")
    config.write_text(config.read_text().replace(str(cluster.kubeconfig), str(weak)))

    assert gitopsd("status") == 1

    out = capsys.readouterr().out
    assert "cluster home: not served" in out
    assert "Kustomization: kustomizations" in out


@pytest.mark.parametrize(
    "argv",
    [
        ("reconcile", "source", "git", "fleet"),
        ("create", "kustomization", "later", "--source", "git/fleet"),
        ("resume", "source", "git", "fleet"),
    ],
    ids=lambda argv: argv[0],
)
def test_interrupted_wait_ends_without_a_word(
    gitopsd: Callable[..., int], namespace: str, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    assert gitopsd("get", "all", "-n", namespace) == 0
    where = ("-n", namespace, "--config", str(tmp_path / "config.toml"))
    command = [sys.executable, "-u", "-m", "cli.main", *argv, *where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        said = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert said
        assert process.stderr.read() == b""


@pytest.mark.parametrize("options", [(), ("--http", "127.0.0.1:0")], ids=["stdio", "http"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
@pytest.mark.usefixtures("gitopsd")
def test_interrupted_server_for_agents_ends_without_a_word(
    tmp_path: Path, options: tuple[str, ...], number: signal.Signals, status: int
) -> None:
    command = [sys.executable, "-m", "cli.main", "mcp", *options]
    command += ["--config", str(tmp_path / "config.toml")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        if options:
            assert process.stderr.readline().startswith(b"serving http://127.0.0.1:")
        else:
            process.stdin.write(PING)
            process.stdin.flush()
            assert b'"result"' in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(timeout=60) == status
        assert process.stderr.read() == b""
