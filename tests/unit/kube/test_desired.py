"""Flags and digests of desired objects, and the comparison with what is live."""

from __future__ import annotations

import pytest

from api import meta
from kube import drift, normalise
from kube.desired import Flag, describe, flags_of
from kube.objects import GVK, JsonObject, ObjectId


@pytest.mark.parametrize(
    ("key", "value", "flag"),
    [
        (meta.SSA, "Ignore", Flag.IGNORE),
        (meta.SSA, "IfNotPresent", Flag.IF_NOT_PRESENT),
        (meta.SSA, "merge", Flag.MERGE),
        (meta.SSA, "Override", Flag.NONE),
        (meta.RECONCILE, "Disabled", Flag.IGNORE),
        (meta.RECONCILE, "enabled", Flag.NONE),
        (meta.FORCE, "enabled", Flag.FORCE),
        (meta.PRUNE, "disabled", Flag.KEEP),
    ],
)
def test_label_and_annotation_count_the_same_in_any_case(key: str, value: str, flag: Flag) -> None:
    assert flags_of({key: value}, None) is flag
    assert flags_of(None, {key: value}) is flag


def test_flags_add_up() -> None:
    assert flags_of({meta.PRUNE: "disabled"}, {meta.SSA: "merge"}) == Flag.KEEP | Flag.MERGE


def test_description_needs_no_body_afterwards() -> None:
    obj: JsonObject = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "ns", "annotations": {meta.FORCE: "enabled"}},
    }
    body = normalise.canonical(obj)
    desired = describe(obj, body, origin="app.yaml document 1", offset=7)
    assert desired.id == ObjectId("ns", "a", "apps", "Deployment")
    assert desired.gvk == GVK("apps", "v1", "Deployment")
    assert desired.flags is Flag.FORCE
    assert (desired.offset, desired.length, len(desired.digest)) == (7, len(body), 16)
    assert desired.origin == "app.yaml document 1"


def live(**more: object) -> JsonObject:
    metadata = {"name": "a", "labels": {"l": "1"}, "resourceVersion": "1", "managedFields": []}
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}, "status": {}} | more


@pytest.mark.parametrize(
    "wanted",
    [
        live(),
        live(status={"ready": True}),
        live(metadata={"name": "a", "labels": {"l": "1"}, "annotations": {}, "generation": 3}),
    ],
)
def test_what_the_server_writes_is_no_difference(wanted: JsonObject) -> None:
    assert not drift.differs(wanted, live())


@pytest.mark.parametrize(
    "wanted",
    [
        live(data={"k": "w"}),
        live(data={}),
        live(extra={}),
        live(metadata={"labels": {"l": "2"}}),
        live(metadata={"labels": {"l": "1"}, "annotations": {"a": "b"}}),
    ],
)
def test_labels_annotations_and_content_are_differences(wanted: JsonObject) -> None:
    assert drift.differs(wanted, live())
