"""The tool that looks back: how to undo the last change, from an object's own history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from daemon import kinds as served
from inspection import failure, flux, kinds, live, trace
from mcp_server.tool import Answer, Arguments, Result, Tool, about

if TYPE_CHECKING:
    from mcp_server.desk import Call


_APPLIERS: Final = (served.KUSTOMIZATION, served.HELM_RELEASE)
_WORDS: Final = " and ".join(f"{each.name}s" for each in _APPLIERS)


class HintQuery(Arguments, frozen=True, kw_only=True):
    """Which applier."""

    kind: Annotated[str, about("Kustomization or HelmRelease")] = "Kustomization"
    name: Annotated[str, about("Name of the object")]
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
    kind = kinds.find(args.kind)
    if kind not in _APPLIERS:
        raise failure.UsageError(f"a {kind.name} has no way back; {_WORDS} have")
    site = await call.site(args.cluster)
    body = await live.get(site.client, kind.resource, args.namespace, args.name)
    head = {"apiVersion": kind.gvk.api_version, "kind": kind.name}
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
        f"look first: plan_change with revision={good} shows what going back would do",
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
    Tool("rollback_hint", "Tell how to roll back", HintQuery, Hint, rollback_hint),
)
"""Every tool of this module."""
