"""Every kind that a cluster serves, by the words that people and kubectl have for it.

Asked in two requests, which is what aggregated discovery is for; a server older than Kubernetes
1.26 knows none of that, and then a kind is found by its API version alone.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from inspection import failure
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kube.client import Client

_ACCEPT: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
_NEAREST: Final = 3


class _Name(meta.Struct, frozen=True):
    name: str = ""


class _Kind(meta.Struct, frozen=True):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Resource(meta.Struct, frozen=True):
    resource: str = ""
    response_kind: _Kind = _Kind()
    scope: str = ""
    singular_resource: str = ""
    short_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()


class _Version(meta.Struct, frozen=True):
    version: str = ""
    resources: tuple[_Resource, ...] = ()


class _Group(meta.Struct, frozen=True):
    metadata: _Name = _Name()
    versions: tuple[_Version, ...] = ()


class _Groups(meta.Struct, frozen=True):
    items: tuple[_Group, ...] = ()


_GROUPS: Final = msgspec.json.Decoder(_Groups)


async def find(client: Client, word: str) -> Resource:
    """Return the kind that a word means, in the version that the server prefers.

    Args:
        client: the cluster.
        word: a kind, a plural, or a short name, in any case.

    Raises:
        failure.UsageError: none, with the nearest words; or kinds of several groups.
    """
    known = await words(client)
    found = list(known.get(word.lower(), ()))
    if len(found) > 1:
        versions = ", ".join(sorted(each.gvk.api_version for each in found))
        raise failure.UsageError(
            f"{word!r} means kinds of several groups; say which by its API version: {versions}"
        )
    if not found:
        near = difflib.get_close_matches(word.lower(), known, n=_NEAREST)
        names = dict.fromkeys(each.gvk.kind for name in near for each in known[name])
        hint = f"did you mean {' or '.join(names)}?" if names else "give its API version too"
        raise failure.UsageError(f"{word!r} names no kind that the cluster serves; {hint}")
    return found[0]


async def words(client: Client) -> dict[str, set[Resource]]:
    """Return every word in lower case with the kinds that it means, one for each group."""
    found: dict[str, set[Resource]] = {}
    for path in ("/api", "/apis"):
        body = await client.get_raw(path, accept=_ACCEPT)
        for group in _GROUPS.decode(body).items:
            for each, names in _of_group(group):
                for name in names:
                    found.setdefault(name.lower(), set()).add(each)
    return found


def _of_group(group: _Group) -> Iterator[tuple[Resource, tuple[str, ...]]]:
    """Yield each kind of a group with its words, by the first version that serves it."""
    seen = set()
    for version in group.versions:
        for each in version.resources:
            kind = each.response_kind.kind
            if kind in seen or "list" not in each.verbs:
                continue
            seen.add(kind)
            names = (kind, each.resource, each.singular_resource, *each.short_names)
            gvk = GVK(group.metadata.name, version.version, kind)
            is_namespaced = each.scope == "Namespaced"
            resource = Resource(gvk, each.resource, is_namespaced, frozenset(each.verbs))
            yield resource, tuple(filter(None, names))
