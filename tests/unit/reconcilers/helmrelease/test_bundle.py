"""The objects of a release, made ready; how they are waited for; what is told of their drift."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import meta
from api.kustomize import HealthCheckExpr
from kube import errors
from kube.fielddiff import MISSING, Change
from kube.health import State
from kube.health_rules import HealthRules
from kube.helm import record
from kube.objects import GVK, ObjectId, PartialMeta, Resource
from reconcilers.helmrelease import bundle, waiting
from reconcilers.helmrelease.drift import Drifted
from runtime.limits import Threads
from tests.unit.reconcilers.helmrelease.releases import release

if TYPE_CHECKING:
    from kube.desired import Desired

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: kept
  annotations: {helm.sh/resource-policy: " Keep", kustomize.toolkit.fluxcd.io/ssa: Ignore}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: wide, namespace: wrong}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: paused, namespace: elsewhere}
spec: {paused: true}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: job
  labels: {helm.toolkit.fluxcd.io/driftDetection: DISABLED}
spec: {ttlSecondsAfterFinished: 5}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: listed}, typo: 1}
"""


class Discovery:
    """Knows which of the kinds above have namespaces."""

    async def resource(self, gvk: GVK) -> Resource:
        if gvk.group == "example.com":
            raise errors.NoMatch(gvk.kind, gvk.api_version)
        return Resource(gvk, "x", is_namespaced=gvk.kind != "ClusterRole")


async def made(manifest: str = MANIFEST) -> bundle.Bundle:
    fields = {"name": "demo", "namespace": "target", "version": 1, "manifest": manifest}
    text = orjson.dumps({"info": {}, "chart": {}, **fields})
    threads = Threads()
    try:
        return await bundle.of_record(record.parse(text), release(), Discovery(), threads)  # type: ignore[arg-type]  # all that is asked of it
    finally:
        await threads.aclose()


async def test_objects_go_where_their_kind_and_their_template_say() -> None:
    found = await made()
    assert [str(each.id) for each in found.desired] == [
        "ConfigMap/target/kept",
        "ClusterRole/wide",
        "Deployment/elsewhere/paused",
        "Job/target/job",
        "ConfigMap/target/listed",
    ]
    assert {each.name for each in found.kept} == {"kept"}
    assert {each.name for each in found.paused} == {"paused"}
    assert {each.name for each in found.expiring} == {"job"}
    assert {each.name for each in found.unchecked} == {"job"}
    assert [each.unknown for each in found.desired][-1] == ("typo",)
    assert {int(each.flags) for each in found.desired} == {0}


async def test_objects_carry_the_marks_of_helm_and_of_their_helmrelease() -> None:
    found = await made()
    with found.open() as reader:
        first, last = (orjson.loads(reader.read(found.desired[index])) for index in (0, -1))
    for each in (first, last):
        assert each["metadata"]["labels"] == {
            meta.MANAGED_BY: "Helm",
            meta.HELM_OWNER_NAME: "demo",
            meta.HELM_OWNER_NAMESPACE: "apps",
        }
        assert each["metadata"]["annotations"][meta.HELM_RELEASE_NAME] == "demo"
        assert each["metadata"]["annotations"][meta.HELM_RELEASE_NAMESPACE] == "target"


async def test_an_empty_release_has_no_objects() -> None:
    found = await made("---\n# nothing\n")
    assert found.desired == ()
    assert found.entries == []


async def test_jobs_and_paused_rollouts_need_not_be_waited_for() -> None:
    found = await made()
    named = [each.id.name for each in waiting.checks(found, with_jobs=False)]
    assert named == ["kept", "wide", "listed"]
    with_jobs = waiting.checks(found, with_jobs=True)
    assert [each.id.name for each in with_jobs if each.expires] == ["job"]


OWNER = bundle.Owner(("apps", "demo"), "demo", "target")


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, True),
        ({meta.HELM_RELEASE_NAME: "demo", meta.HELM_RELEASE_NAMESPACE: "target"}, True),
        ({meta.HELM_RELEASE_NAME: "demo", meta.HELM_RELEASE_NAMESPACE: "other"}, False),
        ({meta.HELM_RELEASE_NAME: "other", meta.HELM_RELEASE_NAMESPACE: "target"}, False),
        ({meta.HELM_RESOURCE_POLICY: "keep"}, False),
        ({meta.HELM_RESOURCE_POLICY: "drop"}, True),
    ],
)
def test_what_is_kept_or_was_taken_over_is_not_deleted(
    annotations: dict[str, str], expected: bool
) -> None:
    assert OWNER.has(PartialMeta(annotations=annotations)) is expected


def job(*types: str) -> dict[str, Any]:
    found = [{"type": each, "status": "True", "message": "m"} for each in types]
    return {"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": found}}


def pod(phase: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase, "message": "why"}}


@pytest.mark.parametrize(
    ("obj", "state"),
    [
        (job(), State.IN_PROGRESS),
        (job("Complete"), State.CURRENT),
        (job("Failed"), State.FAILED),
        (pod("Pending"), State.IN_PROGRESS),
        (pod("Running"), State.IN_PROGRESS),
        (pod("Succeeded"), State.CURRENT),
        (pod("Failed"), State.FAILED),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, State.CURRENT),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, State.CURRENT),
    ],
)
def test_hooks_are_judged_by_completion(obj: dict[str, Any], state: State) -> None:
    assert waiting.HookRules().assess(obj, NOW).status is state


def test_a_hook_of_a_custom_kind_is_judged_by_its_expressions() -> None:
    rule = HealthCheckExpr(api_version="example.com/v1", kind="Thing", current="status.ok")
    rules = waiting.HookRules(HealthRules([rule]))
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}}
    assert rules.assess(thing | {"status": {"ok": False}}, NOW).status is State.IN_PROGRESS
    assert rules.assess(thing | {"status": {"ok": True}}, NOW).status is State.CURRENT
    assert rules.assess(pod("Running"), NOW).status is State.IN_PROGRESS


def custom(status: str) -> dict[str, Any]:
    found = [{"type": "Ready", "status": status}]
    return {"apiVersion": "example.com/v1", "kind": "Thing", "status": {"conditions": found}}


STUCK = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "status": {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]},
}


@pytest.mark.parametrize(
    ("obj", "state"),
    [
        (custom("False"), State.CURRENT),
        (STUCK, State.IN_PROGRESS),
        (job(), State.IN_PROGRESS),
        (job("Failed"), State.FAILED),
    ],
)
def test_legacy_waits_know_few_kinds_and_sit_failures_out(
    obj: dict[str, Any], state: State
) -> None:
    assert waiting.LegacyRules().assess(obj, NOW).status is state


CHANGES = (
    Change(("data", "a"), MISSING, "x"),
    Change(("data", "b"), "old", "new"),
    Change(("data", "c"), "gone", MISSING),
)


def drifted(kind: str, *changes: Change, is_gone: bool = False) -> Drifted:
    desired: Desired = None  # type: ignore[assignment]  # no line tells of it
    return Drifted(ObjectId("ns", "n", "", kind), desired, changes, is_gone)


def test_drift_is_counted_and_named_field_by_field() -> None:
    assert drifted("ConfigMap", *CHANGES).lines() == [
        "ConfigMap/ns/n changed (1 additions, 1 changes, 1 removals)",
        '  data.a: absent, wanted "x"',
        '  data.b: "old", wanted "new"',
        '  data.c: "gone", wanted absent',
    ]
    assert drifted("ConfigMap", is_gone=True).lines() == ["ConfigMap/ns/n removed"]


def test_values_of_secrets_are_told_to_nobody() -> None:
    text = "\n".join(drifted("Secret", *CHANGES).lines())
    assert not [each for each in ("old", "new", "gone", '"x"') if each in text]
    assert "data.b" in text


def test_many_fields_and_long_values_are_cut() -> None:
    many = [Change(("data", f"k{number}"), "a" * 500, "b") for number in range(13)]
    lines = drifted("ConfigMap", *many).lines()
    assert len(lines) == 12
    assert lines[-1] == "  and 3 more"
    assert max(map(len, lines)) < 120
