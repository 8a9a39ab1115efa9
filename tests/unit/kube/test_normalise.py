"""Flux's changes to a manifest before it is applied."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import orjson
import pytest
import trustme

from kube import normalise

if TYPE_CHECKING:
    from kube.objects import JsonObject


def normalised(obj: JsonObject) -> JsonObject:
    normalise.normalise(obj)
    return obj


def of_kind(api_version: str, kind: str, **fields: object) -> JsonObject:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **fields}


def test_canonical_sorts_keys_and_drops_white_space() -> None:
    assert normalise.canonical({"b": [1, {"d": 1, "c": None}], "a": "é"}) == (
        '{"a":"é","b":[1,{"c":null,"d":1}]}'.encode()
    )


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 + 1, -(2**70)])
def test_canonical_keeps_every_digit_of_a_large_integer(number: int) -> None:
    assert normalise.canonical({"n": number, "a": 1}) == f'{{"a":1,"n":{number}}}'.encode()


def test_equal_manifests_in_another_order_are_equal_bytes() -> None:
    one = of_kind("v1", "ConfigMap", data={"a": "1", "b": "2"})
    two = {key: one[key] for key in reversed(one)}
    assert normalise.canonical(one) == normalise.canonical(two)


def test_string_data_of_a_secret_wins_over_its_data() -> None:
    data = {"a": base64.b64encode(b"old").decode(), "b": base64.b64encode(b"kept").decode()}
    secret = normalised(of_kind("v1", "Secret", data=data, stringData={"a": "new"}))
    assert "stringData" not in secret
    assert {key: base64.b64decode(text) for key, text in secret["data"].items()} == {
        "a": b"new",
        "b": b"kept",
    }


def test_string_data_with_a_number_is_left_for_the_server_to_refuse() -> None:
    assert normalised(of_kind("v1", "Secret", stringData={"a": 1}))["stringData"] == {"a": 1}


def test_custom_kind_called_secret_is_left_alone() -> None:
    obj = of_kind("example.com/v1", "Secret", stringData={"a": "b"})
    assert normalised(obj)["stringData"] == {"a": "b"}


def test_ports_of_a_service_get_tcp() -> None:
    ports = [{"port": 1}, {"port": 2, "protocol": "UDP"}]
    service = normalised(of_kind("v1", "Service", spec={"ports": ports}))
    assert [port["protocol"] for port in service["spec"]["ports"]] == ["TCP", "UDP"]


@pytest.mark.parametrize(
    ("api_version", "kind", "path"),
    [
        ("v1", "Pod", ()),
        ("apps/v1", "Deployment", ("template", "spec")),
        ("apps/v1", "StatefulSet", ("template", "spec")),
        ("apps/v1", "DaemonSet", ("template", "spec")),
        ("apps/v1", "ReplicaSet", ("template", "spec")),
        ("batch/v1", "Job", ("template", "spec")),
        ("batch/v1", "CronJob", ("jobTemplate", "spec", "template", "spec")),
    ],
)
def test_container_ports_get_tcp_and_those_of_init_containers_do_not(
    api_version: str, kind: str, path: tuple[str, ...]
) -> None:
    pod: JsonObject = {
        "containers": [{"ports": [{"containerPort": 1}]}],
        "initContainers": [{"ports": [{"containerPort": 1}]}],
    }
    spec = pod
    for key in reversed(path):
        spec = {key: spec}
    found = normalised(of_kind(api_version, kind, spec=spec))["spec"]
    for key in path:
        found = found[key]
    assert found["containers"][0]["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
    assert found["initContainers"][0]["ports"] == [{"containerPort": 1}]


def test_status_and_creation_time_go() -> None:
    for api_version, kind in (("v1", "ConfigMap"), ("example.com/v1", "Thing")):
        obj = of_kind(api_version, kind, status={"replicas": 1})
        obj["metadata"]["creationTimestamp"] = None
        assert normalised(obj) == of_kind(api_version, kind)


def test_empty_status_that_go_would_write_goes_too() -> None:
    assert "status" not in normalised(of_kind("v1", "Service"))


def test_status_of_a_definition_stays() -> None:
    obj = of_kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", status={"a": 1})
    assert normalised(obj)["status"] == {"a": 1}


def test_nulls_of_custom_kinds_stay() -> None:
    obj = of_kind("gateway.networking.k8s.io/v1", "Gateway", spec={"x": None})
    assert normalised(obj)["spec"] == {"x": None}


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_roles_keep_their_empty_rules(kind: str) -> None:
    obj = of_kind("rbac.authorization.k8s.io/v1", kind, rules=None)
    assert normalised(obj)["rules"] is None


@pytest.mark.parametrize(
    "spec", [None, "text", [1], {"ports": "none"}, {"ports": [1]}, {"template": 1}]
)
def test_nonsense_is_left_for_the_server_to_refuse(spec: object) -> None:
    for kind in ("Service", "Pod", "Deployment"):
        normalised(of_kind("v1", kind, spec=spec))


def test_prepare_puts_common_labels_over_owner_labels() -> None:
    obj = of_kind("v1", "ConfigMap")
    obj["metadata"]["labels"] = {"mine": "1", "owner": "x"}
    body = normalise.prepare(
        obj, owner_labels={"owner": "k"}, labels={"common": "c"}, annotations={"note": "n"}
    )
    assert orjson.loads(body)["metadata"] == {
        "name": "x",
        "labels": {"mine": "1", "owner": "k", "common": "c"},
        "annotations": {"note": "n"},
    }


def test_prepare_tells_which_fields_a_kind_does_not_have() -> None:
    obj = of_kind("v1", "ConfigMap", dta={"a": "b"}, data={"a": "b"})
    dropped: list[str] = []
    body = normalise.prepare(obj, owner_labels={}, dropped=dropped)
    assert dropped == ["dta"]
    assert "dta" not in orjson.loads(body)


def definition(bundle: str) -> JsonObject:
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": {"caBundle": bundle}}}
    return of_kind(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", spec={"conversion": conversion}
    )


def client_config(obj: JsonObject) -> JsonObject:
    found: JsonObject = obj["spec"]["conversion"]["webhook"]["clientConfig"]
    return found


@pytest.mark.parametrize("bundle", ["Cg==", "not base64", base64.b64encode(b"text").decode()])
def test_ca_bundle_that_no_server_accepts_is_left_out_of_a_definition(bundle: str) -> None:
    assert client_config(normalised(definition(bundle))) == {}


def test_ca_bundle_that_can_be_read_stays_in_a_definition() -> None:
    bundle = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    assert client_config(normalised(definition(bundle))) == {"caBundle": bundle}


def test_empty_ca_bundle_stays_in_a_definition() -> None:
    assert client_config(normalised(definition(""))) == {"caBundle": ""}
