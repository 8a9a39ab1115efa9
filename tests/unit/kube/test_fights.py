"""Back-off of corrections that somebody undoes."""

from __future__ import annotations

import pytest

from kube import fights
from kube.fights import FREE_CORRECTIONS, MAX_DELAY_S, Fights
from kube.objects import ObjectId
from tests.support.booked import HandClock

A, B = (ObjectId("ns", name, "", "ConfigMap") for name in "ab")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_first_corrections_are_free_and_then_the_pause_doubles(clock: HandClock) -> None:
    ring = Fights(clock)
    delays = [ring.correct(A, "rival").delay_s for _ in range(FREE_CORRECTIONS + 12)]
    assert delays[:FREE_CORRECTIONS] == [0.0] * FREE_CORRECTIONS
    assert delays[FREE_CORRECTIONS:] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_fight_is_news_once(clock: HandClock) -> None:
    ring = Fights(clock)
    news = [ring.correct(A, "rival").is_news for _ in range(FREE_CORRECTIONS + 5)]
    assert news.count(True) == 1
    assert news[FREE_CORRECTIONS]


def test_objects_fight_for_themselves(clock: HandClock) -> None:
    ring = Fights(clock)
    for _ in range(FREE_CORRECTIONS + 1):
        ring.correct(A, "rival")
    assert ring.correct(B, "rival").delay_s == 0


def test_another_opponent_starts_another_fight(clock: HandClock) -> None:
    ring = Fights(clock)
    for _ in range(FREE_CORRECTIONS + 1):
        ring.correct(A, "rival")
    assert ring.correct(A, "a person").delay_s == 0


def test_peace_ends_a_fight_and_the_next_one_is_news_again(clock: HandClock) -> None:
    ring = Fights(clock)
    for _ in range(FREE_CORRECTIONS + 1):
        ring.correct(A, "rival")
    clock.seconds += fights.QUIET_S + 2
    assert ring.correct(A, "rival").delay_s == 0
    assert any(ring.correct(A, "rival").is_news for _ in range(FREE_CORRECTIONS))


def test_a_long_pause_of_ours_is_not_peace(clock: HandClock) -> None:
    ring = Fights(clock)
    for _ in range(FREE_CORRECTIONS + 20):
        clock.seconds += ring.correct(A, "rival").delay_s + 1
    assert ring.correct(A, "rival").delay_s == MAX_DELAY_S


def test_object_that_is_no_longer_ours_is_forgotten(clock: HandClock) -> None:
    ring = Fights(clock)
    for _ in range(FREE_CORRECTIONS + 1):
        ring.correct(A, "rival")
    ring.forget(A)
    assert ring.correct(A, "rival").delay_s == 0


def test_memory_is_held_only_for_recent_corrections(clock: HandClock) -> None:
    ring = Fights(clock)
    for number in range(100):
        ring.correct(ObjectId("ns", str(number), "", "ConfigMap"), "rival")
    clock.seconds += fights.QUIET_S + 1
    ring.correct(A, "rival")
    assert len(ring._fights) == 1
