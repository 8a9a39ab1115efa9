"""What a HelmRelease asks for, with Flux's defaults."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from kube.helm.record import Record
from reconcilers.helmrelease import policy, terms
from reconcilers.helmrelease.decision import Action
from reconcilers.helmrelease.policy import Policy
from tests.unit.reconcilers.helmrelease.releases import release

RETRY = {"strategy": {"name": "RetryOnFailure", "retryInterval": "7s"}}


@pytest.mark.parametrize(
    ("install", "expected"),
    [
        (None, Policy("install")),
        ({}, Policy("install")),
        ({"remediation": {"retries": 3}}, Policy("install", 3)),
        (
            {"remediation": {"remediateLastFailure": True, "ignoreTestFailures": True}},
            Policy("install", 0, True, True),
        ),
        (RETRY, Policy("install", retry_s=7.0)),
        ({"strategy": {"name": "RetryOnFailure"}}, Policy("install", retry_s=300.0)),
        ({"strategy": {"name": "RemediateOnFailure"}}, Policy("install")),
    ],
)
def test_a_failed_install_is_undone_only_by_an_uninstall(
    install: dict[str, Any] | None, expected: Policy
) -> None:
    spec = release({"install": install} if install is not None else {}).spec
    assert policy.of_install(spec) == expected


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [
        (None, Policy("upgrade", strategy="rollback")),
        ({"remediation": {}}, Policy("upgrade", strategy="rollback")),
        ({"remediation": {"retries": 2}}, Policy("upgrade", 2, False, True, "rollback")),
        (
            {"remediation": {"retries": 2, "remediateLastFailure": False}},
            Policy("upgrade", 2, False, False, "rollback"),
        ),
        (
            {"remediation": {"strategy": "uninstall", "retries": -1}},
            Policy("upgrade", -1, False, False, "uninstall"),
        ),
        (RETRY, Policy("upgrade", strategy="rollback", retry_s=7.0)),
    ],
)
def test_a_failed_upgrade_is_undone_by_a_rollback_unless_the_spec_says_otherwise(
    upgrade: dict[str, Any] | None, expected: Policy
) -> None:
    spec = release({"upgrade": upgrade} if upgrade is not None else {}).spec
    assert policy.of_upgrade(spec) == expected


@pytest.mark.parametrize(
    ("action", "expected"), [("", None), ("install", "install"), ("upgrade", "upgrade")]
)
def test_the_last_attempt_decides_which_part_of_the_spec_counts(
    action: str, expected: str | None
) -> None:
    item = release(last_attempted_release_action=action)
    found = policy.active(item.spec, item.status)
    assert (found.action if found else None) == expected


@pytest.mark.parametrize(
    ("spec", "own", "seconds"),
    [({}, None, 300.0), ({"timeout": "1m"}, None, 60.0), ({"timeout": "1m"}, "2s", 2.0)],
)
def test_an_operation_has_its_own_time_limit_or_that_of_all(
    spec: dict[str, Any], own: str | None, seconds: float
) -> None:
    assert policy.timeout_s(release(spec).spec, own) == seconds


@pytest.mark.parametrize(
    ("given", "kept"), [({}, 5), ({"maxHistory": 0}, 0), ({"maxHistory": 9}, 9)]
)
def test_five_revisions_are_kept_unless_the_spec_says_otherwise(
    given: dict[str, Any], kept: int
) -> None:
    assert policy.max_history(release(given).spec) == kept


@pytest.mark.parametrize(
    ("action", "spec", "field", "expected"),
    [
        (Action.INSTALL, {}, "waits", True),
        (Action.INSTALL, {"install": {"disableWait": True}}, "waits", False),
        (Action.INSTALL, {"install": {"disableWaitForJobs": True}}, "waits_for_jobs", False),
        (Action.INSTALL, {"install": {"disableHooks": True}}, "has_hooks", False),
        (Action.INSTALL, {}, "applies_definitions", True),
        (Action.INSTALL, {"install": {"crds": "Skip"}}, "applies_definitions", False),
        (Action.INSTALL, {"install": {"skipCRDs": True}}, "applies_definitions", False),
        (
            Action.INSTALL,
            {"install": {"skipCRDs": True, "crds": "Create"}},
            "applies_definitions",
            True,
        ),
        (Action.INSTALL, {"install": {"createNamespace": True}}, "creates_namespace", False),
        (
            Action.INSTALL,
            {"targetNamespace": "x", "install": {"createNamespace": True}},
            "creates_namespace",
            True,
        ),
        (Action.INSTALL, {"install": {"disableOpenAPIValidation": True}}, "validates", False),
        (Action.UPGRADE, {}, "applies_definitions", True),
        (Action.UPGRADE, {"upgrade": {"crds": "CreateReplace"}}, "applies_definitions", True),
        (Action.UPGRADE, {"upgrade": {"cleanupOnFail": True}}, "cleans_up", True),
        (Action.UPGRADE, {"upgrade": {"timeout": "3s"}}, "timeout_s", 3.0),
        (Action.ROLLBACK, {"rollback": {"disableWait": True}}, "waits", False),
        (Action.ROLLBACK, {"rollback": {"cleanupOnFail": True}}, "cleans_up", True),
        (Action.UNINSTALL, {"uninstall": {"disableWait": True}}, "waits", False),
        (Action.UNINSTALL, {"uninstall": {"disableHooks": True}}, "has_hooks", False),
        (Action.TEST, {"test": {"timeout": "4s"}}, "timeout_s", 4.0),
        (Action.UNLOCK, {"timeout": "5s"}, "timeout_s", 5.0),
    ],
)
def test_each_option_reaches_its_action(
    action: Action, spec: dict[str, Any], field: str, expected: object
) -> None:
    assert getattr(terms.of(release(spec).spec, action), field) == expected


_INSTALL, _UPGRADE, _ROLLBACK = Action.INSTALL, Action.UPGRADE, Action.ROLLBACK


@pytest.mark.parametrize(
    ("spec", "action", "before", "expected"),
    [
        ({}, _INSTALL, "csa", "ssa"),
        ({"install": {"serverSideApply": True}}, _INSTALL, None, "ssa"),
        ({"install": {"serverSideApply": False}}, _INSTALL, None, "csa"),
        ({}, _UPGRADE, "ssa", "ssa"),
        ({}, _UPGRADE, "csa", "csa"),
        ({}, _UPGRADE, "", "csa"),
        ({"upgrade": {}}, _UPGRADE, "csa", "csa"),
        ({"upgrade": {"serverSideApply": "auto"}}, _UPGRADE, "ssa", "ssa"),
        ({"upgrade": {"serverSideApply": "enabled"}}, _UPGRADE, "csa", "ssa"),
        ({"upgrade": {"serverSideApply": "disabled"}}, _UPGRADE, "ssa", "csa"),
        ({"upgrade": {"serverSideApply": "disabled"}}, _ROLLBACK, "ssa", "ssa"),
        ({"rollback": {"serverSideApply": "auto"}}, _ROLLBACK, "csa", "csa"),
        ({"rollback": {"serverSideApply": "enabled"}}, _ROLLBACK, "csa", "ssa"),
        ({"rollback": {"serverSideApply": "disabled"}}, _ROLLBACK, "ssa", "csa"),
    ],
)
def test_the_way_of_the_release_before_is_kept_unless_another_is_asked_for(
    spec: dict[str, Any], action: Action, before: str | None, expected: str
) -> None:
    last = None
    if before is not None:
        last = Record({"apply_method": Raw(f'"{before}"'.encode())})
    assert terms.apply_method(release(spec).spec, action, last) == expected


def test_force_and_ownership_are_terms_of_an_action() -> None:
    spec = release(
        {
            "install": {"disableTakeOwnership": True, "crds": "CreateReplace"},
            "upgrade": {"force": True},
            "rollback": {"force": True},
        }
    ).spec
    install, upgrade, rollback = (terms.of(spec, each) for each in (_INSTALL, _UPGRADE, _ROLLBACK))
    assert (install.takes_over, install.force, install.replaces_definitions) == (False, False, True)
    assert (upgrade.takes_over, upgrade.force, upgrade.replaces_definitions) == (True, True, False)
    assert rollback.force
