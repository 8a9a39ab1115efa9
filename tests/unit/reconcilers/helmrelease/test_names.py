"""The names of a release."""

from __future__ import annotations

from typing import Any

import pytest

from api.helm import ChartSource, ChartSpec, ChartTemplate, HelmRelease, HelmReleaseSpec
from api.meta import ObjectMeta
from reconcilers.helmrelease import names

LONG = "some-front-appended-namespace-release-with-a-very-long-name-indeed"


def release(name: str = "app", **spec: Any) -> HelmRelease:
    """Return a HelmRelease in the namespace ``team``."""
    return HelmRelease(
        metadata=ObjectMeta(name=name, namespace="team"),
        spec=HelmReleaseSpec(interval="1m", **spec),
    )


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (release(), "app"),
        (release(target_namespace="prod"), "prod-app"),
        (release(target_namespace="prod", release_name="mine"), "mine"),
        (release("a" * 53), "a" * 53),
        (release("a" * 54), "a" * 40 + "-a3f01b693925"),
        (release(LONG), "some-front-appended-namespace-release-wi-e863bccdb9dc"),
    ],
)
def test_a_release_has_the_name_that_flux_gives_it(item: HelmRelease, name: str) -> None:
    assert names.release_name(item) == name


def test_records_are_never_in_the_target_namespace_by_themselves() -> None:
    item = release(target_namespace="prod")
    assert names.release_namespace(item) == "prod"
    assert names.storage_namespace(item) == "team"
    assert names.storage_namespace(release(storage_namespace="store")) == "store"
    assert names.release_namespace(release(storage_namespace="store")) == "team"


def test_the_chart_is_beside_its_source() -> None:
    def chart(namespace: str) -> ChartTemplate:
        source = ChartSource(kind="HelmRepository", name="r", namespace=namespace)
        return ChartTemplate(spec=ChartSpec(chart="c", source_ref=source))

    assert names.chart_name(release(chart=chart(""))) == "team-app"
    assert names.chart_namespace(release(chart=chart(""))) == "team"
    assert names.chart_namespace(release(chart=chart("sources"))) == "sources"
