"""The tool that looks ahead: what a change would do to the live cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from api import meta
from daemon import kinds as served
from inspection import (
    content,
    failure,
    kinds,
    masking,
    plan,
    release_charts,
    releases,
    rendering,
    workshop,
)
from kube import preview
from kube.fielddiff import MISSING
from kube.preview import Outcome
from mcp_server.tool import Answer, Arguments, Result, Tool, about, shortened

if TYPE_CHECKING:
    from kube.fielddiff import Change
    from kube.preview import Preview
    from mcp_server.desk import Call
    from reconcilers.context import ClusterContext

_LONGEST_VALUE: Final = 300
"""Characters of a value in the text."""
_LARGEST_VALUE: Final = 4000
"""Characters of a value in the data, as JSON."""
_MOST_OBJECTS: Final = 100
_OF_KUSTOMIZATIONS: Final = ("path", "patch")
_OF_RELEASES: Final = ("chart", "values")


class PlanQuery(Arguments, frozen=True, kw_only=True):
    """Which Kustomization or HelmRelease, and with which content."""

    kind: Annotated[str, about("Kustomization or HelmRelease")] = "Kustomization"
    name: Annotated[str, about("Name of the Kustomization or HelmRelease")]
    namespace: Annotated[str, about("Its namespace")] = meta.NAMESPACE
    revision: Annotated[
        str,
        about(
            "A branch, tag or commit of its source to build; of a HelmRelease whose chart is in a "
            "HelmRepository, a version of the chart"
        ),
    ] = ""
    path: Annotated[
        str, about("Kustomization: a local directory to build in place of spec.path")
    ] = ""
    patch: Annotated[
        str, about("Kustomization: a strategic merge patch (YAML, with kind and name) on top")
    ] = ""
    chart: Annotated[str, about("HelmRelease: a local chart, packed or as a directory")] = ""
    values: Annotated[str, about("HelmRelease: values (YAML) in place of spec.values")] = ""
    all: Annotated[bool, about("List objects that stay as they are too")] = False
    limit: Annotated[int, msgspec.Meta(ge=1, description="Objects to list at most")] = _MOST_OBJECTS


class FieldChange(Result, frozen=True, kw_only=True):
    """One field that would change."""

    field: str
    before: Any = None
    after: Any = None


class ObjectChange(Result, frozen=True, kw_only=True):
    """What would happen to one object."""

    object: str
    outcome: str
    note: str = ""
    fields: tuple[FieldChange, ...] = ()


class Plan(Result, frozen=True, kw_only=True):
    """What an apply would do."""

    applier: str
    """Whose objects they are, ``Kind/namespace/name``."""
    content: str
    """What was built: a revision, a directory, or a chart."""
    counts: dict[str, int]
    """Objects by outcome."""
    objects: tuple[ObjectChange, ...]
    omitted: int = 0
    """How many objects more there are than are listed."""
    changes_anything: bool


class _Tried(NamedTuple):
    """What was built, and what became of each object in a dry run."""

    title: str
    found: list[Preview]


async def plan_change(call: Call, args: PlanQuery) -> Answer:
    """Show what a change would do to the live cluster: built and tried by dry run, never applied.

    Of a Kustomization it takes a local directory, a Git revision, or a patch; of a HelmRelease a
    local chart, another revision or version of its chart, or other values. Without any of them it
    tells what the next reconcile would change. Values of Secrets are masked. Names what would be
    created, changed, recreated, pruned or refused, field by field.
    """
    kind = kinds.find(args.kind)
    _check(args, kind)
    site = await call.site(args.cluster)
    desk = call.desk
    async with workshop.opened(desk.config, desk.settings, site.settings) as context:
        await call.progress(0, 2, "building")
        attempt = _release if kind is served.HELM_RELEASE else _kustomization
        tried = await attempt(call, context, args)
    result = _plan(f"{kind.name}/{args.namespace}/{args.name}", args, tried)
    return Answer(shortened(_told(result), "a smaller limit"), result)


def _check(args: PlanQuery, kind: served.Kind) -> None:
    """Refuse content that a kind does not have, and two contents at once.

    Raises:
        failure.UsageError: the message names the arguments.
    """
    if kind not in (served.KUSTOMIZATION, served.HELM_RELEASE):
        raise failure.UsageError(
            f"only a Kustomization or a HelmRelease can be planned, not a {kind.name}"
        )
    strange = _OF_KUSTOMIZATIONS if kind is served.HELM_RELEASE else _OF_RELEASES
    for name in strange:
        if getattr(args, name):
            raise failure.UsageError(f"{name} means nothing to a {kind.name}")
    for name in ("path", "chart"):
        if getattr(args, name) and args.revision:
            raise failure.UsageError(f"give {name} or revision, not both")


async def _kustomization(call: Call, context: ClusterContext, args: PlanQuery) -> _Tried:
    wanted = content.Wanted(
        args.namespace,
        args.name,
        Path(args.path) if args.path else None,
        args.revision or None,
        args.patch,
    )
    rendered = await rendering.render(context, call.desk.settings, wanted)
    await call.progress(1, 2, f"trying {len(rendered.build.desired)} objects")
    return _Tried(rendered.title, await plan.look(context, rendered))


async def _release(call: Call, context: ClusterContext, args: PlanQuery) -> _Tried:
    chart = release_charts.Wanted(Path(args.chart) if args.chart else None, args.revision or None)
    values = releases.read_values(args.values, "values") if args.values else None
    wanted = releases.Wanted(args.namespace, args.name, chart, values)
    rendered = await releases.render_release(context, call.desk.settings, wanted)
    await call.progress(1, 2, f"trying the objects of {rendered.title}")
    return _Tried(rendered.title, await releases.look(context, rendered))


def _plan(applier: str, args: PlanQuery, tried: _Tried) -> Plan:
    counts: dict[str, int] = {}
    for each in tried.found:
        counts[each.outcome] = counts.get(each.outcome, 0) + 1
    shown = [each for each in tried.found if args.all or each.outcome is not Outcome.UNCHANGED]
    return Plan(
        applier=applier,
        content=tried.title,
        counts=counts,
        objects=tuple(_object(plan.masked(each)) for each in shown[: args.limit]),
        omitted=max(0, len(shown) - args.limit),
        changes_anything=any(each.outcome not in preview.QUIET for each in tried.found),
    )


def _object(each: Preview) -> ObjectChange:
    return ObjectChange(
        object=str(each.id),
        outcome=each.outcome,
        note=masking.text(" ".join(each.note.split())),
        fields=tuple(_field(change) for change in each.changes),
    )


def _field(change: Change) -> FieldChange:
    name = change.field
    before, after = _side(name, change.before), _side(name, change.after)
    return FieldChange(field=name, before=before, after=after)


def _side(field: str, value: object) -> object:
    """Return one side of a change, masked, and not larger than an agent can read."""
    if value is MISSING:
        return None
    shown = masking.member(field, value)
    text = shown if isinstance(shown, str) else msgspec.json.encode(shown).decode()
    return shown if len(text) <= _LARGEST_VALUE else f"{text[: _LARGEST_VALUE - 1]}…"


def _told(result: Plan) -> str:
    counts = ", ".join(f"{number} {outcome}" for outcome, number in result.counts.items())
    lines = [f"{result.applier} at {result.content}: {counts or 'no objects'}"]
    for each in result.objects:
        note = f": {each.note}" if each.note else ""
        lines.append(f"{each.object} {each.outcome}{note}")
        lines += [
            f"  {field.field}: {_value(field.before)} -> {_value(field.after)}"
            for field in each.fields
        ]
    if result.omitted:
        lines.append(f"# {result.omitted} objects more: a larger limit lists them")
    return "\n".join(lines)


def _value(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool("plan_change", "Plan a change", PlanQuery, Plan, plan_change, reaches_out=True),
)
"""Every tool of this module."""
