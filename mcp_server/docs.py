"""The tool that answers from the documents: ours, and the descriptions of every field."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from inspection import failure
from mcp_server import library
from mcp_server.tool import Answer, Arguments, Result, Tool, shortened

if TYPE_CHECKING:
    from mcp_server.desk import Call


_MOST_PAGES: Final = 20


class DocsQuery(Arguments, frozen=True, kw_only=True):
    """What to look for."""

    query: Annotated[str, msgspec.Meta(description="A few words, such as a field's name")]
    limit: Annotated[int, msgspec.Meta(ge=0, description=f"Pages, {_MOST_PAGES} at most")] = 1
    format: Annotated[
        Literal["", "concise", "complete"],
        msgspec.Meta(description="concise, the default: the beginnings of pages; or complete"),
    ] = "concise"


class Found(Result, frozen=True, kw_only=True):
    """One page."""

    title: str
    url: str
    """``docs://...``, which can be read as a resource."""
    score: float
    text: str


class Pages(Result, frozen=True, kw_only=True):
    """What was found, the best first."""

    pages: tuple[Found, ...]


async def search_flux_docs(call: Call, args: DocsQuery) -> Answer:
    """Search the documents of this version and the description of every field of every kind."""
    del call
    shelf = await asyncio.to_thread(library.shipped)
    hits = shelf.search(args.query, min(args.limit or 1, _MOST_PAGES))
    if not hits:
        raise failure.CommandError(
            "No documents found; try other words: a kind (Kustomization), a field (dependsOn), "
            "or a word of the message you saw"
        )
    is_whole = args.format == "complete"
    found = tuple(
        Found(
            title=hit.page.title,
            url=f"docs://{hit.page.place.removeprefix('docs/')}",
            score=round(hit.score, 2),
            text=hit.page.text if is_whole else hit.page.digest,
        )
        for hit in hits
    )
    text = "\n\n".join(
        f"# {each.title}\n**URL:** {each.url}\n**Score:** {each.score}\n\n{each.text}"
        for each in found
    )
    return Answer(shortened(text, "ask for fewer pages, or format concise"), Pages(pages=found))


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool("search_flux_docs", "Search the documents", DocsQuery, Pages, search_flux_docs),
)
"""Every tool of this module."""
