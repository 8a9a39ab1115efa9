"""Whose rule judges an object: an expression of the Kustomization, or kstatus.

As in Flux an expression sees the fields of the object as variables and is not type-checked; what
it asks for and does not find makes the state Unknown, which a wait sits out. A rule without a kind
counts for every kind of its group that has none of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from kube import health
from kube.health import Health, State
from kube.objects import GVK
from runtime import cel

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from api.kustomize import HealthCheckExpr
    from kube.objects import JsonObject

_JOB: Final = ("batch", "Job")


class _Step(NamedTuple):
    """One expression, and the state of the objects for which it holds."""

    program: cel.Program
    state: State


class HealthRules:
    """Judges objects; two sets of rules are equal when they judge alike.

    Args:
        expressions: the rules of a Kustomization, in the order of its spec.
        is_impersonating: whether objects are read as somebody else, or in another cluster: only
            then does Flux ask a rule for Jobs before its own.

    Raises:
        cel.CompileError: a rule can never work, or its kind has another; the message is Flux's.
    """

    def __init__(
        self, expressions: Iterable[HealthCheckExpr] = (), *, is_impersonating: bool = False
    ) -> None:
        self._key = (tuple(expressions), is_impersonating)
        self._rules: dict[tuple[str, str], tuple[_Step, ...]] = {}
        for index, each in enumerate(self._key[0]):
            kind = GVK.of({"apiVersion": each.api_version, "kind": each.kind})
            if (kind.group, kind.kind) in self._rules:
                name = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
                text = f"duplicate custom health check for GroupKind {name}"
                raise cel.CompileError(f"{text} at healthchecks[{index}]")
            self._rules[kind.group, kind.kind] = _compile(each, index)
        self._unruled = frozenset(() if is_impersonating else (_JOB,))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HealthRules) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def has_rule(self, group: str, kind: str) -> bool:
        """Whether an expression judges a kind."""
        return self._find(group, kind) is not None

    def assess(self, obj: JsonObject, now: dt.datetime) -> Health:
        """Judge an object; see `kube.health.assess`."""
        gvk = GVK.of(obj)
        steps = self._find(gvk.group, gvk.kind)
        return health.assess(obj, now) if steps is None else _judge(obj, steps)

    def _find(self, group: str, kind: str) -> tuple[_Step, ...] | None:
        if (group, kind) in self._unruled:
            return None
        return self._rules.get((group, kind)) or self._rules.get((group, ""))


KSTATUS: Final = HealthRules()
"""No expression at all."""


def _compile(expressions: HealthCheckExpr, index: int) -> tuple[_Step, ...]:
    """Return the steps in the order in which they are asked."""
    failure = f"failed to create custom status evaluator for healthchecks[{index}]"
    if not expressions.current:
        raise cel.CompileError(f"{failure}: expression Current not specified")
    steps = []
    for name, source, state in (
        ("InProgress", expressions.in_progress, State.IN_PROGRESS),
        ("Failed", expressions.failed, State.FAILED),
        ("Current", expressions.current, State.CURRENT),
    ):
        try:
            steps += [_Step(cel.parse(source), state)] if source else []
        except cel.CompileError as err:
            text = f"{failure}: failed to parse the expression {name}: {err}"
            raise cel.CompileError(text) from err
    return tuple(steps)


def _judge(obj: JsonObject, steps: tuple[_Step, ...]) -> Health:
    """Return the state of the first expression that holds."""
    status, metadata = obj.get("status"), obj.get("metadata", {})
    observed = status.get("observedGeneration") if isinstance(status, dict) else None
    if isinstance(observed, int) and observed != metadata.get("generation", 0):
        return Health(State.IN_PROGRESS, "the latest generation has not been observed")
    try:
        held = next((step for step in steps if step.program.evaluate(obj)), None)
    except cel.EvaluationError as err:
        return Health(State.UNKNOWN, str(err))
    if held is None:
        return Health(State.IN_PROGRESS, "no expression holds")
    return Health(held.state, f"'{held.program.source}' holds")
