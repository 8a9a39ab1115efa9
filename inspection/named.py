"""One object by the words people have for it: Flux's kinds without asking, others by discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspection import kinds, live

if TYPE_CHECKING:
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.objects import JsonObject, Resource


async def resource(discovery: Discovery, kind: str, api_version: str = "") -> Resource:
    """Return how the kind is served that a word means.

    Args:
        discovery: the cluster's.
        kind: ``ks``, ``deploy``, ``Certificate``.
        api_version: of a kind that is neither Flux's nor well known.

    Raises:
        failure.CommandError: it is not served.
    """
    known = kinds.words().get(kind.lower())
    if known is not None and not api_version:
        return known.resource
    return await live.resource(discovery, api_version, live.proper(kind))


async def read(
    client: Client,
    discovery: Discovery,
    kind: str,
    name: str,
    namespace: str = "",
    api_version: str = "",
) -> JsonObject:
    """Return one whole object with its kind.

    Args:
        client: the cluster.
        discovery: the same cluster's.
        kind: a word for its kind.
        name: its name.
        namespace: its namespace; not looked at for a cluster-scoped kind.
        api_version: of a kind that is neither Flux's nor well known.

    Raises:
        failure.CommandError: it is not there, or its kind is not served.
    """
    served = await resource(discovery, kind, api_version)
    found = await live.get(client, served, namespace if served.is_namespaced else "", name)
    return {"apiVersion": served.gvk.api_version, "kind": served.gvk.kind} | found
