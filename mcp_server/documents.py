"""What can be read as a resource: live objects, and the documents of this version.

``flux://{cluster}/{kind}/{namespace}/{name}`` is an object, ``flux://{cluster}`` the list of its
Flux objects, ``docs://{page}`` a page.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from inspection import failure, survey
from mcp_server import exploring, library, shapes

if TYPE_CHECKING:
    from mcp_server.desk import Call


class Document(NamedTuple):
    """Something to read."""

    uri: str
    name: str
    description: str
    mime: str = "text/markdown"


YAML: Final = "application/yaml"
TEMPLATES: Final = (
    Document(
        "flux://{cluster}/{kind}/{namespace}/{name}",
        "object",
        "A live object of any kind, masked, as YAML",
        YAML,
    ),
    Document("flux://{cluster}", "cluster", "The Flux objects of a cluster in short", YAML),
    Document("docs://{page}", "page", "A page of the documents, or crd/{kind} for its fields"),
)


async def listed(call: Call) -> list[Document]:
    """Return what there is to read: each cluster, and each page."""
    found = [
        Document(f"flux://{each.name}", each.name, f"Flux objects of {each.name}", YAML)
        for each in call.desk.settings.clusters
    ]
    shelf = await asyncio.to_thread(library.shipped)
    places = dict.fromkeys(page.place.removeprefix("docs/") for page in shelf.pages)
    found += [Document(f"docs://{place}", place, f"Document {place}") for place in places]
    return found


async def read(call: Call, uri: str) -> tuple[str, str]:
    """Return the text of a resource and its MIME type.

    Raises:
        failure.CommandError: there is no such thing.
    """
    parts = urlsplit(uri)
    if parts.scheme == "docs":
        return await _page(f"{parts.netloc}{parts.path}"), "text/markdown"
    if parts.scheme == "flux":
        names = [unquote(each) for each in parts.path.split("/") if each]
        return await _object(call, parts.netloc, names), YAML
    raise failure.CommandError(f"{uri} is no resource; they begin with flux:// or docs://")


async def _page(place: str) -> str:
    shelf = await asyncio.to_thread(library.shipped)
    wanted = {place, f"docs/{place}"}
    found = [page for page in shelf.pages if page.place in wanted]
    if not found:
        raise failure.CommandError(f"there is no document {place!r}; resources/list names them")
    return "\n\n".join(f"# {page.title}\n\n{page.text}" for page in found)


async def _object(call: Call, cluster: str, names: list[str]) -> str:
    site = await call.desk.site(cluster)
    if not names:
        found = await survey.take(site.client)
        now = call.desk.clock.now()
        return shapes.yaml(shapes.short(each.raw, now) for each in found.objects.values())
    if len(names) not in {2, 3}:
        raise failure.CommandError("an object is flux://cluster/kind/namespace/name")
    kind, *where = names
    query = exploring.Named(
        cluster=cluster, kind=kind, name=where[-1], namespace=where[0] if where[1:] else ""
    )
    return shapes.yaml([shapes.whole(await exploring.body_of(site, query))])
