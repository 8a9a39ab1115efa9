"""Requests are counted by who asked and what about."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from devcluster import accounting
from devcluster.accounting import AuditLog, Kind

if TYPE_CHECKING:
    from pathlib import Path


def _record(user: str, verb: str, resource: str, subresource: str = "") -> str:
    reference = {"resource": resource, "subresource": subresource}
    return json.dumps({"user": {"username": user}, "verb": verb, "objectRef": reference}) + "\n"


def test_audit_log_counts_one_user_and_no_watches(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(
        _record("gitopsd", "patch", "configmaps")
        + _record("gitopsd", "patch", "configmaps")
        + _record("gitopsd", "watch", "configmaps")
        + _record("gitopsd", "patch", "kustomizations", "status")
        + _record("admin", "patch", "configmaps")
    )
    counts = AuditLog(log, "gitopsd").take()
    assert counts == {Kind("patch", "configmaps"): 2, Kind("patch", "kustomizations/status"): 1}
    assert accounting.managed(counts) == 2


def test_dry_run_is_told_from_a_write(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    record = json.loads(_record("gitopsd", "patch", "services"))
    record["requestURI"] = "/api/v1/namespaces/x/services/y?dryRun=All&fieldManager=z"
    log.write_text(json.dumps(record) + "\n")
    assert AuditLog(log, "gitopsd").take() == {Kind("dry-run", "services"): 1}


def test_lease_renewals_do_not_count(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(_record("gitopsd", "update", "leases"))
    assert AuditLog(log, "gitopsd").take() == {}


def test_audit_log_goes_on_where_it_stopped_and_waits_for_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(_record("gitopsd", "get", "services") + '{"user"')
    requests = AuditLog(log, "gitopsd")
    assert requests.take().total() == 1
    assert requests.take().total() == 0
    log.write_text(_record("gitopsd", "get", "services") + _record("gitopsd", "get", "pods"))
    assert requests.take() == {Kind("get", "pods"): 1}


def test_request_without_a_resource_is_own_business(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(json.dumps({"user": {"username": "gitopsd"}, "verb": "get"}) + "\n")
    assert accounting.managed(AuditLog(log, "gitopsd").take()) == 0


def test_settled_adds_up_until_nothing_more_comes() -> None:
    kind = Kind("get", "pods")
    source = _Source([Counter({kind: 1}), Counter({kind: 2}), Counter(), Counter({kind: 9})])
    assert accounting.settled(source, quiet_s=0.001)[kind] == 3


class _Source:
    def __init__(self, answers: list[Counter[Kind]]) -> None:
        self._answers = iter(answers)

    def take(self) -> Counter[Kind]:
        return next(self._answers)
