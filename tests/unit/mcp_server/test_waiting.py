"""When a wait is over, judged by objects as an API server sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from daemon import settings
from inspection import failure
from mcp_server import waiting
from mcp_server.desk import Call, Desk, Session
from tests.support.fluxobjects import REVISION, SHA, kustomization

if TYPE_CHECKING:
    from pathlib import Path

    from kube.objects import JsonObject

BEFORE = waiting.Waited(object="Kustomization/flux-system/apps", is_met=False, state="not there")
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "Initialized", "status": "True"},
        ],
    },
}


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """A call that only has to tell the time."""
    desk = Desk(tmp_path / "config.toml", settings.parse("", "config.toml"))

    async def progress(done: float, total: float | None, text: str) -> None:
        del done, total, text

    return Call(desk, Session(), progress)


def judged(call: Call, obj: JsonObject | None, **given: Any) -> waiting.Waited:
    query = waiting.WaitQuery(kind="ks", name="apps", **given)
    return waiting.judge(BEFORE, obj, query, call)


@pytest.mark.parametrize("condition", ["Ready", "ready", "READY"])
def test_condition_is_met_in_whatever_case_it_is_written(call: Call, condition: str) -> None:
    assert judged(call, kustomization("apps").raw, condition=condition).is_met
    assert judged(call, POD, condition=condition).is_met


@pytest.mark.parametrize("ready", ["False", "Unknown", None])
def test_condition_that_does_not_hold_is_waited_for(call: Call, ready: str | None) -> None:
    found = judged(call, kustomization("apps", ready=ready, message="not yet").raw)

    assert not found.is_met
    assert found.state


def test_condition_about_an_older_spec_is_waited_for(call: Call) -> None:
    obj = kustomization("apps").raw
    changed = obj | {"metadata": obj["metadata"] | {"generation": 2}}

    assert not judged(call, changed).is_met


@pytest.mark.parametrize("revision", [REVISION, SHA, SHA[:8], "main@sha1"])
def test_revision_may_be_given_by_a_part_of_it(call: Call, revision: str) -> None:
    found = judged(call, kustomization("apps").raw, revision=revision)

    assert found.is_met
    assert found.revision == REVISION


def test_ready_at_another_revision_is_waited_for(call: Call) -> None:
    assert not judged(call, kustomization("apps").raw, revision="0" * 40).is_met


def test_request_has_to_be_handled(call: Call) -> None:
    handled = kustomization("apps", lastHandledReconcileAt="now").raw

    assert judged(call, handled, requested_at="now").is_met
    assert not judged(call, handled, requested_at="later").is_met
    assert not judged(call, kustomization("apps").raw, requested_at="now").is_met


@pytest.mark.parametrize("word", ["deleted", "Deleted"])
def test_end_is_met_by_nothing_but_the_end(call: Call, word: str) -> None:
    assert judged(call, None, condition=word).is_met
    assert not judged(call, kustomization("apps").raw, condition=word).is_met
    assert not judged(call, POD, condition=word).is_met


def test_object_that_is_not_there_is_waited_for(call: Call) -> None:
    found = judged(call, None)

    assert (found.is_met, found.state) == (False, "not there")


def test_other_conditions_of_other_kinds_can_be_waited_for(call: Call) -> None:
    assert judged(call, POD, condition="Initialized").is_met
    assert not judged(call, POD, condition="Painted").is_met


def test_message_is_masked(call: Call) -> None:
    message = "cannot fetch https://me:geheim@example.com/x.git"
    found = judged(call, kustomization("apps", ready="False", message=message).raw)

    assert "geheim" not in found.message


async def test_time_that_is_none_is_refused_before_anything_is_asked(call: Call) -> None:
    query = waiting.WaitQuery(kind="ks", name="apps", timeout="soon")

    with pytest.raises(failure.UsageError, match=r"timeout: .*; write 90s or 5m"):
        await waiting.wait_for(call, query)


def test_data_leaves_out_what_is_not_known(call: Call) -> None:
    assert msgspec.to_builtins(judged(call, None)).keys() == {"object", "isMet", "state"}
