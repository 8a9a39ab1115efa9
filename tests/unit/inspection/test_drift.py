from __future__ import annotations

from daemon import report
from inspection import drift, events


def event(message: str) -> events.Event:
    return events.Event(
        involved_object=events.Involved(kind="Kustomization", namespace="flux-system", name="apps"),
        reason=drift.REASON,
        message=message,
        last_timestamp="2026-01-02T12:00:00Z",
    )


def read(message: str) -> report.Correction:
    found = drift._read("home", event(message))
    assert found is not None
    return found


def test_event_of_a_correction_is_read_back() -> None:
    found = read("ConfigMap/shop/a was edited by kubectl-edit; corrected")

    assert found.object == "ConfigMap/shop/a"
    assert (found.change, found.who) == ("edited", "kubectl-edit")
    assert found.owner == "Kustomization/flux-system/apps"


def test_deletion_names_nobody() -> None:
    assert read("ConfigMap/shop/a was deleted; corrected").who == ""


def test_move_to_another_owner_is_read_too() -> None:
    found = read("ConfigMap/shop/a was moved by other to another owner; left alone")

    assert (found.change, found.who) == ("moved", "other")


def test_newest_come_first_and_can_be_narrowed() -> None:
    first = read("ConfigMap/shop/a was deleted; corrected")
    later = report.Correction(
        time="2026-01-02T13:00:00Z",
        cluster="work",
        owner="Kustomization/flux-system/infra",
        object="ConfigMap/shop/b",
        change="edited",
    )

    assert drift.chosen([first, later]) == [later, first]
    assert drift.chosen([first, later], cluster="home") == [first]
    assert drift.chosen([first, later], owner="INFRA") == [later]
    assert drift.chosen([first, later], limit=1) == [later]
