"""The tools that look ahead and back: what a change would do, and how to undo the last one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from inspection import content, failure, flux, kinds, live, plan, rendering, trace, workshop
from kube import preview
from kube.fielddiff import MISSING
from kube.preview import Outcome
from mcp_server.tool import Answer, Arguments, Result, Tool, about, shortened

if TYPE_CHECKING:
    from kube.fielddiff import Change
    from kube.preview import Preview
    from mcp_server.desk import Call

_LONGEST_VALUE: Final = 300


class PlanQuery(Arguments, frozen=True, kw_only=True):
    """Which Kustomization, and with which content."""

    name: Annotated[str, about("Name of the Kustomization")]
    namespace: Annotated[str, about("Namespace of the Kustomization")] = "flux-system"
    path: Annotated[
        str, about("A local directory to build in place of spec.path: a work in progress")
    ] = ""
    revision: Annotated[str, about("A branch, tag or commit of its source to build")] = ""
    patch: Annotated[
        str, about("A strategic merge patch (YAML, with kind and name) to put on top")
    ] = ""
    all: Annotated[bool, about("List objects that stay as they are too")] = False


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

    kustomization: str
    content: str
    """What was built: a revision or a directory."""
    counts: dict[str, int]
    """Objects by outcome."""
    objects: tuple[ObjectChange, ...]
    changes_anything: bool


async def plan_change(call: Call, args: PlanQuery) -> Answer:
    """Show what a change would do to the live cluster: built and tried by dry run, never applied.

    Takes a local directory, a Git revision, or a patch; without any of them, what the next
    reconcile would change. Values of Secrets are masked. Names what would be created, changed,
    recreated, pruned or refused, field by field.
    """
    if args.path and args.revision:
        raise failure.UsageError("give path or revision, not both")
    site = await call.site(args.cluster)
    wanted = content.Wanted(
        args.namespace,
        args.name,
        Path(args.path) if args.path else None,
        args.revision or None,
        args.patch,
    )
    desk = call.desk
    async with workshop.opened(desk.config, desk.settings, site.settings) as context:
        await call.progress(0, 2, "building")
        rendered = await rendering.render(context, desk.settings, wanted)
        await call.progress(1, 2, f"trying {len(rendered.build.desired)} objects")
        found = [plan.masked(each) for each in await plan.look(context, rendered)]
    result = _plan(args, rendered.title, found)
    return Answer(shortened(_told(result), "plan fewer objects"), result)


def _plan(args: PlanQuery, title: str, found: list[Preview]) -> Plan:
    counts: dict[str, int] = {}
    for each in found:
        counts[each.outcome] = counts.get(each.outcome, 0) + 1
    shown = [each for each in found if args.all or each.outcome is not Outcome.UNCHANGED]
    return Plan(
        kustomization=f"Kustomization/{args.namespace}/{args.name}",
        content=title,
        counts=counts,
        objects=tuple(_object(each) for each in shown),
        changes_anything=any(each.outcome not in preview.QUIET for each in found),
    )


def _object(each: Preview) -> ObjectChange:
    return ObjectChange(
        object=str(each.id),
        outcome=each.outcome,
        note=" ".join(each.note.split()),
        fields=tuple(_field(change) for change in each.changes),
    )


def _field(change: Change) -> FieldChange:
    before = None if change.before is MISSING else change.before
    after = None if change.after is MISSING else change.after
    return FieldChange(field=change.field, before=before, after=after)


def _told(result: Plan) -> str:
    counts = ", ".join(f"{number} {outcome}" for outcome, number in result.counts.items())
    lines = [f"{result.kustomization} at {result.content}: {counts or 'no objects'}"]
    for each in result.objects:
        note = f": {each.note}" if each.note else ""
        lines.append(f"{each.object} {each.outcome}{note}")
        lines += [
            f"  {field.field}: {_value(field.before)} -> {_value(field.after)}"
            for field in each.fields
        ]
    return "\n".join(lines)


def _value(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


# rollback_hint ----------------------------------------------------------------------------------


class HintQuery(Arguments, frozen=True, kw_only=True):
    """Which applier."""

    kind: Annotated[str, about("Kustomization or HelmRelease")] = "Kustomization"
    name: Annotated[str, about("Name of the object")] = ""
    namespace: Annotated[str, about("Namespace of the object")] = "flux-system"


class Past(Result, frozen=True, kw_only=True):
    """One state that was reconciled."""

    revision: str
    outcome: str
    first: str = ""
    last: str = ""


class Hint(Result, frozen=True, kw_only=True):
    """How to get back to what worked."""

    object: str
    state: str
    current: str = ""
    last_good: str = ""
    history: tuple[Past, ...] = ()
    steps: tuple[str, ...] = ()


async def rollback_hint(call: Call, args: HintQuery) -> Answer:
    """Tell how to get back to the last revision that worked: from the object's own history.

    Nothing is changed. Says which commits to revert in Git, or which version to go back to.
    """
    if not args.name:
        raise failure.UsageError("name the Kustomization or HelmRelease")
    site = await call.site(args.cluster)
    known = kinds.words().get(args.kind.lower())
    served = (
        known.resource if known else await live.resource(site.discovery, flux.HELM_GROUP, args.kind)
    )
    body = await live.get(site.client, served, args.namespace, args.name)
    head = {"apiVersion": served.gvk.api_version, "kind": served.gvk.kind}
    obj = flux.FluxObject(site.name, head | body)
    found = await call.survey(site)
    source = found.get(obj.source) if obj.source else None
    result = hint(obj, source)
    lines = [f"{result.object}: {result.state}, at {result.current or 'nothing'}"]
    lines += [
        f"{each.revision}: {each.outcome}, {each.first} to {each.last}" for each in result.history
    ]
    lines += [f"{number}. {step}" for number, step in enumerate(result.steps, start=1)]
    return Answer("\n".join(lines), result)


def hint(obj: flux.FluxObject, source: flux.FluxObject | None) -> Hint:
    """Return how to get an applier back to what worked.

    Args:
        obj: a Kustomization or a HelmRelease.
        source: where its content is from.
    """
    past = tuple(_past(obj))
    current = str(obj.status.get("lastAttemptedRevision") or obj.revision)
    good = [each.revision for each in past if each.outcome in _GOOD and each.revision != current]
    last_good = good[0] if good else ""
    if obj.state is flux.State.READY and not last_good:
        steps: tuple[str, ...] = ("it is ready, and no earlier state is known",)
    elif obj.kind == "HelmRelease":
        steps = _release_steps(obj, last_good)
    else:
        steps = _steps(obj, source, current, last_good)
    return Hint(
        object=str(obj.ref),
        state=obj.state,
        current=current,
        last_good=last_good,
        history=past,
        steps=steps,
    )


_GOOD: Final = frozenset({"ReconciliationSucceeded", "deployed", "superseded"})


def _past(obj: flux.FluxObject) -> list[Past]:
    """Return the states of an applier's history, the newest first."""
    found = []
    for each in obj.status.get("history") or ():
        metadata = each.get("metadata") or {}
        found.append(
            Past(
                revision=str(metadata.get("revision") or each.get("chartVersion") or ""),
                outcome=str(each.get("lastReconciledStatus") or each.get("status") or ""),
                first=str(each.get("firstReconciled") or each.get("firstDeployed") or ""),
                last=str(each.get("lastReconciled") or each.get("lastDeployed") or ""),
            )
        )
    return found


def _steps(
    obj: flux.FluxObject, source: flux.FluxObject | None, current: str, last_good: str
) -> tuple[str, ...]:
    if not last_good:
        return ("no earlier state that worked is known: look into the log of the Git repository",)
    good, bad = trace.sha_of(last_good), trace.sha_of(current)
    remote = str(source.spec.get("url") or "") if source else "the remote"
    if not good or not bad:
        return (f"go back to {last_good} in {source.ref if source else 'the source'}",)
    pinned = f"{source.ref if source else 'the source'}: spec.ref.commit: {good}"
    return (
        f"see what came since: git log --oneline {good[:12]}..{bad[:12]} -- {obj.path or '.'}",
        f"revert it: git revert --no-edit {good[:12]}..{bad[:12]}, push to {remote}",
        f"look first: plan_change with revision={good[:12]} shows what going back would do",
        f"or hold everything from this source back meanwhile: {pinned}",
    )


def _release_steps(obj: flux.FluxObject, last_good: str) -> tuple[str, ...]:
    if not last_good:
        return ("no earlier version that worked is known: set spec.chart.spec.version in Git",)
    return (
        f"set the chart's version to {last_good} in Git, and the values as they were then",
        "or let it remediate by itself: spec.upgrade.remediation with strategy: rollback",
        (
            f"see the releases: helm history {obj.name} -n "
            f"{obj.spec.get('targetNamespace') or obj.namespace}"
        ),
    )


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool("plan_change", "Plan a change", PlanQuery, Plan, plan_change, reaches_out=True),
    Tool("rollback_hint", "Tell how to roll back", HintQuery, Hint, rollback_hint),
)
"""Every tool of this module."""
