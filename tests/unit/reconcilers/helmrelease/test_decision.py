"""What follows from how a release stands: Flux's table of actions, strategies and counters."""

from __future__ import annotations

from typing import Any

import pytest

from reconcilers.helmrelease import decision
from reconcilers.helmrelease.decision import Act, Action, Class, Decision, Rest, Stall
from reconcilers.helmrelease.state import State
from tests.unit.reconcilers.helmrelease.releases import BAD, release, snapshot

HISTORY = (snapshot(2, status="failed"), snapshot(1))
RETRY = {"strategy": {"name": "RetryOnFailure"}}


def decide(item: Any, state: State, *, forced: bool = False, intact: bool = True) -> Decision:
    return decision.decide(item, state, is_forced=forced, is_intact=lambda _: intact)


@pytest.mark.parametrize(
    ("state", "forced", "expected"),
    [
        (State.IN_SYNC, False, Rest()),
        (State.IN_SYNC, True, Act(Action.UPGRADE)),
        (State.LOCKED, False, Act(Action.UNLOCK)),
        (State.LOCKED, True, Act(Action.UNLOCK)),
        (State.ABSENT, False, Act(Action.INSTALL)),
        (State.UNMANAGED, False, Act(Action.UPGRADE, forgets_history=True)),
        (State.OUT_OF_SYNC, False, Act(Action.UPGRADE)),
        (State.UNTESTED, False, Act(Action.TEST)),
    ],
)
def test_each_state_has_its_action(state: State, forced: bool, expected: Decision) -> None:
    assert decide(release(), state, forced=forced) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("enabled", Act(Action.CORRECT)), ("warn", Rest()), ("disabled", Rest()), ("", Rest())],
)
def test_drift_is_corrected_only_where_that_is_asked_for(mode: str, expected: Decision) -> None:
    spec = {"driftDetection": {"mode": mode}} if mode else {}
    assert decide(release(spec), State.DRIFTED) == expected


@pytest.mark.parametrize(
    ("action", "state", "counter"),
    [
        ("install", State.ABSENT, "install_failures"),
        ("upgrade", State.OUT_OF_SYNC, "upgrade_failures"),
    ],
)
@pytest.mark.parametrize(
    ("retries", "failures", "may_go_on"),
    [(0, 0, True), (0, 1, False), (3, 3, True), (3, 4, False), (-1, 100, True)],
)
def test_retries_say_how_many_attempts_follow_the_first(
    action: str, state: State, counter: str, retries: int, failures: int, may_go_on: bool
) -> None:
    spec = {action: {"remediation": {"retries": retries}}}
    item = release(spec, last_attempted_release_action=action, **{counter: failures})
    told = f"Failed to {action} after {failures} attempt(s)"
    expected: Decision = Stall("RetriesExceeded", told)
    if may_go_on:
        expected = Act(Action(action))
    assert decide(item, state) == expected
    assert decide(item, state, forced=True) == Act(Action(action))


@pytest.mark.parametrize("failures", [1, 50])
def test_retry_on_failure_never_ends(failures: int) -> None:
    item = release(
        {"install": RETRY, "upgrade": RETRY},
        last_attempted_release_action="upgrade",
        install_failures=failures,
        upgrade_failures=failures,
        history=HISTORY,
    )
    assert decide(item, State.ABSENT) == Act(Action.INSTALL)
    assert decide(item, State.OUT_OF_SYNC) == Act(Action.UPGRADE)
    assert decide(item, State.FAILED) == Act(Action.UPGRADE)
    assert not decision.is_exhausted(item)


def failed(action: str, failures: int, remediation: dict[str, Any], **status: Any) -> Any:
    return release(
        {action: {"remediation": remediation}},
        **{
            "last_attempted_release_action": action,
            f"{action}_failures": failures,
            "history": HISTORY,
            **status,
        },
    )


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(
            failed("install", 1, {"retries": 1}), Act(Action.UNINSTALL), id="install with retry"
        ),
        pytest.param(
            failed("install", 1, {"remediateLastFailure": True}),
            Act(Action.UNINSTALL),
            id="install, the last one too",
        ),
        pytest.param(
            failed("install", 1, {}),
            Stall("RetriesExceeded", "Failed to install after 1 attempt(s)"),
            id="install without retry",
        ),
        pytest.param(
            failed("upgrade", 1, {"retries": 1}), Act(Action.ROLLBACK), id="upgrade with retry"
        ),
        pytest.param(
            failed("upgrade", 2, {"retries": 1}),
            Act(Action.ROLLBACK),
            id="upgrade, the last one by default",
        ),
        pytest.param(
            failed("upgrade", 2, {"retries": 1, "remediateLastFailure": False}),
            Stall("RetriesExceeded", "Failed to upgrade after 2 attempt(s)"),
            id="upgrade, not the last one",
        ),
        pytest.param(
            failed("upgrade", 1, {"retries": 1, "strategy": "uninstall"}),
            Act(Action.UNINSTALL),
            id="upgrade by uninstall",
        ),
        pytest.param(
            failed("upgrade", 0, {"retries": 1}), Act(Action.UPGRADE), id="no failure counted"
        ),
        pytest.param(
            failed("upgrade", 1, {"retries": -1}), Act(Action.ROLLBACK), id="endless retries"
        ),
        pytest.param(
            failed("upgrade", 1, {"retries": 1}, last_attempted_release_action=""),
            Act(Action.UPGRADE),
            id="nothing attempted",
        ),
        pytest.param(
            failed("upgrade", 1, {}, history=()),
            Stall("RetriesExceeded", "Failed to upgrade after 1 attempt(s)"),
            id="upgrade without retry",
        ),
    ],
)
def test_a_failure_is_undone_as_the_spec_says(item: Any, expected: Decision) -> None:
    assert decide(item, State.FAILED) == expected


@pytest.mark.parametrize("history", [(), HISTORY[:1], (HISTORY[0], snapshot(1, test_hooks=BAD))])
def test_without_a_good_revision_there_is_nothing_to_go_back_to(history: Any) -> None:
    item = failed("upgrade", 1, {"retries": 1}, history=history)
    found = decide(item, State.FAILED)
    assert isinstance(found, Stall)
    assert found.reason == "MissingRollbackTarget"
    assert found.message.startswith("Failed to perform remediation: ")


def test_a_revision_that_storage_has_otherwise_is_not_gone_back_to() -> None:
    item = failed("upgrade", 1, {"retries": 1})
    assert decide(item, State.FAILED, intact=False) == Act(Action.UPGRADE)


def test_force_comes_before_remediation() -> None:
    item = failed("upgrade", 9, {"retries": 1, "remediateLastFailure": False})
    assert decide(item, State.FAILED, forced=True) == Act(Action.UPGRADE)


def test_every_action_has_a_class() -> None:
    classes = {action: action.class_ for action in Action}
    assert classes[Action.ROLLBACK] is classes[Action.UNINSTALL] is Class.REMEDIATE
    assert [action for action in Action if action.is_release] == [Action.INSTALL, Action.UPGRADE]
