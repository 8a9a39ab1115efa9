"""Puts the tools, prompts and resources behind the protocol, whatever the transport.

Errors that a caller can do something about are results with ``isError`` and a text that says what
to try next; each begins with a word in brackets: ``invalid``, ``not-found``, ``forbidden``,
``refused``, ``unreachable``, ``failed``.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import mcp_types as types
import msgspec
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from api import __version__
from inspection import failure
from kube import errors
from kube.connection import AuthError
from mcp_server import documents, prompts, tool
from mcp_server.desk import Call, Session
from runtime.errors import GitOpsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from mcp.server.context import ServerRequestContext

    from mcp_server.desk import Desk

logger = logging.getLogger(__name__)

INSTRUCTIONS: Final = """\
This server watches and steers Kubernetes clusters that follow Git through gitopsd, which speaks \
Flux's API (Kustomization, HelmRelease, GitRepository, ...).
- Begin with list_clusters or get_flux_instance. With several clusters pass `cluster` to each tool.
- Something does not work: explain_not_ready, one call, for any kind of object.
- Where does this come from: trace. What belongs to it: get_tree. Who needs whom: dependency_graph.
- Before a change: plan_change. After one: wait_for. To undo one: rollback_hint.
- The truth is in Git. Objects that Flux manages are changed there; a write to one is refused and \
names the file. Values of Secrets are always masked.
- Lists are short; ask for fields, a name, or the next page for more."""
_INTERRUPTED: Final = "the call was interrupted; it may have been done or not"
_SESSION_HEADER: Final = "mcp-session-id"
_MOST_SESSIONS: Final = 1000
"""Clients whose choice of a cluster is remembered; the one longest unheard of is forgotten."""
_KNOWN: Final = (failure.CommandError, errors.ApiError, AuthError, GitOpsError, ValueError)


class Offer:
    """One server over any number of sessions.

    Args:
        desk: what calls share.
        tools: what is offered, by name.
    """

    def __init__(self, desk: Desk, tools: Mapping[str, tool.Tool[Any]]) -> None:
        self._desk, self._tools = desk, tools
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def server(self) -> Server[Desk]:
        """Return the protocol's side of it; it opens and closes the desk."""
        return Server(
            name="gitopsd",
            title="gitopsd",
            version=__version__,
            instructions=INSTRUCTIONS,
            lifespan=self._lifespan,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Server[Desk]) -> AsyncIterator[Desk]:
        async with self._desk:
            yield self._desk

    # Tools --------------------------------------------------------------------------------------

    async def _list_tools(
        self, ctx: ServerRequestContext[Desk, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del ctx, params
        return types.ListToolsResult(tools=[described(each) for each in self._tools.values()])

    async def _call_tool(
        self, ctx: ServerRequestContext[Desk, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        wanted = self._tools.get(params.name)
        given = dict(params.arguments or {})
        if wanted is None:
            known = ", ".join(self._tools)
            return _failed(f"[invalid] there is no tool {params.name!r}; there are: {known}")
        call = self._call(ctx)
        if not wanted.writes:
            return (await run(wanted, call, given)).result
        return await self._noted(wanted, call, given)

    async def _noted(
        self, wanted: tool.Tool[Any], call: Call, given: dict[str, Any]
    ) -> types.CallToolResult:
        """Run a tool that writes, and note it however it ends."""
        shown = given | {"cluster": self._cluster(call, given)}
        done = Done(_failed(_INTERRUPTED), "interrupted")
        try:
            done = await run(wanted, call, given)
            return done.result
        finally:
            if self._desk.audit is not None:
                text = _text_of(done.result)
                self._desk.audit.note(call.who, wanted.name, shown, done.outcome, text)

    def _cluster(self, call: Call, given: Mapping[str, Any]) -> str:
        """Return the cluster that a call means, as far as that can be told."""
        known = self._desk.settings.clusters
        only = known[0].name if len(known) == 1 else ""
        return str(given.get("cluster") or call.session.cluster or only)

    def _call(self, ctx: ServerRequestContext[Desk, Any]) -> Call:
        """Return the context of one call."""

        async def progress(done: float, total: float | None, message: str) -> None:
            await ctx.session.report_progress(done, total, message)

        info = ctx.session.client_params.client_info if ctx.session.client_params else None
        who = f"{info.name} {info.version}" if info else "unknown client"
        return Call(self._desk, self._session(ctx), progress, who)

    def _session(self, ctx: ServerRequestContext[Desk, Any]) -> Session:
        """Return what the client of a call chose: over standard input there is one client only.

        Over HTTP the session's header tells clients apart. One without it has no session, and what
        it chooses ends with the call.
        """
        name = ctx.request.headers.get(_SESSION_HEADER) if ctx.request is not None else "the one"
        if name is None:
            return Session(lasts=False)
        found = self._sessions.setdefault(name, Session())
        self._sessions.move_to_end(name)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return found

    # Prompts ------------------------------------------------------------------------------------

    async def _list_prompts(
        self, ctx: ServerRequestContext[Desk, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        del ctx, params
        found = [
            types.Prompt(
                name=each.name,
                title=each.title,
                description=each.description,
                arguments=[
                    types.PromptArgument(
                        name=one.name, description=one.description, required=one.is_required
                    )
                    for one in each.arguments
                ],
            )
            for each in prompts.PROMPTS
        ]
        return types.ListPromptsResult(prompts=found)

    async def _get_prompt(
        self, ctx: ServerRequestContext[Desk, Any], params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        del ctx
        found = prompts.BY_NAME.get(params.name)
        if found is None:
            known = ", ".join(prompts.BY_NAME)
            raise MCPError(types.INVALID_PARAMS, f"no prompt {params.name!r}; there are: {known}")
        try:
            text = found.render(dict(params.arguments or {}))
        except ValueError as err:
            raise MCPError(types.INVALID_PARAMS, str(err)) from err
        message = types.PromptMessage(
            role="user", content=types.TextContent(type="text", text=text)
        )
        return types.GetPromptResult(description=found.description, messages=[message])

    # Resources ----------------------------------------------------------------------------------

    async def _list_resources(
        self, ctx: ServerRequestContext[Desk, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        del params
        found = await documents.listed(self._call(ctx))
        return types.ListResourcesResult(
            resources=[
                types.Resource(
                    uri=each.uri, name=each.name, description=each.description, mime_type=each.mime
                )
                for each in found
            ]
        )

    async def _list_templates(
        self, ctx: ServerRequestContext[Desk, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        del ctx, params
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=each.uri,
                    name=each.name,
                    description=each.description,
                    mime_type=each.mime,
                )
                for each in documents.TEMPLATES
            ]
        )

    async def _read_resource(
        self, ctx: ServerRequestContext[Desk, Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        try:
            text, mime = await documents.read(self._call(ctx), uri)
        except _KNOWN as err:
            raise MCPError(types.INVALID_PARAMS, explained(err)) from err
        content = types.TextResourceContents(uri=uri, mime_type=mime, text=text)
        return types.ReadResourceResult(contents=[content])


class Done(NamedTuple):
    """What became of a call."""

    result: types.CallToolResult
    outcome: str
    """For the audit log: ``done``, ``refused``, ``failed`` or ``interrupted``."""


async def run(wanted: tool.Tool[Any], call: Call, given: dict[str, Any]) -> Done:
    """Call a tool and return its result; what a caller can mend is a result too."""
    try:
        answer = await wanted.run(call, wanted.decode(given))
    except _KNOWN as err:
        return _ended(err)
    except ExceptionGroup as group:
        error = group.exceptions[0]
        if not isinstance(error, _KNOWN):
            raise
        return _ended(error)
    notes = "".join(f"\n# {note}" for note in call.notes)
    result = types.CallToolResult(
        content=[types.TextContent(type="text", text=answer.text + notes)],
        structured_content=msgspec.to_builtins(answer.data),
    )
    return Done(result, "done")


def _ended(error: BaseException) -> Done:
    is_refused = isinstance(error, failure.RefusedError | failure.UsageError | ValueError)
    return Done(_failed(explained(error)), "refused" if is_refused else "failed")


def described(each: tool.Tool[Any]) -> types.Tool:
    """Return what clients are told of a tool."""
    return types.Tool(
        name=each.name,
        title=each.title,
        description=each.description,
        input_schema=tool.schema(each.arguments),
        output_schema=tool.schema(each.result),
        annotations=types.ToolAnnotations(
            title=each.title,
            read_only_hint=not each.writes,
            destructive_hint=each.destroys,
            idempotent_hint=each.is_idempotent,
            open_world_hint=each.reaches_out,
        ),
    )


def explained(error: BaseException) -> str:
    """Return an error in words, with its kind and what to try next."""
    match error:
        case failure.UsageError() | ValueError():
            return f"[invalid] {error}"
        case errors.Unreachable():
            return f"[unreachable] {error}; list_clusters tells which clusters answer"
        case errors.Unauthorized() | AuthError():
            return f"[forbidden] {error}; the credentials in the kubeconfig are not accepted"
        case errors.Forbidden() | failure.DeniedError():
            return (
                f"[forbidden] {error}; this user may not do that: use another tool, another "
                "namespace, or ask for the right"
            )
        case errors.NotFound():
            return f"[not-found] {error}; list the kind to see what there is"
        case failure.MissingError():
            return f"[not-found] {error}"
        case failure.RefusedError():
            return f"[refused] {error}"
        case _:
            return f"[failed] {error}"


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _text_of(result: types.CallToolResult) -> str:
    return "\n".join(each.text for each in result.content if isinstance(each, types.TextContent))
