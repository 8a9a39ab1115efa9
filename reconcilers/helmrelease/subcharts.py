"""Which subcharts of a chart are enabled, as Helm decides: by tags, and by conditions over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconcilers.helmchart import values as merging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kube.objects import JsonObject
    from reconcilers.helmchart.chart import Chart
    from reconcilers.helmchart.metadata import Dependency


def enabled(chart: Chart, values: JsonObject) -> Iterator[Chart]:
    """Yield a chart and, below it, the subcharts that values leave enabled.

    Args:
        chart: with its dependencies.
        values: merged, without the charts' own.

    Raises:
        ChartError: the values of one of the charts cannot be read.
    """
    yield from _enabled(chart, _coalesced(chart, values), ())


def _enabled(chart: Chart, values: JsonObject, path: tuple[str, ...]) -> Iterator[Chart]:
    yield chart
    for each in sorted(chart.dependencies, key=lambda found: found.name):
        named = [found for found in chart.metadata.dependencies if found.name == each.name]
        keys = [found.key for found in named if _is_enabled(found, values, path)]
        for key in keys if named else [each.name]:
            yield from _enabled(each, values, (*path, key))


def _is_enabled(dependency: Dependency, values: JsonObject, path: tuple[str, ...]) -> bool:
    for condition in dependency.condition.strip().split(","):
        found = _at(values, (*path, *condition.split("."))) if condition else None
        if isinstance(found, bool):
            return found
    tags = values.get("tags")
    known = [tags[tag] for tag in dependency.tags if tag in tags] if isinstance(tags, dict) else []
    said = [found for found in known if isinstance(found, bool)]
    return not said or any(said)


def _at(values: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - any JSON
    for key in path:
        if not isinstance(values, dict):
            return None
        values = values.get(key)
    return values


def _coalesced(chart: Chart, values: JsonObject) -> JsonObject:
    """Return values over the chart's own, and those of its subcharts below their names."""
    merged = merging.merge(chart.read_values(), values)
    for each in chart.dependencies:
        keys = [found.key for found in chart.metadata.dependencies if found.name == each.name]
        for key in keys or [each.name]:
            inner = merged.get(key)
            merged[key] = _coalesced(each, inner if isinstance(inner, dict) else {})
    return merged
