"""CEL: what people write for Flux gives what it gives there, and nothing can run away."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from runtime import cel

READY: dict[str, Any] = {
    "metadata": {
        "name": "database",
        "namespace": "apps",
        "generation": 3,
        "labels": {"app.kubernetes.io/version": "1.4.2", "tier": "gold"},
    },
    "spec": {"replicas": 2, "ratio": 1.5, "suspend": False, "nothing": None},
    "status": {
        "observedGeneration": 3,
        "phase": "Running",
        "ready": True,
        "since": "2026-11-23T03:19:08Z",
        "conditions": [
            {"type": "Synced", "status": "True", "observedGeneration": 3},
            {"type": "Ready", "status": "True", "observedGeneration": 3, "reason": "Succeeded"},
        ],
    },
}
NEW: dict[str, Any] = {"metadata": {"name": "database", "generation": 1}, "spec": {"replicas": 2}}

IS_READY = "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')"
IS_READY_NOW = (
    "status.conditions.filter(e, e.type == 'Ready')"
    ".all(e, e.status == 'True' && e.observedGeneration == metadata.generation)"
)
IS_FAILED = "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'False')"
IS_OBSERVED = "has(status.observedGeneration) && status.observedGeneration != metadata.generation"


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        # Conditions: custom resources of Cluster API, Sealed Secrets, cert-manager, Crossplane.
        (IS_READY, True),
        (IS_READY_NOW, True),
        (IS_FAILED, False),
        (IS_OBSERVED, False),
        ("status.conditions.exists(e, e.type == 'Synced' && e.status == 'True')", True),
        ("status.conditions.exists_one(e, e.type == 'Ready')", True),
        ("status.conditions.all(e, e.status == 'True')", True),
        ("size(status.conditions) > 0 && status.conditions[1].reason == 'Succeeded'", True),
        ("status.conditions.map(e, e.type) == ['Synced', 'Ready']", True),
        ("status.conditions.filter(e, e.type == 'Stalled').all(e, e.status == 'True')", True),
        ("status.conditions.filter(e, e.type == 'Stalled').size() == 0", True),
        ("['Synced', 'Ready'].all(t, status.conditions.exists(e, e.type == t))", True),
        # Fields.
        ("status.ready", True),
        ("!status.ready", False),
        ("status.phase == 'Running'", True),
        ("status.phase in ['Running', 'Succeeded']", True),
        ("metadata.labels['app.kubernetes.io/version'] == '1.4.2'", True),
        ("'tier' in metadata.labels", True),
        ("metadata.labels.exists(k, k.startsWith('app.kubernetes.io/'))", True),
        ("has(metadata.labels) && has(metadata.labels.tier)", True),
        ("has(status.missing)", False),
        ("has(status.missing) && status.missing.deep == 1", False),
        ("has(spec.suspend) ? !spec.suspend : true", True),
        ("spec.nothing == null", True),
        # Optional types.
        ("status.?conditions.orValue([]).exists(e, e.type == 'Ready' && e.status == 'True')", True),
        ("status.?missing.orValue('none') == 'none'", True),
        ("status.?a.?b.?c.hasValue()", False),
        ("metadata.labels[?'tier'] == optional.of('gold')", True),
        ("status.conditions[?7].type.orValue('') == ''", True),
        # Numbers: across types they compare by value.
        ("spec.replicas == 2.0", True),
        ("spec.replicas < 2.5 && spec.ratio > 1", True),
        ("spec.ratio >= spec.replicas", False),
        ("spec.replicas % 2 == 0 && spec.replicas * 2 - 1 == 3", True),
        ("dyn(1) == 1u && 1u <= dyn(1)", True),
        ("spec.replicas == '2'", False),
        # Strings, sets, encoders.
        ("'ghcr.io/acme/app:v1.2'.split(':').last().value().startsWith('v')", True),
        ("'refs/heads/main'.replace('refs/heads/', '') == 'main'", True),
        ("metadata.name.contains('base') && metadata.name.endsWith('e')", True),
        ("metadata.name.matches('^data[a-z]+$')", True),
        ("metadata.name.substring(0, 4).upperAscii() == 'DATA'", True),
        ("[metadata.namespace, metadata.name].join('/') == 'apps/database'", True),
        ("'%s-%d'.format([metadata.name, 3]) == 'database-3'", True),
        ("metadata.name.indexOf('base') == 4 && ' a '.trim() == 'a'", True),
        ("sets.contains(['Ready', 'Synced'], status.conditions.map(e, e.type))", True),
        ("sets.intersects([1, 2], [2, 3]) && sets.equivalent([1, 2], [2, 1, 1])", True),
        ("string(base64.decode('aGk=')) == 'hi' && base64.encode(b'hi') == 'aGk='", True),
        # Times.
        ("timestamp(status.since).getHours() == 3", True),
        ("timestamp('2026-11-23T04:19:08Z') - timestamp(status.since) == duration('1h')", True),
        ("int('3') == metadata.generation && string(metadata.generation) == '3'", True),
        ("type(metadata.generation) == int", True),
        # An error on one side of an operator does not count when the other side decides.
        ("status.ready || status.missing", True),
        ("status.missing == 1 && false", False),
        ("// comments are allowed\ntrue", True),
    ],
)
def test_expression_gives_what_flux_gives(expression: str, holds: bool) -> None:
    assert cel.parse(expression).evaluate(READY) is holds


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        (IS_READY, "no such attribute(s): status.conditions"),
        (IS_OBSERVED, "no such attribute(s): status.observedGeneration"),
        ("has(data.foo.bar)", "no such attribute(s): data.foo.bar"),
        ("metadata.labels.tier == 'gold'", "no such key: labels"),
        ("metadata.labels['a/b'] == 'c'", "no such key: labels"),
        ("metadata['a \"b\"'] == 1", 'no such key: a "b"'),
        ("has(metadata.labels.tier)", "no such key: labels"),
        ("spec.replicas / 0 == 1", "division by zero"),
        ("[1, 2][spec.replicas] == 1", "index out of bounds: 2"),
        ("spec.replicas + 'x' == 'x'", "no such overload"),
        ("nosuchfunction(spec)", "no such overload"),
        ("timestamp(metadata.name) == timestamp(metadata.name)", "to Timestamp conversion failed"),
    ],
)
def test_missing_field_is_an_error_in_the_words_of_flux(expression: str, why: str) -> None:
    with pytest.raises(cel.EvaluationError) as caught:
        cel.parse(expression).evaluate(NEW)
    text = str(caught.value)
    assert text.startswith(f"failed to evaluate the CEL expression '{expression}': ")
    assert text.endswith(why)


@pytest.mark.parametrize("expression", ["metadata.name", "'true'", "1", "spec", "[true]", "null"])
def test_unchecked_expression_that_gives_no_boolean_fails_when_evaluated(expression: str) -> None:
    with pytest.raises(cel.EvaluationError) as caught:
        cel.parse(expression).evaluate(NEW)
    assert str(caught.value) == f"failed to evaluate CEL expression as boolean: '{expression}'"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("foo.", "ERROR: <input>:1:5: Syntax error: no viable alternative at input '.'"),
        ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>'"),
        ("", "ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>'"),
        ("a b", "ERROR: <input>:1:3: Syntax error: extraneous input 'b' expecting <EOF>"),
        ("has(a)", "ERROR: <input>:1:5: has() argument must be a field selection"),
        ("a == '\ud800'", "incompatible function arguments"),
    ],
)
def test_what_is_not_cel_does_not_compile(expression: str, why: str) -> None:
    for compile_ in (cel.parse, cel.check):
        with pytest.raises(cel.CompileError) as caught:
            compile_(expression)
        prefix = f"failed to parse the CEL expression '{expression}': "
        assert str(caught.value).removeprefix(prefix).replace("compile(): ", "").startswith(why)


@pytest.mark.parametrize(
    "expression",
    [
        "dep.metadata.labels['app/version'] == self.metadata.labels['app/version']",
        "dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
        "dep.metadata.generation == dep.status.observedGeneration",
        "dep.status.ready == true",
        "has(dep.metadata.annotations) && 'a' in dep.metadata.annotations",
        "dep.status.?ready.orValue(false) == true",
        "true",
    ],
)
def test_checked_expression_over_declared_objects_compiles(expression: str) -> None:
    cel.check(expression, "self", "dep")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("dep.status.ready", "expected bool, got dyn"),
        ("dep.status.ready ? dep : self", "expected bool, got map(string, dyn)"),
        ("'true'", "expected bool, got string"),
        ("size(dep)", "expected bool, got int"),
        ("[1.5]", "expected bool, got list(double)"),
        ("dep.?status", "expected bool, got optional_type(dyn)"),
        ("null", "expected bool, got null_type"),
        ("duration('1s')", "expected bool, got google.protobuf.Duration"),
        ("other.ready == true", "undeclared reference to 'other.ready'"),
        ("dep == 'ready'", "found no matching overload for '_==_' applied to '(map(string, dyn)"),
        ("dep.metadata.name.nosuch('x')", "undeclared reference to 'nosuch'"),
    ],
)
def test_checked_expression_says_why_it_can_never_work(expression: str, message: str) -> None:
    with pytest.raises(cel.CompileError) as caught:
        cel.check(expression, "self", "dep")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("size(dep) < 1.5", True),
        ("size(dep) > 1.5", False),
        ("1u <= 2", True),
        ("1.5 >= 2u", False),
        ("-1 < 18446744073709551615u", True),
        (
            "9223372036854775807 < 9223372036854775808.0",
            False,
        ),  # as in cel-go, which compares both as doubles
        ("[1, 2].all(i, i < 2.5)", True),
        ("dep.replicas < 2.5", True),
        ("'a' < 'b' && b'a' < b'b' && false < true", True),
        ("duration('1s') < duration('2s')", True),
        ("timestamp('2026-01-01T00:00:00Z') >= timestamp('2026-01-02T00:00:00Z')", False),
    ],
)
def test_numbers_of_different_types_can_be_compared(expression: str, *, holds: bool) -> None:
    assert cel.check(expression, "dep").evaluate({"dep": {"replicas": 2}}) is holds
    assert cel.parse(expression).evaluate({"dep": {"replicas": 2}}) is holds


@pytest.mark.parametrize("expression", ["'a' < 1", "dep < dep", "true < 1", "size(dep) == 1.5"])
def test_what_cannot_be_compared_still_cannot(expression: str) -> None:
    with pytest.raises(cel.CompileError, match=r"found no matching overload for '_[<=]+_'"):
        cel.check(expression, "dep")


def test_loops_over_much_data_end_in_an_error() -> None:
    many = {"items": list(range(1000))}
    nested = "items.all(a, items.all(b, items.all(c, a >= 0)))"
    with pytest.raises(cel.EvaluationError, match="Iteration budget exceeded"):
        cel.parse(nested).evaluate(many)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("(" * 100 + "true" + ")" * 100, "recursion limit exceeded"),
        ("['x']" + ".map(y, y + y)" * 30 + ".size() == 1", "operations make text longer"),
        ("'x'" + ".replace('x', 'xxxxxxxxxx')" * 9 + " == ''", "operations make text longer"),
        ("true" + " || true" * 1000, "is longer than 4096 characters"),
    ],
)
def test_expression_that_could_use_up_the_memory_is_refused(expression: str, why: str) -> None:
    with pytest.raises(cel.CompileError, match=why):
        cel.parse(expression)


LONG = {"lines": ["a", "b"] * 500, "text": "x" * 200_000}


@pytest.mark.parametrize(
    "expression",
    [
        "lines.all(a, lines.all(b, !text.matches('(x+x+)+y')))",
        "lines.exists(a, text.contains(a + 'y'))",
        "text.split('').exists(a, text.indexOf(a) > 3)",
        "[1" + ", 1" * 999 + "].all(a, !text.matches('y'))",
    ],
)
def test_much_text_is_not_searched_in_a_loop(expression: str) -> None:
    with pytest.raises(cel.EvaluationError, match="too much text to search in a loop"):
        cel.parse(expression).evaluate(LONG)


@pytest.mark.parametrize(
    "expression",
    [
        "!text.matches('(x+x+)+y')",
        "lines.exists(a, a == 'b' && a.startsWith('b'))",
        "lines.filter(a, a == 'b').size() == 500 && text.size() > 10",
        "[1, 2].all(a, true) || 'a.contains(b)' == ''",
    ],
)
def test_large_values_are_no_obstacle_to_cheap_expressions(expression: str) -> None:
    assert cel.parse(expression).evaluate(LONG)


def test_text_is_searched_in_loops_over_what_webhooks_send() -> None:
    commit = {"message": "m" * 2000, "modified": [f"apps/{index}.yaml" for index in range(300)]}
    expression = "req.commits.exists(c, c.modified.exists(f, f.contains('/299.')))"
    assert cel.check(expression, "req", "res").evaluate({"req": {"commits": [commit] * 20}})


def test_plus_signs_in_text_do_not_count_as_operations() -> None:
    assert cel.parse('\'1+1+1+1+1+1+1+1+1+1+1\' != "a\\"++++++++++"').evaluate({})


def test_program_is_compiled_once() -> None:
    assert cel.parse("spec.replicas == 2") is cel.parse("spec.replicas == 2")
    assert cel.check("self.a == 1", "self") is not cel.check("self.a == 1", "self", "dep")


def test_evaluation_leaves_the_values_alone() -> None:
    values = {"spec": {"list": [1, 2, 3]}}
    assert cel.parse("spec.list.map(x, x * 2) == [2, 4, 6]").evaluate(values)
    assert values == {"spec": {"list": [1, 2, 3]}}


def test_library_is_not_imported_before_the_first_expression() -> None:
    probe = (
        "import sys; from runtime import cel; assert 'cel_expr_python' not in sys.modules;"
        "cel.parse('true'); assert 'cel_expr_python' in sys.modules;"
        "assert 'google.protobuf' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=30)
