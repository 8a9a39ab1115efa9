"""The tool that compares: two clusters, what one application owns in both, or two directories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from api import meta
from daemon import report
from inspection import builds, comparison, content, failure, kinds, live, survey, workshop
from mcp_server.tool import Answer, Arguments, Tool, about, shortened

if TYPE_CHECKING:
    from mcp_server.desk import Call, Site

DEFAULT_NAMESPACE: Final = meta.NAMESPACE
_MOST_DIFFERENCES: Final = 100
_MOST_OBJECTS: Final = 100
"""Of each kind of difference."""


class CompareQuery(Arguments, frozen=True, kw_only=True):
    """Which clusters, and how closely."""

    left: Annotated[str, about("Name of one cluster; with paths: one directory")]
    right: Annotated[str, about("Name of the other cluster; with paths: the other directory")]
    paths: Annotated[
        bool, about("Compare two local directories, built as the named Kustomization builds them")
    ] = False
    kind: Annotated[str, about("Compare objects of this Flux kind only")] = ""
    namespace: Annotated[str, about("Compare objects of this namespace only")] = ""
    live: Annotated[
        bool, about("Also compare the live objects that a named Kustomization or HelmRelease owns")
    ] = False
    name: Annotated[str, about("With live or paths: its name")] = ""
    intervals: Annotated[bool, about("Take intervals and time-outs into account")] = False


async def compare_clusters(call: Call, args: CompareQuery) -> Answer:
    """Compare two clusters: which Flux objects differ in revision, version, spec or readiness.

    With live, kind and name: the live objects that one application owns in both, field by field.
    With paths and name: two local directories, built the way that Kustomization builds.
    """
    if args.paths:
        result = await _directories(call, args)
        return _answer(result, "compare smaller directories")
    left, right = await call.desk.site(args.left), await call.desk.site(args.right)
    wanted = [kinds.find(args.kind)] if args.kind else None
    here = await survey.take(left.client, wanted, args.namespace)
    there = await survey.take(right.client, wanted, args.namespace)
    if args.live:
        result = await _live(args, (left, here), (right, there))
    else:
        result = comparison.of_clusters(here, there, ignores_intervals=not args.intervals)
    return _answer(result, "name a kind or a namespace")


def _answer(result: comparison.Comparison, advice: str) -> Answer:
    shown = comparison.first(result, _MOST_OBJECTS)
    more = f"\n# {shown.omitted} objects more differ: {advice}" if shown.omitted else ""
    return Answer(shortened(_compared(shown), advice) + more, shown)


async def _directories(call: Call, args: CompareQuery) -> comparison.Comparison:
    """Build two directories for the same Kustomization and compare what comes out."""
    if not args.name:
        raise failure.UsageError("to compare directories, name the Kustomization that builds them")
    site, desk = await call.site(args.cluster), call.desk
    namespace = args.namespace or DEFAULT_NAMESPACE
    sides = []
    async with workshop.opened(desk.config, desk.settings, site.settings) as context:
        for directory in (args.left, args.right):
            wanted = content.Wanted(namespace, args.name, Path(directory))
            sides.append(await builds.objects(context, desk.settings, wanted))
    return comparison.of_objects(args.left, args.right, *sides)


async def _live(
    args: CompareQuery,
    left: tuple[Site, survey.Survey],
    right: tuple[Site, survey.Survey],
) -> comparison.Comparison:
    if not args.name or not args.kind:
        raise failure.UsageError("to compare live objects, name a kind and a name: whose objects")
    sides = []
    for site, found in (left, right):
        ref = meta.ObjectRef(
            site.name,
            kinds.find(args.kind).name,
            args.namespace or DEFAULT_NAMESPACE,
            args.name,
        )
        obj = found.require(ref)
        sides.append(await live.several(site.client, site.discovery, obj.inventory))
    return comparison.of_objects(left[0].name, right[0].name, *sides)


def _compared(result: comparison.Comparison) -> str:
    """Return a comparison in lines."""
    if result.is_same:
        return f"{result.left} and {result.right} are the same: {result.same} objects"
    lines = [f"{result.left} | {result.right}; {result.same} objects are the same"]
    lines += [f"only in {result.left}: {name}" for name in result.only_left]
    lines += [f"only in {result.right}: {name}" for name in result.only_right]
    for pair in result.differing:
        lines.append(pair.id)
        lines += [
            f"  {each.field}: {_value(each.left)} | {_value(each.right)}"
            for each in pair.differences[:_MOST_DIFFERENCES]
        ]
    return "\n".join(lines)


def _value(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return report.short_revision(text if len(text) <= 200 else f"{text[:199]}…")


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool(
        "compare_clusters",
        "Compare clusters",
        CompareQuery,
        comparison.Comparison,
        compare_clusters,
    ),
)
"""Every tool of this module."""
