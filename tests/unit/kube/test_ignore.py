"""Fields that are left to others: which, where they are in fieldsV1, and what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.kustomize import IgnoreRule, Selector
from kube import ignore
from kube.desired import describe

if TYPE_CHECKING:
    from kube.objects import JsonObject

POD: JsonObject = {
    "spec": {"containers": [{"name": "app", "image": "a:1"}, {"name": "side", "image": "s:1"}]}
}
REPLICAS = ("spec", "replicas")
IMAGE = ("spec", "containers", "0", "image")


def rules(*paths: str, **target: str) -> ignore.Rules:
    return ignore.Rules([IgnoreRule(paths=paths, target=Selector(**target) if target else None)])


def pointers(found: ignore.Rules, **metadata: Any) -> tuple[ignore.Pointer, ...]:
    obj: JsonObject = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "prod", **metadata},
    }
    return found.pointers(describe(obj, b""), obj)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/spec/replicas", ("spec", "replicas")),
        ("/metadata/annotations/a~1b~0c", ("metadata", "annotations", "a/b~c")),
        ("/a~01", ("a~1",)),
        ("/", ("",)),
        ("", ()),
        ("spec/replicas", ()),
    ],
)
def test_pointer_is_read(text: str, parts: tuple[str, ...]) -> None:
    assert ignore.parse(text) == parts


@pytest.mark.parametrize(
    ("target", "selects"),
    [
        ({}, True),
        ({"kind": "Deployment"}, True),
        ({"kind": "Deploy"}, False),
        ({"kind": "Deploy.*", "group": "apps", "version": "v1"}, True),
        ({"group": "batch"}, False),
        ({"name": "web|api"}, True),
        ({"name": "we"}, False),
        ({"namespace": "prod"}, True),
        ({"namespace": "dev"}, False),
        ({"label_selector": "app=web"}, True),
        ({"label_selector": "app!=web"}, False),
        ({"annotation_selector": "team"}, True),
        ({"annotation_selector": "!team"}, False),
    ],
)
def test_rule_is_for_what_its_selector_picks(target: dict[str, str], selects: bool) -> None:
    found = pointers(
        rules("/spec/replicas", **target), labels={"app": "web"}, annotations={"team": "a"}
    )
    assert found == ((REPLICAS,) if selects else ())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"kind": "("}, "invalid kind regex"),
        ({"label_selector": "="}, "invalid label selector"),
        ({"annotation_selector": "a,"}, "invalid annotation selector"),
    ],
)
def test_selector_that_is_none_is_refused(target: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rules("/spec", **target)


@pytest.mark.parametrize(
    ("paths", "name", "excludes"),
    [
        (("",), "web", True),
        (("/spec", ""), "web", True),
        (("",), "api", False),
        (("/spec",), "web", False),
    ],
)
def test_pointer_to_the_document_excludes_an_object(
    paths: tuple[str, ...], name: str, excludes: bool
) -> None:
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
    assert rules(*paths, name=name).excludes(describe(obj, b""), obj) is excludes


def test_malformed_pointer_has_no_effect() -> None:
    assert pointers(rules("spec", "")) == ()


def test_fields_are_removed_and_absent_ones_do_not_matter() -> None:
    paths = [IMAGE, ("spec", "nothing", "here"), ("spec", "containers", "7"), ("spec", "x", "-")]
    assert ignore.without(POD, paths) == {
        "spec": {"containers": [{"name": "app"}, {"name": "side", "image": "s:1"}]}
    }
    assert ignore.without(POD, [("spec", "containers", "0")]) == {
        "spec": {"containers": [{"name": "side", "image": "s:1"}]}
    }
    assert POD["spec"]["containers"][0]["image"] == "a:1"


# fieldsV1 ---------------------------------------------------------------------------------------


def test_field_is_taken_out_of_a_set_of_fields() -> None:
    fields: JsonObject = {"f:spec": {"f:replicas": {}, "f:strategy": {}}}
    paths = ignore.fields_of({}, [REPLICAS])
    assert ignore.without_fields(fields, paths) == {"f:spec": {"f:strategy": {}}}


def test_set_is_the_same_whether_the_field_was_owned_or_not() -> None:
    paths = ignore.fields_of({}, [REPLICAS])
    assert ignore.without_fields({"f:spec": {"f:replicas": {}}, "f:data": {}}, paths) == {
        "f:data": {}
    }
    fields: JsonObject
    for fields in ({"f:data": {}}, {"f:spec": {}, "f:data": {}}):
        assert ignore.without_fields(fields, paths) == fields


def test_member_of_a_list_is_found_by_its_keys() -> None:
    fields: JsonObject = {
        "f:spec": {
            "f:containers": {
                'k:{"name":"side"}': {".": {}, "f:image": {}, "f:name": {}},
                'k:{"name":"app"}': {".": {}, "f:image": {}, "f:name": {}},
            }
        }
    }
    left = ignore.without_fields(fields, ignore.fields_of(POD, [IMAGE]))["f:spec"]["f:containers"]
    assert "f:image" not in left['k:{"name":"app"}']
    assert "f:image" in left['k:{"name":"side"}']


def test_member_of_a_set_is_found_by_its_value() -> None:
    obj = {"metadata": {"finalizers": ["a", "b"]}}
    fields: JsonObject = {"f:metadata": {"f:finalizers": {'v:"a"': {}, 'v:"b"': {}}}}
    paths = ignore.fields_of(obj, [("metadata", "finalizers", "1")])
    assert ignore.without_fields(fields, paths) == {"f:metadata": {"f:finalizers": {'v:"a"': {}}}}


def test_part_of_a_list_that_is_owned_as_a_whole_stays_in_the_set() -> None:
    fields: JsonObject = {"f:spec": {"f:args": {}}}
    paths = ignore.fields_of({"spec": {"args": ["a"]}}, [("spec", "args", "0")])
    assert ignore.without_fields(fields, paths) == fields


def test_index_that_the_manifest_does_not_have_takes_nothing_out() -> None:
    fields: JsonObject = {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:image": {}}}}}
    paths = ignore.fields_of(POD, [("spec", "containers", "9", "image")])
    assert ignore.without_fields(fields, paths) == fields


# What is sent -----------------------------------------------------------------------------------


def sent(live: JsonObject, others: list[JsonObject] | None = None) -> JsonObject:
    body = {"spec": {"replicas": 1, "paused": True}}
    return ignore.adapted(
        body,
        wanted={"spec": {"replicas": 1, "paused": True}},
        live=live,
        pointers=[REPLICAS],
        others=others or [],
    )


def test_ignored_field_that_nobody_changed_is_sent_as_declared() -> None:
    owned: list[JsonObject] = [{"f:spec": {"f:replicas": {}}}]
    assert sent({"spec": {"replicas": 1}}, owned)["spec"] == {"replicas": 1, "paused": True}


def test_live_value_of_an_ignored_field_is_sent() -> None:
    assert sent({"spec": {"replicas": 7}})["spec"] == {"replicas": 7, "paused": True}


def test_ignored_field_that_another_manager_applied_is_not_sent() -> None:
    owned: list[JsonObject] = [{"f:spec": {"f:other": {}}}, {"f:spec": {"f:replicas": {}}}]
    assert sent({"spec": {"replicas": 7}}, owned)["spec"] == {"paused": True}


def test_ignored_field_that_was_removed_is_not_sent() -> None:
    assert sent({"spec": {}})["spec"] == {"paused": True}


def test_ignored_field_that_is_no_longer_declared_keeps_its_live_value() -> None:
    result = ignore.adapted(
        {"spec": {}}, wanted={"spec": {}}, live={"spec": {"replicas": 3}}, pointers=[REPLICAS]
    )
    assert result == {"spec": {"replicas": 3}}


def test_field_of_a_list_member_is_adapted_by_its_index() -> None:
    live = {"spec": {"containers": [{"name": "app", "image": "a:2"}]}}
    result = ignore.adapted(POD, wanted=POD, live=live, pointers=[IMAGE])
    assert result["spec"]["containers"][0] == {"name": "app", "image": "a:2"}
