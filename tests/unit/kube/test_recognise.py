"""Recognising what is applied already: only what an apply would surely not change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from kube.recognise import is_applied

if TYPE_CHECKING:
    from collections.abc import Callable

Object = dict[str, Any]

MANIFEST: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "ns", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "spec": {
                "containers": [
                    {"name": "a", "image": "a:1", "args": ["x", "y"]},
                    {"name": "b", "image": "b:1"},
                ],
            }
        },
    },
}
FIELDS: Object = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"a"}': {".": {}, "f:args": {}, "f:image": {}, "f:name": {}},
                    'k:{"name":"b"}': {".": {}, "f:image": {}, "f:name": {}},
                }
            }
        },
    },
}


def live(change: Callable[[Object], object] | None = None) -> Object:
    """Return the object as a server shows it, with what defaults and others added."""
    found = copy.deepcopy(MANIFEST)
    found["metadata"] |= {"uid": "1", "annotations": {"theirs": "x"}}
    found["spec"]["strategy"] = {"type": "RollingUpdate"}
    containers = found["spec"]["template"]["spec"]["containers"]
    containers[0]["imagePullPolicy"] = "IfNotPresent"
    containers.insert(1, {"name": "sidecar", "image": "theirs:1"})
    if change:
        change(found)
    return found


def containers(obj: Object) -> list[Any]:
    found: list[Any] = obj["spec"]["template"]["spec"]["containers"]
    return found


def test_object_with_every_field_in_place_is_applied() -> None:
    assert is_applied(MANIFEST, live(), FIELDS)


@pytest.mark.parametrize(
    "change",
    [
        lambda obj: obj["spec"].update(replicas=3),
        lambda obj: obj["spec"].update(replicas=2.0),
        lambda obj: obj["spec"].pop("replicas"),
        lambda obj: obj["metadata"]["labels"].update(app="other"),
        lambda obj: obj["metadata"].pop("labels"),
        lambda obj: obj["spec"]["selector"]["matchLabels"].update(more="x"),
        lambda obj: containers(obj)[0].update(image="a:2"),
        lambda obj: containers(obj)[0].update(args=["y", "x"]),
        lambda obj: containers(obj).pop(0),
        lambda obj: containers(obj).reverse(),
        lambda obj: obj["spec"].update(template="text"),
    ],
)
def test_live_object_that_differs_is_not(change: Callable[[Object], object]) -> None:
    assert not is_applied(MANIFEST, live(change), FIELDS)


@pytest.mark.parametrize(
    "change",
    [
        lambda obj: obj["spec"].update(paused=True),
        lambda obj: obj["spec"].pop("replicas"),
        lambda obj: obj["metadata"].pop("labels"),
        lambda obj: containers(obj).append({"name": "c"}),
        lambda obj: containers(obj).pop(),
        lambda obj: containers(obj)[1].update(command=["x"]),
        lambda obj: containers(obj)[1].update(name="c"),
        lambda obj: containers(obj).append(dict(containers(obj)[1])),
    ],
)
def test_manifest_that_declares_other_fields_than_we_own_is_not(
    change: Callable[[Object], object],
) -> None:
    manifest = copy.deepcopy(MANIFEST)
    change(manifest)
    assert not is_applied(manifest, live(), FIELDS)


def test_field_that_somebody_took_is_not_ours() -> None:
    fields = copy.deepcopy(FIELDS)
    del fields["f:spec"]["f:replicas"]
    assert not is_applied(MANIFEST, live(), fields)


@pytest.mark.parametrize(
    ("wanted", "found", "is_same"),
    [
        (["a", "b"], ["a", "theirs", "b"], True),
        (["a", "b"], ["b", "a"], False),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "b"], False),  # we own b too, which is not wanted any more
    ],
)
def test_set_is_compared_by_its_members(
    wanted: list[str], found: list[str], *, is_same: bool
) -> None:
    manifest = {"metadata": {"name": "x", "finalizers": wanted}}
    other = {"metadata": {"name": "x", "finalizers": found}}
    fields: Object = {"f:metadata": {"f:finalizers": {'v:"a"': {}, 'v:"b"': {}}}}
    assert is_applied(manifest, other, fields) is is_same


def test_members_known_by_their_index_are_left_to_a_dry_run() -> None:
    manifest = {"metadata": {"name": "x"}, "list": ["a"]}
    assert not is_applied(manifest, manifest, {"f:list": {"i:0": {}}})


def test_manifest_without_fields_is_applied_when_nothing_is_owned() -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    assert is_applied(manifest, manifest | {"data": {"theirs": "x"}}, {})
    assert not is_applied(manifest, manifest, {"f:data": {"f:a": {}}})


@pytest.mark.parametrize(("is_owned", "is_same"), [(False, True), (True, False)])
def test_key_of_a_member_may_be_missing_where_the_server_fills_it_in(
    *, is_owned: bool, is_same: bool
) -> None:
    """With ``protocol`` among what we own, an apply without it would mean another protocol."""
    manifest = {"metadata": {"name": "x"}, "ports": [{"port": 80}]}
    other = {"metadata": {"name": "x"}, "ports": [{"port": 80, "protocol": "UDP"}]}
    owned: Object = {"f:port": {}} | ({"f:protocol": {}} if is_owned else {})
    fields = {"f:ports": {'k:{"port":80,"protocol":"UDP"}': owned}}
    assert is_applied(manifest, other, fields) is is_same


def test_empty_map_may_be_filled_in_by_the_server() -> None:
    manifest: Object = {"metadata": {"name": "x"}, "strategy": {}}
    other = {"metadata": {"name": "x"}, "strategy": {"type": "RollingUpdate"}}
    assert is_applied(manifest, other, {"f:strategy": {}})
    assert not is_applied(manifest, other, {"f:strategy": {"f:type": {}}})
    assert not is_applied(manifest, {"metadata": {"name": "x"}}, {"f:strategy": {}})
