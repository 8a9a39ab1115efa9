from __future__ import annotations

import datetime as dt

import msgspec

from cli import status_text
from daemon import report

NOW = dt.datetime(2026, 1, 2, 12, 0, 0, tzinfo=dt.UTC)
SHA = "main@sha1:0123456789abcdef0123456789abcdef01234567"
ROW = report.Row(
    kind="Kustomization",
    namespace="flux-system",
    name="apps",
    revision=SHA,
    ready="True",
    reason="ReconciliationSucceeded",
    message=f"Applied revision: {SHA}",
    since="2026-01-02T11:58:00Z",
    corrections=3,
)
CLUSTER = report.ClusterState(
    name="home",
    state="synced",
    since="2026-01-02T11:00:00Z",
    server="https://home:6443",
    version="v1.36.3",
    rows=(ROW,),
)


def daemon(*clusters: report.ClusterState, config_error: str = "") -> report.Report:
    return report.Report(
        version="0.1.0",
        pid=42,
        started="2026-01-02T10:00:00Z",
        memory_bytes=70 * 2**20,
        config="/etc/gitopsd/config.toml",
        config_error=config_error,
        listeners={"metrics": "127.0.0.1:9080"},
        clusters=clusters,
    )


def test_running_daemon_is_shown_with_memory_listeners_and_objects() -> None:
    text = status_text.render(daemon(CLUSTER), NOW, is_running=True)

    assert "gitopsd 0.1.0, process 42, up 2h, memory 70 MiB" in text
    assert "listens: metrics 127.0.0.1:9080" in text
    assert "cluster home: synced for 1h (https://home:6443, v1.36.3)" in text
    assert "  1 ready" in text
    line = next(line for line in text.splitlines() if "flux-system/apps" in line)
    assert line.split() == [
        "Kustomization", "flux-system/apps", "True", "2m", "3", "main@sha1:01234567",
    ]  # fmt: skip


def test_what_is_not_ready_comes_first_with_its_whole_message_in_lines_that_fit() -> None:
    reason = f"{'no matches for kind ' * 8}at {SHA}"
    broken = msgspec.structs.replace(ROW, name="broken", ready="False", message=reason)
    each = msgspec.structs.replace(CLUSTER, rows=(ROW, broken))

    lines = status_text.render(daemon(each), NOW, is_running=True).splitlines()

    first = next(number for number, line in enumerate(lines) if "flux-system/" in line)
    assert "flux-system/broken" in lines[first]
    assert "1 ready, 1 not ready" in "".join(lines)
    assert " ".join(" ".join(lines[first + 1 : first + 4]).split()) == (
        "no matches for kind " * 8 + "at main@sha1:01234567"
    )
    assert max(map(len, lines)) <= 80


def test_message_of_a_suspended_object_is_left_out() -> None:
    paused = msgspec.structs.replace(ROW, is_suspended=True, message="old news")
    text = status_text.render(
        daemon(msgspec.structs.replace(CLUSTER, rows=(paused,))), NOW, is_running=True
    )

    assert "Suspended" in text
    assert "old news" not in text


def test_many_objects_that_are_ready_are_counted() -> None:
    rows = tuple(msgspec.structs.replace(ROW, name=f"app{number}") for number in range(30))
    found = daemon(msgspec.structs.replace(CLUSTER, rows=rows))

    text = status_text.render(found, NOW, is_running=True)
    listed = status_text.render(found, NOW, is_running=True, shows_all=True)

    assert text.splitlines()[-1] == (
        "  Kustomization: 30 ready at main@sha1:01234567, 90 corrections of drift; --all lists them"
    )
    assert "app7" not in text
    assert "flux-system/app7 " in listed


def test_wide_shows_every_message() -> None:
    text = status_text.render(daemon(CLUSTER), NOW, is_running=True, is_wide=True)

    assert text.splitlines()[-1].endswith("Applied revision: main@sha1:01234567")


def test_stopped_daemon_is_said_first() -> None:
    text = status_text.render(daemon(CLUSTER), NOW, is_running=False)

    assert text.startswith("The daemon of /etc/gitopsd/config.toml is NOT RUNNING")
    assert "process 42" not in text


def test_kind_that_is_observed_is_shown_with_its_reason() -> None:
    kind = report.KindState(kind="Kustomization", mode="observing", reason="Flux runs here")
    each = report.ClusterState(name="home", state="synced", kinds=(kind,))

    assert "  Kustomization: observing: Flux runs here" in status_text.render(
        daemon(each), NOW, is_running=True
    )


def test_kind_that_is_reconciled_is_shown_only_while_it_has_work() -> None:
    idle = report.KindState(kind="GitRepository", mode="reconciling")
    busy = report.KindState(kind="Kustomization", mode="reconciling", queued=2, active=8)
    each = report.ClusterState(name="home", state="synced", kinds=(idle, busy))

    text = status_text.render(daemon(each), NOW, is_running=True)

    assert "GitRepository" not in text
    assert "  Kustomization: 2 queued, 8 active" in text


def test_cluster_that_is_away_is_shown_with_the_reason() -> None:
    each = report.ClusterState(name="pi", state="away", message="connection\nrefused")

    text = status_text.render(daemon(each), NOW, is_running=True)

    assert "cluster pi: away\n  connection refused" in text


def test_wrong_settings_and_missing_clusters_are_said() -> None:
    text = status_text.render(daemon(config_error="x: unknown key"), NOW, is_running=True)

    assert "settings: x: unknown key" in text
    assert "no clusters: add [[clusters]] to /etc/gitopsd/config.toml" in text


def test_wide_shows_how_drift_is_seen() -> None:
    each = report.ClusterState(name="home", state="synced", watches={"ConfigMap": "watch"})

    text = status_text.render(daemon(each), NOW, is_running=True, is_wide=True)

    assert "  drift of ConfigMap: by watch" in text


def test_well_means_synced_ready_or_suspended_and_right_settings() -> None:
    broken = report.Row(kind="Kustomization", namespace="a", name="b", ready="False")
    paused = report.Row(kind="Kustomization", namespace="a", name="b", is_suspended=True)

    def cluster(row: report.Row, state: str = "synced") -> report.ClusterState:
        return report.ClusterState(name="home", state=state, rows=(row,))

    assert status_text.is_well(daemon(cluster(ROW)))
    assert status_text.is_well(daemon(cluster(paused)))
    assert not status_text.is_well(daemon(cluster(broken)))
    assert not status_text.is_well(daemon(cluster(ROW, state="away")))
    assert not status_text.is_well(daemon(cluster(ROW), config_error="wrong"))
