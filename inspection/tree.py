"""What a Flux object owns, and what the Flux objects among that own. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from api import meta
from inspection import flux
from kube import stages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.meta import ObjectRef
    from inspection.survey import Survey
    from kube.objects import ObjectId


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One object of a tree."""

    kind: str
    namespace: str = ""
    name: str
    group: str = ""
    version: str = ""
    state: str = ""
    """Of a Flux object: Ready, Failed, Progressing, Suspended or Unknown."""
    revision: str = ""
    note: str = ""
    """Why a Flux object is not entered."""
    children: tuple[Node, ...] = ()

    @property
    def title(self) -> str:
        """``Kind/namespace/name``."""
        return "/".join(filter(None, (self.kind, self.namespace, self.name)))


def build(survey: Survey, ref: ObjectRef, above: frozenset[ObjectRef] = frozenset()) -> Node:
    """Return the tree below an object.

    Args:
        survey: the cluster.
        ref: whose tree; one that is not in the survey is a leaf.
        above: the objects that lead here, which are not entered again.
    """
    obj = survey.get(ref)
    if obj is None:
        return Node(kind=ref.kind, namespace=ref.namespace, name=ref.name, note="not found")
    children: tuple[Node, ...] = ()
    note = ""
    if ref in above:
        note = "is above already"
    elif obj.is_remote:
        children = tuple(_leaf(each, version) for each, version in _in_order(obj))
        note = "its objects are in another cluster"
    else:
        entered = above | {ref}
        children = tuple(_below(survey, each, version, entered) for each, version in _in_order(obj))
    return Node(
        kind=obj.kind,
        namespace=obj.namespace,
        name=obj.name,
        group=obj.gvk.group,
        version=obj.gvk.version,
        state=obj.state,
        revision=obj.revision,
        note=note,
        children=children,
    )


def lines(node: Node) -> Iterator[str]:
    """Yield a line for each object below a node."""
    for number, child in enumerate(node.children, start=1):
        is_last = number == len(node.children)
        note = f" ({child.note})" if child.note else ""
        yield f"{'└──' if is_last else '├──'} {child.title}{note}"
        for line in lines(child):
            yield f"{'   ' if is_last else '│  '} {line}"


def pruned(node: Node, most: int) -> Node:
    """Return a tree of few enough objects: where there are more, what Flux objects own is left out.

    Args:
        node: whose tree.
        most: objects to leave whole; what the node itself owns stays however much it is.
    """
    if size(node) <= most:
        return node
    return msgspec.structs.replace(node, children=tuple(map(_folded, node.children)))


def _folded(node: Node) -> Node:
    """Return an object without what it owns, with a note of how much that is."""
    count = size(node)
    note = f"{count} objects below; ask for its own tree" if count else node.note
    return msgspec.structs.replace(node, children=(), note=note)


def size(node: Node) -> int:
    """Return how many objects are below a node."""
    return sum(1 + size(child) for child in node.children)


def _in_order(obj: flux.FluxObject) -> list[tuple[ObjectId, str]]:
    """Return what an object owns in the order of applying."""
    return sorted(
        obj.inventory,
        key=lambda entry: (stages.stage_of(entry[0], frozenset()), stages.sort_key(entry[0])),
    )


def _below(survey: Survey, obj: ObjectId, version: str, above: frozenset[ObjectRef]) -> Node:
    ref = meta.ObjectRef(survey.cluster, obj.kind, obj.namespace, obj.name)
    is_ours = flux.is_flux(obj.group) and survey.get(ref) is not None
    return build(survey, ref, above) if is_ours else _leaf(obj, version)


def _leaf(obj: ObjectId, version: str) -> Node:
    return Node(
        kind=obj.kind, namespace=obj.namespace, name=obj.name, group=obj.group, version=version
    )
