from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from cli import events
from inspection.events import Event

NOW = dt.datetime(2026, 1, 2, 12, 0, 0, tzinfo=dt.UTC)


def event(**fields: Any) -> Event:
    target = {"kind": "Kustomization", "namespace": "flux-system", "name": "apps"}
    return msgspec.convert({"involvedObject": target, **fields}, type=Event)


def test_newest_event_comes_last_with_its_count() -> None:
    late = event(lastTimestamp="2026-01-02T11:59:50Z", reason="B", message="x\ny", count=3)
    early = event(eventTime="2026-01-02T11:00:00.5Z", type="Warning", reason="A", message="z")

    text = events.render([("home", late), ("home", early)], NOW, with_namespace=False)

    assert [line.split() for line in text.splitlines()[1:]] == [
        ["59m", "Warning", "A", "Kustomization/apps", "z"],
        ["10s", "B", "Kustomization/apps", "x", "y", "(x3)"],
    ]


def test_namespaces_are_shown_where_there_are_several() -> None:
    text = events.render([("home", event(reason="A"))], NOW, with_namespace=True)

    assert "Kustomization/flux-system/apps" in text
