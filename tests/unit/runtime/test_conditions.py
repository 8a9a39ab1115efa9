"""Conditions: the rules that make the list read like Flux's."""

from __future__ import annotations

import datetime as dt

import pytest

from api.meta import Condition
from runtime import conditions

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(minutes=1)
STAMP, LATER_STAMP = "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z"


def condition(
    type_: str, status: str = "True", reason: str = "Ok", message: str = "", generation: int = 1
) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=STAMP,
        observed_generation=generation,
    )


def set_ready(
    old: tuple[Condition, ...], status: conditions.Status, reason: str, message: str
) -> Condition:
    new = conditions.set_(old, "Ready", status, reason, message, generation=2, now=LATER)
    ready = conditions.get(new, "Ready")
    assert ready is not None
    return ready


def types(list_: tuple[Condition, ...]) -> list[str]:
    return [each.type for each in list_]


def test_new_condition_is_stamped_to_the_second() -> None:
    new = conditions.set_((), "Ready", "True", "Ok", "fine", generation=3, now=NOW)
    assert new == (condition("Ready", message="fine", generation=3),)


def test_transition_time_stays_when_only_the_generation_differs() -> None:
    ready = set_ready((condition("Ready", message="fine"),), "True", "Ok", "fine")
    assert ready.last_transition_time == STAMP
    assert ready.observed_generation == 2


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [("False", "Ok", "fine"), ("True", "Other", "fine"), ("True", "Ok", "finer")],
)
def test_transition_time_moves_with_status_reason_or_message(
    status: conditions.Status, reason: str, message: str
) -> None:
    ready = set_ready((condition("Ready", message="fine"),), status, reason, message)
    assert ready.last_transition_time == LATER_STAMP


def test_long_message_is_cut_to_its_bytes_and_compares_equal_afterwards() -> None:
    text = "ü" * 20_000
    first = set_ready((), "False", "BuildFailed", text)
    assert len(first.message.encode()) <= 32768
    assert first.message.endswith("ü...")
    again = conditions.set_((first,), "Ready", "False", "BuildFailed", text, generation=2, now=NOW)
    assert again == (first,)


def test_message_of_exactly_the_limit_is_kept() -> None:
    assert conditions.cut("x" * 32768) == "x" * 32768
    assert conditions.cut("x" * 32769) == "x" * 32765 + "..."


def test_message_with_a_lone_surrogate_does_no_harm() -> None:
    assert conditions.cut("a\udc80b") == "a?b"


@pytest.mark.parametrize(
    ("set_type", "gone"), [("Stalled", "Reconciling"), ("Reconciling", "Stalled")]
)
def test_stalled_and_reconciling_exclude_each_other(set_type: str, gone: str) -> None:
    old = (condition(gone), condition("Ready"))
    new = conditions.set_(old, set_type, "True", "Why", "", generation=1, now=NOW)
    assert types(new) == [set_type, "Ready"]


def test_false_stalled_leaves_reconciling_alone() -> None:
    old = (condition("Reconciling"),)
    new = conditions.set_(old, "Stalled", "False", "Why", "", generation=1, now=NOW)
    assert types(new) == ["Stalled", "Reconciling"]


def test_list_is_in_flux_order() -> None:
    mixed = (
        condition("ArtifactInStorage", generation=2),
        condition("Ready", generation=1),
        condition("FetchFailed", generation=3),
        condition("Artifact", generation=2),
        condition("Reconciling", generation=1),
        condition("Stalled", generation=1),
    )
    assert types(conditions.sort(mixed)) == [
        "Stalled",
        "Reconciling",
        "Ready",
        "FetchFailed",
        "Artifact",
        "ArtifactInStorage",
    ]


def test_absent_condition_is_unknown_and_neither_true_nor_false() -> None:
    for list_ in ((), (condition("Ready", "Unknown"),)):
        assert conditions.is_unknown(list_, "Ready")
        assert not conditions.is_true(list_, "Ready")
        assert not conditions.is_false(list_, "Ready")
    assert conditions.get((), "Ready") is None
    assert conditions.is_true((condition("Ready"),), "Ready")
    assert conditions.is_false((condition("Ready", "False"),), "Ready")
    assert not conditions.is_unknown((condition("Ready", "False"),), "Ready")


def test_remove_takes_several_away_and_ignores_what_is_not_there() -> None:
    old = (condition("Stalled"), condition("Reconciling"), condition("Ready"))
    assert types(conditions.remove(old, "Stalled", "Reconciling", "Healthy")) == ["Ready"]


ORDER = ("StorageOperationFailed", "FetchFailed", "ArtifactInStorage", "Stalled", "Reconciling")
NEGATIVE = {"StorageOperationFailed", "FetchFailed", "Stalled", "Reconciling"}


def summary(*list_: Condition) -> tuple[str, str] | None:
    new = conditions.summarise(list_, order=ORDER, negative=NEGATIVE, generation=1, now=NOW)
    ready = conditions.get(new, "Ready")
    return None if ready is None else (ready.status, ready.reason)


@pytest.mark.parametrize(
    ("list_", "ready"),
    [
        # A negative condition that is True is worse than anything.
        ([("ArtifactInStorage", "True", "a"), ("Reconciling", "True", "b")], ("False", "b")),
        ([("FetchFailed", "True", "a"), ("StorageOperationFailed", "True", "b")], ("False", "b")),
        # Then a positive one that is False, then a positive one that is True.
        ([("FetchFailed", "False", "a"), ("ArtifactInStorage", "False", "b")], ("False", "b")),
        ([("FetchFailed", "False", "a"), ("ArtifactInStorage", "True", "b")], ("True", "b")),
        # Then a negative one that is False, and Unknown last.
        ([("FetchFailed", "False", "a"), ("ArtifactInStorage", "Unknown", "b")], ("True", "a")),
        ([("ArtifactInStorage", "Unknown", "b")], ("Unknown", "b")),
        # Nothing that counts: Ready stays as it is.
        ([("Theirs", "True", "a")], None),
        ([("Theirs", "True", "a"), ("Ready", "Unknown", "b")], ("Unknown", "b")),
    ],
)
def test_ready_follows_the_most_important_condition(
    list_: list[tuple[str, str, str]], ready: tuple[str, str] | None
) -> None:
    assert summary(*(condition(*each) for each in list_)) == ready
