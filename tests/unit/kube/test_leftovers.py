from __future__ import annotations

from typing import Any

import msgspec

from kube import leftovers, ownership
from kube.ownership import IDENTITIES

IDENTITY = IDENTITIES["Kustomization"]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def managed(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def removed(obj: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    metadata = obj.get("metadata", {}) | {"managedFields": list(entries)}
    found = ownership.read(msgspec.json.encode({"metadata": metadata}))
    return leftovers.removed(obj, found, IDENTITY, {})


def test_what_only_kubectl_owns_goes() -> None:
    obj = {"data": {"a": "1", "b": "2", "c": "3"}}

    assert removed(
        obj,
        managed("kustomize-controller", "Apply", {"f:data": {"f:a": {}}}),
        managed("kubectl-edit", "Update", {"f:data": {"f:a": {}, "f:b": {}}}),
        managed("another", "Update", {"f:data": {"f:c": {}}}),
    ) == {"data": {"a": "1", "c": "3"}}
    assert obj["data"]["b"] == "2"


def test_whole_members_go_by_key_and_by_value() -> None:
    obj = {"list": [{"name": "a", "x": 1}, {"name": "b", "x": 1}], "set": ["u", "v"]}
    ours = {"f:list": {'k:{"name":"a"}': {".": {}, "f:name": {}}}, "f:set": {'v:"u"': {}}}
    theirs = {
        "f:list": {
            'k:{"name":"a"}': {".": {}, "f:x": {}},
            'k:{"name":"b"}': {".": {}, "f:name": {}, "f:x": {}},
        },
        "f:set": {'v:"u"': {}, 'v:"v"': {}},
    }

    assert removed(
        obj,
        managed("kustomize-controller", "Apply", ours),
        managed("kubectl", "Update", theirs),
    ) == {"list": [{"name": "a"}], "set": ["u"]}


def test_status_and_other_subresources_stay() -> None:
    obj = {"status": {"x": 1}, "spec": {"replicas": 3}}

    assert (
        removed(
            obj,
            managed("kubectl", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale"),
        )
        == obj
    )


def test_book_keeping_of_kubectl_goes() -> None:
    obj = {"metadata": {"annotations": {LAST_APPLIED: "{}", "mine": "x"}}}

    assert removed(obj) == {"metadata": {"annotations": {"mine": "x"}}}


def test_fields_that_are_gone_already_are_no_matter() -> None:
    entry = managed("kubectl", "Update", {"f:spec": {"f:x": {"f:y": {}}}, "f:data": {}})

    assert removed({"spec": {}}, entry) == {"spec": {}}


def test_managers_are_named_once() -> None:
    entries = [
        managed("kubectl-edit", "Update", {}),
        managed("kubectl-edit", "Update", {}),
        managed("kubectl", "Apply", {}),
        managed("helm", "Update", {}),
    ]
    metadata = ownership.read(msgspec.json.encode({"metadata": {"managedFields": entries}}))

    assert leftovers.absorbed_managers(metadata, IDENTITY) == ["kubectl-edit", "kubectl"]


def test_map_that_is_left_empty_goes_as_the_server_drops_it() -> None:
    entry = managed("kubectl", "Update", {"f:spec": {"f:context": {"f:user": {}}}})
    obj = {"spec": {"context": {"user": 1}, "defaulted": True}}

    assert removed(obj, entry) == {"spec": {"defaulted": True}}
