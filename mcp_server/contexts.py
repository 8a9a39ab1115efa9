"""The tools that choose a cluster, as the operator's; here the choice is the session's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec

from inspection import clusters, failure
from mcp_server import shapes
from mcp_server.reading import NoArguments
from mcp_server.tool import Answer, Arguments, Result, Tool

if TYPE_CHECKING:
    from mcp_server.desk import Call


class Context(Result, frozen=True, kw_only=True):
    """One cluster of ``config.toml``, by the words of a kubeconfig."""

    cluster: str
    context: str
    current: bool


class Contexts(Result, frozen=True, kw_only=True):
    """Every cluster."""

    contexts: tuple[Context, ...]


class Chosen(Result, frozen=True, kw_only=True):
    """What was chosen."""

    cluster: str
    message: str


class ContextQuery(Arguments, frozen=True, kw_only=True):
    """Which cluster."""

    name: Annotated[str, msgspec.Meta(description="Name of the cluster, or of its context")]
    segments: ClassVar[frozenset[str]] = frozenset()
    """A context may be called anything."""


async def get_kubeconfig_contexts(call: Call, args: NoArguments) -> Answer:
    """List the clusters with their kubeconfig contexts and which one this session works on.

    Every tool takes the argument cluster too, so there is no need to switch back and forth.
    """
    del args
    found = call.desk.settings.clusters
    current = call.session.cluster or (found[0].name if len(found) == 1 else "")
    contexts = tuple(
        Context(cluster=each.name, context=each.context or each.name, current=each.name == current)
        for each in found
    )
    text = shapes.yaml(msgspec.to_builtins(each) for each in contexts)
    return Answer(
        text or "no clusters: config.toml has no [[clusters]]", Contexts(contexts=contexts)
    )


async def set_kubeconfig_context(call: Call, args: ContextQuery) -> Answer:
    """Choose the cluster that this session works on where a call names none.

    No other session notices. A single call is better served by its argument cluster.
    """
    found = call.desk.settings.clusters
    named = [each for each in found if args.name in {each.name, each.context}]
    if not named:
        clusters.named(call.desk.settings, args.name, str(call.desk.config))
    if not call.session.lasts:
        raise failure.CommandError(
            "this connection has no session that could remember it: pass "
            f"cluster={named[0].name!r} to each tool"
        )
    if len(named) > 1:
        raise failure.UsageError(f"several clusters have the context {args.name!r}: name one")
    call.session.cluster = named[0].name
    message = f"Context changed to {named[0].name}"
    return Answer(message, Chosen(cluster=named[0].name, message=message))


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool(
        "get_kubeconfig_contexts", "List contexts", NoArguments, Contexts, get_kubeconfig_contexts
    ),
    Tool(
        "set_kubeconfig_context", "Choose a context", ContextQuery, Chosen, set_kubeconfig_context
    ),
)
"""Every tool of this module."""
