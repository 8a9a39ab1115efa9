from __future__ import annotations

import datetime as dt

from mcp_server import shapes
from tests.support.fluxobjects import kustomization

NOW = dt.datetime(2026, 1, 2, 12, 0, 0, tzinfo=dt.UTC)
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "managedFields": [{}], "labels": {"a": "b"}},
    "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}


def test_whole_object_has_no_managers() -> None:
    assert "managedFields" not in shapes.whole(POD)["metadata"]
    assert "managedFields" in POD["metadata"]


def test_short_flux_object_keeps_its_fields_where_they_were() -> None:
    found = shapes.short(kustomization("apps", "shop_a__ConfigMap").raw, NOW)

    assert found["metadata"] == {"name": "apps", "namespace": "flux-system"}
    assert found["spec"]["path"] == "./apps"
    assert found["status"]["conditions"][0]["type"] == "Ready"
    assert found["status"]["inventory"] == {"count": 1}


def test_short_object_of_another_kind_tells_its_health() -> None:
    assert shapes.short(POD, NOW)["status"]["state"] == "Current"


def test_fields_are_taken_of_every_member_of_a_list() -> None:
    found = shapes.chosen(POD, ["spec.containers.image", "status.phase", "status.nothing"])

    assert found == {
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec.containers.image": ["x", "y"],
        "status.phase": "Running",
    }
