"""One object by the words people have for it: Flux's kinds without asking, others by discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspection import kinds, live, served

if TYPE_CHECKING:
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.objects import JsonObject, Resource


async def resource(
    client: Client, discovery: Discovery, kind: str, api_version: str = ""
) -> Resource:
    """Return how the kind is served that a word means.

    Args:
        client: the cluster.
        discovery: the same cluster's.
        kind: ``ks``, ``deploy``, ``Certificate``.
        api_version: of a kind whose name several groups have.

    Raises:
        failure.CommandError: it is not served.
    """
    known = kinds.words().get(kind.lower())
    if known is not None and not api_version:
        return known.resource
    proper = live.proper(kind)
    if api_version or live.is_well_known(proper):
        return await live.resource(discovery, api_version, proper)
    return await served.find(client, kind)


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
        api_version: of a kind whose name several groups have.

    Raises:
        failure.CommandError: it is not there, or its kind is not served.
    """
    found = await resource(client, discovery, kind, api_version)
    body = await live.get(client, found, namespace if found.is_namespaced else "", name)
    return {"apiVersion": found.gvk.api_version, "kind": found.gvk.kind} | body
