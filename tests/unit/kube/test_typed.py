"""Objects of built-in kinds in the form in which Go writes them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from devcluster import toolcache
from kube import typed

if TYPE_CHECKING:
    from kube.objects import JsonObject


def of_kind(api_version: str, kind: str, **fields: object) -> JsonObject:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **fields}


def written(obj: JsonObject) -> JsonObject:
    assert typed.round_trip(obj) is not None
    return obj


def container(**fields: object) -> Any:
    pod = of_kind("v1", "Pod", spec={"containers": [{"name": "a", **fields}]})
    return written(pod)["spec"]["containers"][0]


def test_table_is_of_the_pinned_kubernetes() -> None:
    head = typed._TABLE.read_text().partition("\n")[0]
    assert toolcache.KUBERNETES_VERSION in head, "run `make types`"


def test_structs_that_go_cannot_leave_out_appear() -> None:
    deployment = written(of_kind("apps/v1", "Deployment", spec={"template": {"spec": {}}}))
    assert deployment["spec"] == {
        "selector": None,
        "strategy": {},
        "template": {"metadata": {}, "spec": {"containers": None}},
    }
    assert container() == {"name": "a", "resources": {}}


def test_target_port_that_is_not_given_is_zero() -> None:
    service = written(of_kind("v1", "Service", spec={"ports": [{"port": 80}]}))
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": 0}]


def test_empty_optional_values_disappear() -> None:
    assert container(args=[], image="", stdin=False, env=[{"name": "A", "value": ""}]) == {
        "name": "a",
        "resources": {},
        "env": [{"name": "A"}],
    }


def test_empty_values_behind_a_pointer_stay() -> None:
    spec: JsonObject = {"replicas": 0, "revisionHistoryLimit": None, "selector": {}}
    deployment = written(of_kind("apps/v1", "Deployment", spec=spec))
    assert deployment["spec"]["replicas"] == 0
    assert deployment["spec"]["selector"] == {}
    assert "revisionHistoryLimit" not in deployment["spec"]
    assert container(securityContext={}, lifecycle={"preStop": {"exec": {}}})["lifecycle"] == {
        "preStop": {"exec": {}}
    }


def test_nulls_in_maps_and_lists_are_empty_values() -> None:
    assert written(of_kind("v1", "ConfigMap", data={"k": None}))["data"] == {"k": ""}
    assert container(args=[None, "b"])["args"] == ["", "b"]


def test_unknown_fields_disappear_and_are_named() -> None:
    obj = of_kind(
        "v1", "Pod", spec={"containers": [{"name": "a"}, {"name": "b", "imagee": "x"}]}, sped={}
    )
    obj["metadata"]["lables"] = {}
    assert typed.round_trip(obj) == ["metadata.lables", "spec.containers[1].imagee", "sped"]
    assert set(obj) == {"apiVersion", "kind", "metadata", "spec", "status"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("args", "text"),
        ("args", [1]),
        ("image", 1),
        ("stdin", "true"),
        ("stdin", 1),
        ("ports", [{"containerPort": True}]),
        ("ports", [{"containerPort": 1.5}]),
        ("ports", {"containerPort": 1}),
        ("resources", {"limits": {"cpu": "lots"}}),
        ("resources", {"limits": {"cpu": True}}),
        ("resources", []),
        ("livenessProbe", {"httpGet": {"port": 1.5}}),
    ],
)
def test_object_with_a_value_of_another_type_is_left_alone(field: str, value: object) -> None:
    obj = of_kind("v1", "Pod", spec={"containers": [{"name": "a", field: value}], "unknown": 1})
    before = copy.deepcopy(obj)
    assert typed.round_trip(obj) is None
    assert obj == before


def test_whole_number_written_with_a_point_is_an_integer() -> None:
    deployment = written(of_kind("apps/v1", "Deployment", spec={"replicas": 3.0}))
    assert deployment["spec"]["replicas"] == 3
    assert isinstance(deployment["spec"]["replicas"], int)


@pytest.mark.parametrize("data", [{"a": "%%%"}, {"a": "YQ"}, {"a": 1}, "text"])
def test_secret_with_data_that_is_no_base64_is_left_alone(data: object) -> None:
    assert typed.round_trip(of_kind("v1", "Secret", data=data)) is None


def test_base64_over_several_lines_becomes_one() -> None:
    assert written(of_kind("v1", "Secret", data={"a": "aGVs\nbG8="}))["data"] == {"a": "aGVsbG8="}


def test_times_are_in_utc() -> None:
    lease = written(
        of_kind(
            "coordination.k8s.io/v1",
            "Lease",
            spec={"renewTime": "2026-01-02T03:04:05.5+02:00"},
        )
    )
    assert lease["spec"] == {"renewTime": "2026-01-02T01:04:05.500000Z"}


@pytest.mark.parametrize("value", ["yesterday", "2026-01-02T03:04:05", 1])
def test_time_that_is_none_leaves_the_object_alone(value: object) -> None:
    obj = of_kind("coordination.k8s.io/v1", "Lease", spec={"renewTime": value})
    assert typed.round_trip(obj) is None


@pytest.mark.parametrize(
    ("api_version", "kind", "is_built_in"),
    [
        ("v1", "Pod", True),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", True),
        ("autoscaling/v2", "HorizontalPodAutoscaler", True),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", False),
        ("apiregistration.k8s.io/v1", "APIService", False),
        ("snapshot.storage.k8s.io/v1", "VolumeSnapshot", False),
        ("example.com/v1", "Pod", False),
        ("v1", "Pod\nx", False),
        ("v1", "", False),
    ],
)
def test_built_in_kinds(api_version: str, kind: str, is_built_in: bool) -> None:
    assert typed.is_built_in(api_version, kind) is is_built_in


def test_object_of_a_custom_kind_is_left_alone() -> None:
    obj = of_kind("example.com/v1", "Pod", spec={"x": None})
    assert typed.round_trip(obj) is None
    assert obj == of_kind("example.com/v1", "Pod", spec={"x": None})
