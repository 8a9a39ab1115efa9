"""Who needs whom among Flux objects: sources, dependsOn, what applied what. Pure.

An edge points from what is needed to who needs it: the direction in which changes travel.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from inspection import flux

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from api.meta import ObjectRef
    from inspection.flux import FluxObject
    from inspection.survey import Survey

_COLOURS: Final = {
    flux.State.READY: "#d4f4dd",
    flux.State.FAILED: "#ffd6d6",
    flux.State.PROGRESSING: "#fff3c4",
    flux.State.SUSPENDED: "#e6e6e6",
}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_]")


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One Flux object."""

    id: str
    """``Kind/namespace/name``."""
    state: str
    revision: str = ""


class Edge(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One object needs another."""

    source: str
    """The id of what is needed."""
    target: str
    """The id of who needs it."""
    relation: str
    """``source`` (delivers content), ``dependsOn`` or ``applies``."""


class Graph(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The objects of a cluster and what they need."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def build(survey: Survey, around: ObjectRef | None = None) -> Graph:
    """Return the graph of a cluster, or the part that is connected to one object."""
    edges = tuple(dict.fromkeys(_edges(survey)))
    named = {str(each.ref): _node(each) for each in survey.objects.values()}
    for edge in edges:
        for name in (edge.source, edge.target):
            named.setdefault(name, Node(id=name, state="Missing"))
    if around is None:
        linked = {name for edge in edges for name in (edge.source, edge.target)}
        alone = {str(each.ref) for each in survey.objects.values() if each.is_source}
        kept = linked | {name for name in named if name not in alone}
    else:
        kept = _connected(str(around), edges)
    return Graph(
        nodes=tuple(node for name, node in named.items() if name in kept),
        edges=tuple(edge for edge in edges if edge.source in kept and edge.target in kept),
    )


def troubled(graph: Graph) -> Graph:
    """Return what is not ready in a graph, with its neighbours."""
    sick = {each.id for each in graph.nodes if each.state != flux.State.READY}
    edges = tuple(each for each in graph.edges if sick & {each.source, each.target})
    kept = sick | {name for edge in edges for name in (edge.source, edge.target)}
    return Graph(nodes=tuple(each for each in graph.nodes if each.id in kept), edges=edges)


def mermaid(graph: Graph) -> str:
    """Return a graph as a Mermaid flowchart."""
    lines = ["flowchart LR"]
    lines += [f'  {_safe(each.id)}["{_label(each)}"]' for each in graph.nodes]
    for edge in graph.edges:
        arrow = {"dependsOn": "-. dependsOn .->", "applies": "-- applies -->"}.get(
            edge.relation, "-->"
        )
        lines.append(f"  {_safe(edge.source)} {arrow} {_safe(edge.target)}")
    for state, colour in _COLOURS.items():
        members = [_safe(each.id) for each in graph.nodes if each.state == state]
        if members:
            lines.append(f"  classDef {state} fill:{colour},stroke:#666")
            lines.append(f"  class {','.join(members)} {state}")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    """Return a graph for Graphviz."""
    lines = ["digraph flux {", "  rankdir=LR; node [shape=box, style=filled, fillcolor=white];"]
    for each in graph.nodes:
        colour = {str(key): value for key, value in _COLOURS.items()}.get(each.state, "white")
        lines.append(f'  "{each.id}" [fillcolor="{colour}"];')
    for edge in graph.edges:
        style = "dashed" if edge.relation == "dependsOn" else "solid"
        lines.append(
            f'  "{edge.source}" -> "{edge.target}" [label="{edge.relation}", style={style}];'
        )
    return "\n".join([*lines, "}"])


def _edges(survey: Survey) -> Iterator[Edge]:
    for obj in survey.objects.values():
        name = str(obj.ref)
        chart = survey.get(obj.chart) if obj.chart else None
        source = chart.ref if chart else obj.source
        if source is not None:
            yield Edge(source=str(source), target=name, relation="source")
        for needed in obj.depends_on:
            yield Edge(source=str(needed), target=name, relation="dependsOn")
        if obj.is_remote:
            continue
        for owned, _ in obj.inventory:
            ref = meta.ObjectRef(survey.cluster, owned.kind, owned.namespace, owned.name)
            if ref != obj.ref and survey.get(ref) is not None and flux.is_flux(owned.group):
                yield Edge(source=name, target=str(ref), relation="applies")


def _node(obj: FluxObject) -> Node:
    return Node(id=str(obj.ref), state=obj.state, revision=obj.revision)


def _connected(start: str, edges: Iterable[Edge]) -> set[str]:
    """Return everything an object needs, and everything that needs it, through any number."""
    edges = tuple(edges)
    found = {start}
    for ahead in (True, False):
        pending = [start]
        while pending:
            name = pending.pop()
            for edge in edges:
                here, there = (edge.source, edge.target) if ahead else (edge.target, edge.source)
                if here == name and there not in found:
                    found.add(there)
                    pending.append(there)
    return found


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name)


def _label(node: Node) -> str:
    kind, _, name = node.id.partition("/")
    return f"{kind}<br/>{name}<br/>{node.state}"
