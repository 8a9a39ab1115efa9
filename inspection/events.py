"""Kubernetes Events, as far as they are shown: what happened to objects in the last hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from kube.client import Client

EVENTS: Final = Resource(GVK("", "v1", "Event"), "events", is_namespaced=True)


class Involved(meta.Struct, frozen=True, kw_only=True):
    """The object that an event is about."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""


class Event(meta.Struct, frozen=True, kw_only=True):
    """A Kubernetes Event."""

    involved_object: Involved = Involved()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None

    @property
    def when(self) -> str:
        """When it happened last, RFC 3339."""
        return self.last_timestamp or self.event_time or self.first_timestamp or ""


class _Page(meta.Struct, frozen=True, kw_only=True):
    items: tuple[Event, ...] = ()


_PAGE = msgspec.json.Decoder(_Page)


async def listed(
    client: Client, namespace: str = "", *, kind: str = "", name: str = "", reason: str = ""
) -> list[Event]:
    """Return the events of a namespace, the newest last.

    Args:
        client: the cluster.
        namespace: of one namespace; empty for all.
        kind: about objects of this kind only.
        name: about objects of this name only.
        reason: with this reason only.
    """
    fields = {"involvedObject.kind": kind, "involvedObject.name": name, "reason": reason}
    selector = ",".join(f"{key}={value}" for key, value in fields.items() if value)
    pages = client.list_pages(EVENTS, namespace=namespace, field_selector=selector)
    found = [event async for page in pages for event in _PAGE.decode(page).items]
    return sorted(found, key=lambda event: event.when)
