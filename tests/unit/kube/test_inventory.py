"""Inventory entries and their differences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.meta import InventoryEntry
from kube import inventory
from kube.changes import Action, Change
from kube.objects import ObjectId

NAMES = st.text("ab09.-", max_size=6).map(lambda inner: f"a{inner}9")
IDS = st.builds(
    ObjectId,
    st.sampled_from(["", "a", "kube-system", "0-1"]),
    NAMES,
    st.sampled_from(["", "apps", "rbac.authorization.k8s.io", "example.com"]),
    st.sampled_from(["ConfigMap", "ClusterRole", "Namespace"]),
)
ENTRIES = st.lists(st.tuples(IDS, st.sampled_from(["v1", "v2"])), max_size=6)
A, B, C = (ObjectId("ns", name, "", "ConfigMap") for name in "abc")


@given(IDS)
def test_an_entry_reads_back(obj: ObjectId) -> None:
    assert inventory.parse([InventoryEntry(id=obj.entry, v="v1")]) == [(obj, "v1")]


def test_colon_of_an_rbac_name_survives() -> None:
    role = ObjectId("", "system:view", "rbac.authorization.k8s.io", "ClusterRole")
    assert role.entry == "_system__view_rbac.authorization.k8s.io_ClusterRole"
    assert inventory.parse([InventoryEntry(id=role.entry, v="v1")]) == [(role, "v1")]


def test_entry_that_nobody_can_read_is_left_out() -> None:
    wire = [InventoryEntry(id="nonsense", v="v1"), InventoryEntry(id=A.entry, v="v1")]
    assert inventory.parse(wire) == [(A, "v1")]


def test_without_compares_objects_and_not_versions() -> None:
    assert inventory.without([(A, "v1"), (B, "v1")], [(A, "v2")]) == [(B, "v1")]


def test_union_is_the_new_then_what_only_the_old_names() -> None:
    assert inventory.union([(A, "v1"), (B, "v1")], [(C, "v1"), (A, "v2")]) == [
        (C, "v1"),
        (A, "v2"),
        (B, "v1"),
    ]


@given(ENTRIES, ENTRIES)
def test_nothing_of_old_or_new_is_missing_from_the_union(
    old: inventory.Entries, new: inventory.Entries
) -> None:
    ids = {obj for obj, _ in inventory.union(old, new)}
    assert ids == {obj for obj, _ in [*old, *new]}
    assert {obj for obj, _ in inventory.without(old, new)} == ids - {obj for obj, _ in new}


def test_inventory_of_an_apply_has_every_object_in_order() -> None:
    changes = [Change(B, "v1", Action.SKIPPED), Change(A, "v2", Action.UNCHANGED)]
    assert inventory.of_changes(changes) == [(B, "v1"), (A, "v2")]
