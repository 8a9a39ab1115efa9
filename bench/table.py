"""Results as a Markdown table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.trial import Result


def markdown(title: str, columns: Mapping[str, Sequence[Result]]) -> str:
    """Return one table.

    Args:
        title: what was measured.
        columns: the results of each size, the same rows in each.
    """
    header = ["", *(f"{name} {what}".strip() for name in columns for what in _WHAT)]
    rows = [
        [each[0].title, *(cell for result in each for cell in _cells(result))]
        for each in zip(*columns.values(), strict=True)
    ]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"### {title}\n\n{table}\n"


_WHAT = ("raw client", "measured", "accepted", "object requests")


def _cells(result: Result) -> list[str]:
    mark = " **missed**" if result.is_missed else ""
    return [
        _quantity(result.raw, result.unit),
        ("> " if result.is_bound else "") + _quantity(result.value, result.unit) + mark,
        _quantity(result.limit, result.unit),
        _count(result),
    ]


def _count(result: Result) -> str:
    if result.requests is None:
        return ""
    writes = "" if result.writes is None else f", {result.writes} of them writes"
    return f"{result.requests}{writes}"


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.0f} {unit}" if unit == "MiB" else f"{value:.2f} {unit}"
