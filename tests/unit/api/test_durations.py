"""Durations: read and written as Go does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import durations

GOLDEN = [  # what Go prints for a number of nanoseconds
    (0, "0s"),
    (1, "1ns"),
    (999, "999ns"),
    (1_000, "1µs"),
    (1_500, "1.5µs"),
    (967_500_000, "967.5ms"),
    (999_999_999, "999.999999ms"),
    (1_000_000_000, "1s"),
    (1_050_000_000, "1.05s"),
    (60_000_000_000, "1m0s"),
    (90_500_000_000, "1m30.5s"),
    (3_600_000_000_000, "1h0m0s"),
    (360_000_000_000_000, "100h0m0s"),
    (-90_000_000_000, "-1m30s"),
]


@pytest.mark.parametrize(("nanoseconds", "text"), GOLDEN)
def test_format_prints_what_go_prints(nanoseconds: int, text: str) -> None:
    assert durations.format_go(nanoseconds / 1e9) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1m", 60),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("-2s", -2),
        ("+2s", 2),
        ("100ms", 0.1),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        ("1h1m1s", 3661),
    ],
)
def test_parse_reads_what_go_reads(text: str, seconds: float) -> None:
    assert durations.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1d", "1m ", "1,5s", "-", ".s", "1mm", "1m-1s", "٣s"]
)
def test_parse_refuses_what_go_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        durations.parse(text)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_duration_survives_being_written_and_read(microseconds: int) -> None:
    text = durations.format_go(microseconds / 1e6)
    assert durations.parse(text) == pytest.approx(microseconds / 1e6, abs=1e-6)


def test_unreadable_text_falls_back_to_the_default() -> None:
    assert durations.parse_or("soon", 60) == 60
    assert durations.parse_or(None, 60) == 60
    assert durations.parse_or("5s", 60) == 5
