"""The clock, and how Kubernetes writes a time."""

from __future__ import annotations

import datetime as dt

from runtime.clock import SystemClock, rfc3339


def test_monotonic_time_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()


def test_now_is_aware_and_in_utc() -> None:
    assert SystemClock().now().utcoffset() == dt.timedelta(0)


def test_time_is_written_in_utc_to_the_second() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    assert rfc3339(dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=zone)) == "2026-01-02T01:04:05Z"
