"""How other managers' leftovers become ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from hypothesis import given
from hypothesis import strategies as st

from kube import cleanup, ownership
from kube.objects import ManagedField, PartialMeta
from tests.unit.kube.test_ownership import IDENTITY, entry, metadata

if TYPE_CHECKING:
    from kube.objects import JsonObject

TREES: st.SearchStrategy[JsonObject] = st.recursive(
    st.just({}), lambda inner: st.dictionaries(st.sampled_from("abc."), inner, max_size=3)
)


def steps(*entries: JsonObject, **more: object) -> list[JsonObject]:
    body = cleanup.patch(metadata(*entries, **more), IDENTITY, {})
    found: list[JsonObject] = orjson.loads(body or b"[]")
    return found


def managers(*entries: JsonObject) -> list[JsonObject]:
    replaced = [step for step in steps(*entries) if step["path"] == "/metadata/managedFields"]
    found: list[JsonObject] = replaced[0]["value"] if replaced else []
    return found


def test_object_that_is_ours_alone_needs_no_patch() -> None:
    assert cleanup.patch(metadata(entry(), entry("hpa", "Update")), IDENTITY, {}) is None


def test_absorbed_fields_join_our_entry() -> None:
    theirs = entry("kubectl-edit", "Update", fieldsV1={"f:data": {"f:x": {}, ".": {}}})
    status = entry("kubectl", "Update", subresource="status")
    other = entry("helm", "Update")
    assert managers(theirs, other, entry(), status) == [
        other,
        entry(fieldsV1={"f:data": {"f:k": {}, "f:x": {}, ".": {}}}),
        status,
    ]


def test_first_absorbed_entry_becomes_ours_where_we_have_none() -> None:
    first = entry("kubectl-client-side-apply", "Update", fieldsV1={"f:data": {"f:a": {}}})
    second = entry("before-first-apply", "Update", fieldsV1={"f:data": {"f:b": {}}})
    (ours,) = managers(first, second)
    assert (ours["manager"], ours["operation"]) == (IDENTITY.manager, "Apply")
    assert ours["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}


def test_patch_is_bound_to_the_version_it_was_made_from() -> None:
    assert steps(entry("kubectl", "Update"))[-1] == {
        "op": "replace",
        "path": "/metadata/resourceVersion",
        "value": "7",
    }


def test_book_keeping_of_others_is_removed() -> None:
    found = steps(
        entry(),
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"},
        labels={"fluxcd.io/sync-gc-mark": "x"},
    )
    assert [(step["op"], step["path"]) for step in found[:-1]] == [
        ("remove", "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"),
        ("remove", "/metadata/labels/fluxcd.io~1sync-gc-mark"),
    ]


def test_book_keeping_that_the_manifest_declares_stays() -> None:
    note = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    manifest = {"metadata": {"annotations": note}}
    assert cleanup.patch(metadata(entry(), annotations=note), IDENTITY, manifest) is None


def test_patched_object_is_ours_alone() -> None:
    once = managers(entry("kubectl", "Update"), entry(), entry("x", "Update"))
    assert cleanup.merged(metadata(*once), IDENTITY) is None
    assert ownership.apply_entry(metadata(*once), IDENTITY.manager) is not None


@given(TREES, TREES, TREES)
def test_union_is_associative_commutative_and_idempotent(
    a: JsonObject, b: JsonObject, c: JsonObject
) -> None:
    assert cleanup.union(a, b) == cleanup.union(b, a)
    assert cleanup.union(cleanup.union(a, b), c) == cleanup.union(a, cleanup.union(b, c))
    assert cleanup.union(a, a) == a


def test_entries_of_all_managers_move_to_one_api_version() -> None:
    metadata = PartialMeta(
        resource_version="7",
        managed_fields=(
            ManagedField(manager="a", operation="Apply", api_version="x/v1"),
            ManagedField(
                manager="b", operation="Update", api_version="x/v1beta1", subresource="status"
            ),
        ),
    )
    body = cleanup.migration(metadata, "x/v1")
    assert body is not None
    replaced, guard = orjson.loads(body)
    assert [entry["apiVersion"] for entry in replaced["value"]] == ["x/v1", "x/v1"]
    assert guard["value"] == "7"


def test_entries_that_are_in_the_api_version_need_no_patch() -> None:
    entry = ManagedField(manager="a", operation="Apply", api_version="x/v1")
    assert cleanup.migration(PartialMeta(managed_fields=(entry,)), "x/v1") is None
