from __future__ import annotations

import datetime as dt

import pytest

from cli import table

NOW = dt.datetime(2026, 1, 2, 12, 0, 0, tzinfo=dt.UTC)


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table.render(("NAME", "READY"), [("a-long-name", "True"), ("b", "False")]) == (
        "NAME         READY\na-long-name  True\nb            False"
    )


def test_empty_last_cells_leave_no_blanks() -> None:
    assert table.render(("A", "B"), [("x", "")]) == "A  B\nx"


def test_indented_table_keeps_its_indent() -> None:
    assert table.render(("A",), [("x",)], indent="  ") == "  A\n  x"


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("2026-01-02T11:59:58Z", "2s"),
        ("2026-01-02T11:55:00Z", "5m"),
        ("2026-01-02T09:00:00Z", "3h"),
        ("2025-12-31T12:00:00Z", "2d"),
        ("2026-01-02T12:00:09Z", "0s"),
        ("", ""),
        ("not a time", "not a time"),
    ],
)
def test_age_is_given_in_its_largest_unit(since: str, shown: str) -> None:
    assert table.age(since, NOW) == shown


def test_message_is_put_on_one_line_and_cut() -> None:
    assert table.one_line("a  b\nc", 0) == "a b c"
    assert table.one_line("abcdef", 4) == "abc…"
    assert table.one_line("abcd", 4) == "abcd"


def test_size_is_rounded_to_mebibytes() -> None:
    assert table.mebibytes(75 * 2**20 + 1) == "75 MiB"
