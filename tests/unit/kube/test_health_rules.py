"""Expressions and kstatus: which of them judges an object, and what an expression makes of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from api.kustomize import HealthCheckExpr
from kube.health import State
from kube.health_rules import KSTATUS, HealthRules
from runtime import cel

NOW = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
SYNCED = "status.conditions.filter(e, e.type == 'Synced').all(e, e.status == '{}')"
OBSERVED = "has(status.observedGeneration) && status.observedGeneration != metadata.generation"


def rule(kind: str = "bitnami.com/v1alpha1/SealedSecret", **expressions: str) -> HealthCheckExpr:
    api_version, _, name = kind.rpartition("/")
    wanted = {"current": "data.current"} | expressions
    return HealthCheckExpr(api_version=api_version, kind=name, **wanted)


def obj(kind: str = "bitnami.com/v1alpha1/SealedSecret", **fields: Any) -> dict[str, Any]:
    api_version, _, name = kind.rpartition("/")
    metadata = {"name": "x", "generation": 2}
    return {"apiVersion": api_version, "kind": name, "metadata": metadata} | fields


def state(found: dict[str, Any], *rules: HealthCheckExpr, **options: bool) -> State:
    return HealthRules(rules, **options).assess(found, NOW).status


@pytest.mark.parametrize(
    ("in_progress", "failed", "current", "expected"),
    [
        (False, False, False, State.IN_PROGRESS),
        (False, False, True, State.CURRENT),
        (False, True, True, State.FAILED),
        (True, True, True, State.IN_PROGRESS),
    ],
)
def test_first_expression_that_holds_decides(
    in_progress: bool, failed: bool, current: bool, expected: State
) -> None:
    wanted = rule(in_progress="data.inProgress", failed="data.failed")
    data = {"inProgress": in_progress, "failed": failed, "current": current}
    assert state(obj(data=data), wanted) is expected


def test_life_of_a_sealed_secret() -> None:
    wanted = rule(
        in_progress=OBSERVED, failed=SYNCED.format("False"), current=SYNCED.format("True")
    )
    synced = {"type": "Synced", "status": "True"}
    assert state(obj(), wanted) is State.UNKNOWN
    assert state(obj(status={"observedGeneration": 1}), wanted) is State.IN_PROGRESS
    assert state(obj(status={}), wanted) is State.UNKNOWN
    observed = {"observedGeneration": 2, "conditions": [synced]}
    assert state(obj(status=observed), wanted) is State.CURRENT
    refused = {"observedGeneration": 2, "conditions": [synced | {"status": "False"}]}
    assert state(obj(status=refused), wanted) is State.FAILED


@pytest.mark.parametrize("conditions", [[], [{"type": "Other", "status": "True"}]])
def test_all_over_nothing_holds_so_a_missing_condition_counts_as_failed(
    conditions: list[Any],
) -> None:
    wanted = rule(failed=SYNCED.format("False"), current=SYNCED.format("True"))
    assert state(obj(status={"conditions": conditions}), wanted) is State.FAILED


def test_generation_that_was_not_observed_is_in_progress_whatever_the_expressions_say() -> None:
    wanted = rule(current="true", failed="true")
    assert state(obj(status={"observedGeneration": 1}), wanted) is State.IN_PROGRESS
    assert state(obj(status={"observedGeneration": "1"}), wanted) is State.FAILED


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("data.currentt", "'data.currentt': no such key: currentt"),
        ("spec.x == 1", "'spec.x == 1': no such attribute(s): spec.x"),
        ("data.text", "failed to evaluate CEL expression as boolean: 'data.text'"),
    ],
)
def test_expression_that_gives_no_answer_is_unknown_and_says_why(expression: str, why: str) -> None:
    found = HealthRules([rule(current=expression)]).assess(obj(data={"text": "true"}), NOW)
    assert found.status is State.UNKNOWN
    assert found.message.endswith(why)


def test_kind_without_a_rule_is_left_to_kstatus() -> None:
    wanted = rule(current="false")
    ready = {"conditions": [{"type": "Ready", "status": "False"}]}
    assert state(obj("example.com/v1/Other"), wanted) is State.CURRENT
    assert state(obj("example.com/v1/Other", status=ready), wanted) is State.IN_PROGRESS
    assert state(obj("example.com/v1/SealedSecret"), wanted) is State.CURRENT


def test_version_of_a_rule_does_not_matter() -> None:
    assert state(obj("bitnami.com/v1/SealedSecret"), rule(failed="true")) is State.FAILED


def test_rule_of_a_group_judges_the_kinds_that_have_none_of_their_own() -> None:
    of_group = HealthCheckExpr(api_version="example.com/v1", failed="true", current="true")
    own = rule("example.com/v1/Own", current="true")
    assert state(obj("example.com/v1/Any"), of_group, own) is State.FAILED
    assert state(obj("example.com/v1/Own"), of_group, own) is State.CURRENT
    assert state(obj("other.com/v1/Any"), of_group, own) is State.CURRENT


def test_core_objects_can_be_judged_too() -> None:
    wanted = rule("v1/ConfigMap", current="data.done == 'yes'")
    assert state(obj("v1/ConfigMap", data={"done": "no"}), wanted) is State.IN_PROGRESS
    assert HealthRules([wanted]).has_rule("", "ConfigMap")
    assert not HealthRules([wanted]).has_rule("", "Secret")
    assert not KSTATUS.has_rule("", "ConfigMap")


def test_job_has_its_own_rule_unless_it_is_read_as_somebody_else() -> None:
    job = obj("batch/v1/Job", spec={"suspend": True})
    wanted = rule("batch/v1/Job", failed="spec.suspend", current="true")
    assert state(job, wanted) is State.CURRENT
    assert state(job, wanted, is_impersonating=True) is State.FAILED


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [rule(in_progress="foo.", current="true")],
            "failed to create custom status evaluator for healthchecks[0]: failed to parse the",
        ),
        (
            [rule(in_progress="foo.", current="true")],
            "expression InProgress: failed to parse the CEL expression 'foo.': ERROR: <input>:1:5:",
        ),
        ([rule(), rule("a/b/C", failed="foo.")], "for healthchecks[1]: failed to parse the expr"),
        ([rule(current="foo.")], "failed to parse the expression Current: "),
        ([rule(current="")], "for healthchecks[0]: expression Current not specified"),
        (
            [rule("v1/ConfigMap"), rule("v1/ConfigMap")],
            "duplicate custom health check for GroupKind ConfigMap at healthchecks[1]",
        ),
        (
            [rule(), rule("bitnami.com/v1/SealedSecret")],
            "duplicate custom health check for GroupKind SealedSecret.bitnami.com at healthchecks",
        ),
    ],
)  # fmt: skip
def test_rule_that_can_never_work_is_refused_in_the_words_of_flux(
    rules: list[HealthCheckExpr], message: str
) -> None:
    with pytest.raises(cel.CompileError) as caught:
        HealthRules(rules)
    assert message in str(caught.value)


def test_rules_are_equal_when_they_judge_alike() -> None:
    assert HealthRules([rule()]) == HealthRules([rule()])
    assert hash(HealthRules([rule()])) == hash(HealthRules([rule()]))
    assert HealthRules([rule()]) != HealthRules([rule(failed="true")])
    assert HealthRules([rule()]) != HealthRules([rule()], is_impersonating=True)
    assert HealthRules() == KSTATUS
