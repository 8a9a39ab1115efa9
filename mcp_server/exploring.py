"""The tools that answer questions about what belongs together, and why something is not ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from api import meta
from daemon import report
from inspection import (
    diagnosis,
    drift,
    flux,
    graph,
    kinds,
    named,
    reach,
    survey,
    trace,
    tree,
)
from kube import errors
from kube.connection import AuthError
from mcp_server.tool import Answer, Arguments, Result, Tool, about, shortened

if TYPE_CHECKING:
    from mcp_server.desk import Call, Site

JsonObject = dict[str, Any]
DEFAULT_NAMESPACE: Final = meta.NAMESPACE
_MOST_NODES: Final = 60
_MOST_LEAVES: Final = 150


Kind = Annotated[str, about("Kind, or the flux CLI's word for it: Kustomization, ks, git, hr")]
Name = Annotated[str, about("Name of the object")]
Namespace = Annotated[str, about("Namespace of the object")]
ApiVersion = Annotated[str, about("API version, where several groups have a kind of this name")]


class Named(Arguments, frozen=True, kw_only=True):
    """One object."""

    kind: Kind
    name: Name
    namespace: Namespace = DEFAULT_NAMESPACE
    apiVersion: ApiVersion = ""  # noqa: N815 - as in the tools of the operator's server


async def body_of(site: Site, args: Named) -> JsonObject:
    """Return the object that arguments name, whole.

    Raises:
        failure.CommandError: it is not there, or its kind is not served.
    """
    return await named.read(
        site.client, site.discovery, args.kind, args.name, args.namespace, args.apiVersion
    )


# list_clusters ----------------------------------------------------------------------------------


class ClusterLine(Result, frozen=True, kw_only=True):
    """One cluster."""

    name: str
    is_reachable: bool
    error: str = ""
    server: str = ""
    kubernetes: str = ""
    states: dict[str, int] = msgspec.field(default_factory=dict)
    """How many Flux objects are in each state."""
    unread: dict[str, str] = msgspec.field(default_factory=dict)
    """Kinds that may not be listed, with the reason."""
    failing: tuple[str, ...] = ()
    """The objects that failed, ``Kind/namespace/name``, ten at most."""
    served_by: str = ""
    """What gitopsd does with it: synced, observing, away, ...; empty where none runs."""


class Clusters(Result, frozen=True, kw_only=True):
    """Every cluster of ``config.toml``."""

    clusters: tuple[ClusterLine, ...]


class EveryCluster(Arguments, frozen=True, kw_only=True):
    """Nothing, or one cluster."""


async def list_clusters(call: Call, args: EveryCluster) -> Answer:
    """List the clusters: whether each answers, its version, and how its Flux objects stand."""
    chosen = call.desk.settings.clusters
    if args.cluster:
        chosen = ((await call.site(args.cluster)).settings,)
    running = await call.desk.daemon()
    states = {each.name: each.state for each in running.clusters} if running else {}
    lines: dict[str, ClusterLine] = {}

    async def look(name: str) -> None:
        lines[name] = await _line(call, name, states.get(name, ""))

    async with asyncio.TaskGroup() as tasks:
        for each in chosen:
            tasks.create_task(look(each.name), name=f"look at {each.name}")
    found = tuple(lines[each.name] for each in chosen)
    return Answer("\n".join(map(_told, found)), Clusters(clusters=found))


async def _line(call: Call, name: str, served_by: str) -> ClusterLine:
    try:
        site = await call.desk.site(name)
        version = msgspec.json.decode(await site.client.get_raw("/version"))
        found = await survey.take(site.client)
    except (errors.ApiError, AuthError) as err:
        return ClusterLine(name=name, is_reachable=False, error=str(err), served_by=served_by)
    counts: dict[str, int] = {}
    for obj in found.objects.values():
        counts[obj.state] = counts.get(obj.state, 0) + 1
    failing = [str(each.ref) for each in found.objects.values() if each.state is _FAILED]
    return ClusterLine(
        name=name,
        is_reachable=True,
        server=site.client.server,
        kubernetes=version.get("gitVersion", ""),
        states=counts,
        unread=found.unread,
        failing=tuple(failing[:10]),
        served_by=served_by,
    )


_FAILED: Final = flux.State.FAILED


def _told(line: ClusterLine) -> str:
    if not line.is_reachable:
        return f"{line.name}: NOT REACHABLE: {line.error}"
    counts = ", ".join(f"{number} {state}" for state, number in sorted(line.states.items()))
    served = f", gitopsd: {line.served_by}" if line.served_by else ", no gitopsd answers here"
    failing = f"; failing: {', '.join(line.failing)}" if line.failing else ""
    unread = f"; cannot be listed: {', '.join(line.unread)}" if line.unread else ""
    told = counts or ("nothing that may be seen" if line.unread else "no objects")
    return f"{line.name}: Kubernetes {line.kubernetes}{served}; {told}{failing}{unread}"


# get_tree ---------------------------------------------------------------------------------------


class TreeQuery(Named, frozen=True, kw_only=True):
    """Whose tree."""

    full: Annotated[
        bool, about(f"All of a tree of more than {_MOST_LEAVES} objects, and not its first level")
    ] = False


async def get_tree(call: Call, args: TreeQuery) -> Answer:
    """Show what a Flux object owns, and what the Flux objects among that own, as a tree.

    Of a large one the first level alone, unless full is set.
    """
    site = await call.site(args.cluster)
    found = await call.survey(site)
    ref = _flux_ref(site, args)
    found.require(ref)
    whole = tree.build(found, ref)
    root = whole if args.full else tree.pruned(whole, _MOST_LEAVES)
    text = "\n".join([root.title, *tree.lines(root)])
    return Answer(shortened(text, "ask for the tree of one of its children"), root)


def _flux_ref(site: Site, args: Named) -> meta.ObjectRef:
    kind = kinds.find(args.kind)
    return meta.ObjectRef(site.name, kind.name, args.namespace, args.name)


# trace ------------------------------------------------------------------------------------------


async def trace_object(call: Call, args: Named) -> Answer:
    """Trace any object back: who applied it, from which source and path, at which commit.

    Works for pods and ReplicaSets too, through their owners. A source is traced forward as well:
    who takes its content, and whether its revision has reached them; get_tree goes on from there.
    """
    site = await call.site(args.cluster)
    body = await body_of(site, args)
    found = await call.survey(site)
    result = await trace.of_object(site.client, site.discovery, found, body)
    if result.commit:
        known = await asyncio.to_thread(call.desk.commit, result.commit.sha)
        result = msgspec.structs.replace(result, commit=known or result.commit)
    lines = [
        " ".join(
            filter(
                None,
                (
                    f"{step.role}: {step.title}",
                    step.state,
                    f"at {report.short_revision(step.revision)}" if step.revision else "",
                    step.path,
                    step.url,
                    f"({step.message})" if step.message else "",
                ),
            )
        )
        for step in result.steps
    ]
    if result.commit:
        commit = result.commit
        lines.append(
            f"commit: {commit.sha} {commit.author} {commit.time} {commit.subject}".rstrip()
        )
    lines += map(_reaches, result.reached)
    if result.note:
        lines.append(f"note: {result.note}")
    return Answer(shortened("\n".join(lines), "trace one of those it reaches"), result)


def _reaches(each: reach.Reached) -> str:
    where = report.short_revision(each.revision) or "nothing"
    there = " like the source" if each.is_there else ""
    return f"reaches: {each.id} {each.state} at {where}{there}, owns {each.owns}"


# explain_not_ready ------------------------------------------------------------------------------


async def explain_not_ready(call: Call, args: Named) -> Answer:
    """Explain why an object is not ready: the first cause, its evidence, and what to do.

    One call walks from the object to its source, its dependencies, the failing workload, its pods
    and their events. Works for Flux objects and for any other kind.
    """
    site = await call.site(args.cluster)
    body = await body_of(site, args)
    found = await call.survey(site)
    examiner = diagnosis.Examiner(site.client, site.discovery, found, call.desk.clock.now())
    result = await examiner.explain(body)
    lines = [result.summary]
    if not result.is_ready:
        lines.append(f"cause: {result.cause}, at {result.at}")
        lines += [f"evidence: {each}" for each in result.evidence]
        lines += [f"to do: {each}" for each in result.remedies]
        lines.append("way: " + " -> ".join(f"{each.id} ({each.state})" for each in result.chain))
    return Answer("\n".join(lines), result)


# dependency_graph -------------------------------------------------------------------------------


class GraphQuery(Arguments, frozen=True, kw_only=True):
    """Which part of the graph, and how."""

    kind: Annotated[str, about("Kind of an object to start from; the whole where left out")] = ""
    name: Annotated[str, about("Its name")] = ""
    namespace: Annotated[str, about("Its namespace")] = DEFAULT_NAMESPACE
    format: Annotated[Literal["mermaid", "dot", "json"], about("How to draw it")] = "mermaid"
    full: Annotated[
        bool, about("All of a large graph, and not only what is in trouble with its neighbours")
    ] = False


async def dependency_graph(call: Call, args: GraphQuery) -> Answer:
    """Draw who needs whom: sources, dependsOn, and what applies what; as Mermaid, DOT or JSON.

    Of more than 60 objects only those that are not ready are drawn, with their neighbours, unless
    full is set or an object is named to start from.
    """
    site = await call.site(args.cluster)
    found = await call.survey(site)
    around = None
    if args.kind:
        around = meta.ObjectRef(site.name, kinds.find(args.kind).name, args.namespace, args.name)
        found.require(around)
    result = graph.build(found, around)
    if len(result.nodes) > _MOST_NODES and around is None and not args.full:
        call.notes.append(
            f"of {len(result.nodes)} objects those that are not ready, and their neighbours; "
            "full=true draws all"
        )
        result = graph.troubled(result)
    if args.format == "json":
        text = msgspec.json.encode(result).decode()
    else:
        text = graph.dot(result) if args.format == "dot" else graph.mermaid(result)
    return Answer(shortened(text, "name an object to start from"), result)


# get_drift --------------------------------------------------------------------------------------


class DriftQuery(Arguments, frozen=True, kw_only=True):
    """Whose drift."""

    owner: Annotated[str, about("Part of Kind/namespace/name of whose objects")] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, description="The newest ones")] = 50


class Drifts(Result, frozen=True, kw_only=True):
    """What somebody changed by hand, the newest first."""

    drifts: tuple[report.Correction, ...]
    source: str
    """``daemon`` (since it started, with fields) or ``events`` (of the last hour)."""


async def get_drift(call: Call, args: DriftQuery) -> Answer:
    """List what somebody changed in the cluster by hand and gitopsd put back: who, what, when."""
    known = await call.desk.drifts()
    source = "daemon"
    site = await call.site(args.cluster)
    if known is None:
        source = "events"
        known = tuple(await drift.from_events(site.client))
    found = drift.chosen(known, cluster=site.name, owner=args.owner, limit=args.limit)
    lines = [
        f"{each.time} {each.object} was {each.change}"
        f"{f' by {each.who}' if each.who else ''}"
        f"{_fields(each)}, owner {each.owner}"
        for each in found
    ]
    if source == "events":
        lines.append("# no gitopsd answers here; this is from the Events of the last hour")
    text = "\n".join(lines) or "no drift is known"
    return Answer(shortened(text, "a smaller limit"), Drifts(drifts=tuple(found), source=source))


def _fields(found: report.Correction) -> str:
    return f" ({', '.join(found.fields)})" if found.fields else ""


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool("list_clusters", "List clusters", EveryCluster, Clusters, list_clusters),
    Tool("get_tree", "Show what an object owns", TreeQuery, tree.Node, get_tree),
    Tool("trace", "Trace an object to Git", Named, trace.Trace, trace_object),
    Tool(
        "explain_not_ready",
        "Explain why something is not ready",
        Named,
        diagnosis.Diagnosis,
        explain_not_ready,
    ),
    Tool("dependency_graph", "Draw dependencies", GraphQuery, graph.Graph, dependency_graph),
    Tool("get_drift", "List drift", DriftQuery, Drifts, get_drift),
)
"""Every tool of this module."""
