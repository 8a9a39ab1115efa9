"""Who is woken by a HelmRelease, or by what offers its chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api import meta
from api.artifact import Artifact
from api.charts import HelmChart
from api.meta import Condition
from reconcilers.helmrelease import waking
from tests.unit.reconcilers.helmrelease.releases import release

if TYPE_CHECKING:
    from api.helm import HelmRelease


def named(name: str, spec: dict[str, Any] | None = None, **status: Any) -> HelmRelease:
    item = release(spec, **status)
    return msgspec.structs.replace(
        item, metadata=meta.ObjectMeta(namespace="apps", name=name, uid=name, generation=2)
    )


def is_(ready: bool) -> dict[str, Any]:
    condition = Condition(
        type="Ready",
        status="True" if ready else "False",
        reason="x",
        message="",
        last_transition_time="2026-01-01T00:00:00Z",
    )
    return {"conditions": (condition,), "observed_generation": 2}


def names(wakes: Any) -> list[str]:
    return [ref.name for ref, _ in wakes]


BASE = named("base")
WEB = named("web", {"dependsOn": [{"name": "base"}]})
JUDGE = named("judge", {"dependsOn": [{"name": "base", "readyExpr": "true"}]})
FREE = named("free")


@pytest.mark.parametrize(
    ("old", "new", "woken"),
    [
        pytest.param(None, BASE, ["base", "judge"], id="created"),
        pytest.param(BASE, named("base", **is_(True)), ["web", "judge"], id="became ready"),
        pytest.param(
            named("base", **is_(True)), named("base", **is_(True)), ["judge"], id="as it was"
        ),
        pytest.param(
            named("base", **is_(True)), named("base", **is_(False)), ["judge"], id="failed"
        ),
        pytest.param(BASE, None, [], id="deleted"),
    ],
)
def test_dependants_are_woken_when_a_dependency_becomes_ready(
    old: HelmRelease | None, new: HelmRelease | None, woken: list[str]
) -> None:
    assert names(waking.on_release("c", old, new, [BASE, WEB, JUDGE, FREE])) == woken


def chart(
    revision: str = "1.0.0", name: str = "apps-web", generation: int = 1, **status: Any
) -> HelmChart:
    artifact = Artifact(
        digest="sha256:a", path="p", url="u", revision=revision, last_update_time="t"
    )
    body = {
        "metadata": {"namespace": "apps", "name": name, "generation": generation},
        "spec": {
            "chart": "c",
            "interval": "1m",
            "sourceRef": {"kind": "GitRepository", "name": "r"},
        },
    }
    found = msgspec.convert(body, HelmChart)
    known = msgspec.structs.replace(found.status, artifact=artifact, **status)
    return msgspec.structs.replace(found, status=known)


@pytest.mark.parametrize(
    ("old", "new", "woken"),
    [
        (None, chart(), ["web"]),
        (chart(), chart(), []),
        (chart(), chart("1.0.1"), ["web"]),
        (chart(), chart(generation=2), ["web"]),
        (chart(), None, ["web"]),
        (None, chart(name="another"), []),
    ],
)
def test_a_chart_wakes_its_release(
    old: HelmChart | None, new: HelmChart | None, woken: list[str]
) -> None:
    assert names(waking.on_chart("c", "HelmChart", old, new, [WEB, FREE])) == woken


def test_a_restart_wakes_nobody_who_has_dealt_with_the_chart() -> None:
    done = named("web", last_attempted_revision="1.0.0", **is_(True))
    assert names(waking.on_chart("c", "HelmChart", None, chart(), [done])) == []
    assert names(waking.on_chart("c", "HelmChart", None, chart("2.0.0"), [done])) == ["web"]


def test_other_kinds_are_no_charts() -> None:
    assert waking.on_chart("c", "GitRepository", None, chart(), [WEB]) == []
