"""The HelmChart of a HelmRelease, as helm-controller 1.6.2 was seen to apply it."""

from __future__ import annotations

import pytest

from reconcilers.helmrelease import chartobject
from tests.unit.reconcilers.helmrelease.releases import release

CHART = {"chart": "./podinfo", "sourceRef": {"kind": "GitRepository", "name": "charts"}}


def test_chart_is_what_flux_applies() -> None:
    item = release({"chart": {"spec": CHART}})
    assert item.spec.chart
    assert chartobject.manifest(item, item.spec.chart) == {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmChart",
        "metadata": {
            "name": "apps-demo",
            "namespace": "apps",
            "labels": {
                "helm.toolkit.fluxcd.io/name": "demo",
                "helm.toolkit.fluxcd.io/namespace": "apps",
            },
        },
        "spec": {
            "chart": "./podinfo",
            "interval": "10m0s",
            "reconcileStrategy": "ChartVersion",
            "sourceRef": {"kind": "GitRepository", "name": "charts"},
            "version": "*",
        },
    }


@pytest.mark.parametrize(
    ("given", "written"),
    [("60s", "1m0s"), ("90m", "1h30m0s"), ("1h", "1h0m0s"), ("0.5s", "500ms"), ("1m0s", "1m0s")],
)
def test_interval_is_spelled_as_go_spells_it(given: str, written: str) -> None:
    item = release({"chart": {"spec": CHART | {"interval": given}}})
    assert item.spec.chart
    assert chartobject.manifest(item, item.spec.chart)["spec"]["interval"] == written


def test_annotations_of_the_template_are_taken_over() -> None:
    item = release({"chart": {"metadata": {"annotations": {"a": "b"}}, "spec": CHART}})
    assert item.spec.chart
    found = chartobject.manifest(item, item.spec.chart)
    assert found["metadata"]["annotations"] == {"a": "b"}
