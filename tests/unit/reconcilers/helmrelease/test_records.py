"""From one state of a release's record to the next, and to the snapshot of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import orjson
import pytest

from api.helmactions import Filter
from kube.helm import record
from kube.helm.record import Execution, Hook, Record
from reconcilers.helmrelease import hooks, records, testing, words
from reconcilers.helmrelease.release import reason_of
from tests.unit.reconcilers.helmrelease.releases import snapshot

NOW = dt.datetime(2026, 11, 23, 10, 0, 0, 120000, dt.UTC)


def made(version: int = 1, status: str = "deployed", **fields: Any) -> Record:
    known: dict[str, Any] = {
        "name": "demo",
        "info": {
            "status": status,
            "first_deployed": "2026-01-01T00:00:00.123456789Z",
            "last_deployed": "2026-01-02T00:00:00+01:00",
            "description": "Install complete",
        },
        "chart": {"metadata": {"name": "web", "version": "1.0.0", "appVersion": "9"}},
        "config": {"a": 1},
        "manifest": "---\n",
        "version": version,
        "namespace": "apps",
    }
    return record.parse(orjson.dumps(known | fields))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOW, "2026-11-23T10:00:00.12Z"),
        (NOW.replace(microsecond=0), "2026-11-23T10:00:00Z"),
        (NOW.replace(microsecond=1), "2026-11-23T10:00:00.000001Z"),
    ],
)
def test_times_are_written_as_go_writes_them(moment: dt.datetime, text: str) -> None:
    assert records.stamp(moment) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-23T03:19:56.074730893Z", "2026-11-23T03:19:56Z"),
        ("2026-11-23T03:19:56+01:00", "2026-11-23T02:19:56Z"),
        ("", "0001-01-01T00:00:00Z"),
        (None, "0001-01-01T00:00:00Z"),
    ],
)
def test_the_status_has_times_to_the_second(text: str | None, seconds: str) -> None:
    assert records.to_seconds(text) == seconds


def test_an_install_begins_a_release() -> None:
    found = records.pending(made(), None, is_upgrade=False, now=NOW)
    assert (found.version, found.status, found.apply_method) == (1, "pending-install", "ssa")
    assert found.info.first_deployed == found.info.last_deployed == "2026-11-23T10:00:00.12Z"


def test_an_upgrade_goes_on_from_the_newest_record() -> None:
    found = records.pending(made(), made(7, "failed"), is_upgrade=True, now=NOW)
    assert (found.version, found.status) == (8, "pending-upgrade")
    assert found.info.first_deployed == "2026-01-01T00:00:00.123456789Z"


def test_an_install_over_an_uninstalled_release_counts_on() -> None:
    found = records.pending(made(), made(3, "uninstalled"), is_upgrade=False, now=NOW)
    assert (found.version, found.status) == (4, "pending-install")


def test_a_rollback_is_a_new_revision_of_an_old_content() -> None:
    target = made(1, "superseded", config={"a": "old"})
    found = records.rolled_back(target, made(4, "failed"), now=NOW)
    assert (found.version, found.status, found.config) == (5, "pending-rollback", {"a": "old"})
    assert (found.info.description, found.info.rollback_revision) == ("Rollback to 1", 1)


@pytest.mark.parametrize(
    ("change", "status", "description"),
    [
        (lambda each: records.deployed(each, "Install complete"), "deployed", "Install complete"),
        (lambda each: records.failed(each, "why"), "failed", "why"),
        (records.superseded, "superseded", "Install complete"),
        (records.uninstalled, "uninstalled", "Uninstallation complete"),
        (
            lambda each: records.unlocked(each.with_info(status="pending-upgrade")),
            "failed",
            "Release unlocked from stale 'pending-upgrade' state",
        ),
    ],
)
def test_each_end_has_helms_words(change: Any, status: str, description: str) -> None:
    found = change(made())
    assert (found.info.status, found.info.description) == (status, description)
    assert found.manifest == made().manifest


def test_a_snapshot_tells_of_a_record() -> None:
    found = records.snapshot(made(3), action="upgrade", oci_digest="sha256:o")
    assert (found.name, found.namespace, found.version, found.status) == (
        "demo",
        "apps",
        3,
        "deployed",
    )
    assert (found.chart_name, found.chart_version, found.app_version) == ("web", "1.0.0", "9")
    assert (found.first_deployed, found.last_deployed) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T23:00:00Z",
    )
    assert found.digest == records.stored(made(3), "sha256:o").digest
    assert found.digest != records.stored(made(3), "").digest


def hook(name: str, weight: int = 0, **fields: Any) -> Hook:
    return Hook(name=name, weight=weight, events=("test", "pre-install"), **fields)


def test_hooks_run_by_weight_then_name() -> None:
    release = made().changed(hooks=(hook("b"), hook("late", 5), hook("a"), hook("first", -1)))
    assert [each.name for each in hooks.of(release, "pre-install")] == ["first", "a", "b", "late"]
    assert hooks.of(release, "post-install") == []


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["a", "b", "c"]),
        ([{"name": "a"}], ["a"]),
        ([{"name": "a", "exclude": True}], ["b", "c"]),
        ([{"name": "a"}, {"name": "a", "exclude": True}], []),
        ([{"name": "a"}, {"name": "b"}, {"name": "a", "exclude": True}], ["b"]),
        ([{"name": "none"}], []),
    ],
)
def test_an_exclusion_comes_before_everything_else(
    filters: list[dict[str, Any]], names: list[str]
) -> None:
    given = [msgspec.convert(each, Filter) for each in filters]
    found = testing.chosen([hook("a"), hook("b"), hook("c")], given)
    assert [each.name for each in found] == names


def test_the_results_of_the_chosen_tests_are_told() -> None:
    ran = Execution(started_at=records.stamp(NOW), completed_at=records.stamp(NOW), phase="Failed")
    release = made().changed(hooks=(hook("a", last_run=ran), hook("b")))
    found = records.tests_of(release, ["a"])
    assert {name: each.phase for name, each in found.items()} == {"a": "Failed"}


@pytest.mark.parametrize(
    ("tests", "end"),
    [
        ({}, "no test hooks"),
        ({"a": None}, "1 test hook completed successfully"),
        ({"a": None, "b": None}, "2 test hooks completed successfully"),
    ],
)
def test_the_number_of_tests_is_told(tests: Any, end: str) -> None:
    assert words.tested(snapshot(test_hooks=tests)).endswith(f"with chart demo@1.0.0: {end}")


def test_messages_are_those_of_flux() -> None:
    one = snapshot(2)
    assert words.succeeded("install", one) == (
        "Helm install succeeded for release apps/demo.v2 with chart demo@1.0.0"
    )
    assert words.failed("upgrade", "apps/demo", "demo@1.0.0", "why") == (
        "Helm upgrade failed for release apps/demo with chart demo@1.0.0: why"
    )
    assert words.rolled_back(one) == (
        "Helm rollback to previous release apps/demo.v2 with chart demo@1.0.0 succeeded"
    )
    assert words.undone(one, "why") == (
        "Helm uninstall remediation for release apps/demo.v2 with chart demo@1.0.0 failed: why"
    )
    assert words.unlocked(one, "pending-install") == (
        "Unlocked Helm release apps/demo.v2 with chart demo@1.0.0 in pending-install state"
    )
    assert reason_of(ValueError("plain")) == "plain"
