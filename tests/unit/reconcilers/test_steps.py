"""The pure half of the reconcilers' exit."""

from __future__ import annotations

import msgspec

from api import meta
from api.kustomize import KustomizationStatus
from reconcilers import steps
from tests.unit.reconcilers.test_dependencies import make
from tests.unit.reconcilers.test_triggers import change


def test_equal_statuses_give_no_patch() -> None:
    item = make("a")
    assert steps.status_patch(item.status, item.status) == {}
    assert steps.status_patch(item.status, msgspec.to_builtins(item.status)) == {}


def test_patch_holds_only_what_differs_and_removes_what_is_gone() -> None:
    old = KustomizationStatus(last_applied_revision="r1", last_attempted_revision="r1")
    new = KustomizationStatus(last_attempted_revision="r2")
    assert steps.status_patch(old, new) == {
        "lastAppliedRevision": None,
        "lastAttemptedRevision": "r2",
    }


def test_inventory_is_not_sent_again_when_it_is_the_same() -> None:
    inventory = meta.Inventory(entries=(meta.InventoryEntry(id="a_b__C", v="v1"),))
    old = KustomizationStatus(inventory=inventory)
    new = KustomizationStatus(inventory=inventory, last_applied_revision="r")
    assert steps.status_patch(old, new) == {"lastAppliedRevision": "r"}


def test_request_token_is_copied_where_there_is_one() -> None:
    item = make("a")
    assert "lastHandledReconcileAt" not in steps.handled(item, item.status)
    asked = change(item, annotations={meta.REQUESTED_AT: "token"})
    assert steps.handled(asked, item.status)["lastHandledReconcileAt"] == "token"


def test_notice_keeps_keys_as_they_are_spelled() -> None:
    told = steps.notice("Reason", "text", severity="error", **{"example.com/revision": "r"})
    assert told.severity == "error"
    assert told.metadata == (("example.com/revision", "r"),)
