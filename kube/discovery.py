"""Which kinds an API server serves, and under which paths.

Asked one group and version at a time and only for what is used: a cluster with hundreds of custom
kinds costs nothing more, and an aggregated API that is down harms nobody else. A miss asks again,
but not more than once in `RETRY_S` for the same group, since a kind that is missing is usually
missing for every object of a revision.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from kube import errors
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from kube.client import Client
    from runtime.clock import Clock

RETRY_S: Final = 3.0
"""Seconds for which "not served" is believed; `Discovery.invalidate` ends it at once."""


class _Served(meta.Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = False
    verbs: tuple[str, ...] = ()


class _Resources(meta.Struct, frozen=True):
    resources: tuple[_Served, ...] = ()


class _Version(meta.Struct, frozen=True):
    version: str


class _Group(meta.Struct, frozen=True):
    versions: tuple[_Version, ...] = ()
    preferred_version: _Version | None = None


class _CoreVersions(meta.Struct, frozen=True):
    versions: tuple[str, ...] = ()


_RESOURCES = msgspec.json.Decoder(_Resources)
_GROUP = msgspec.json.Decoder(_Group)
_CORE_VERSIONS = msgspec.json.Decoder(_CoreVersions)


class Discovery:
    """Maps kinds to resources, for one cluster.

    Holds one small record for each kind of each group and version that was asked for; there is no
    other bound, as the set of groups in use is small and a restart of the cluster clears it.

    Args:
        client: the cluster's.
        clock: says when a miss is old enough to ask again.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._resources: dict[tuple[str, str], dict[str, Resource]] = {}
        self._versions: dict[str, tuple[str, ...]] = {}
        self._asked: dict[tuple[str, str], float] = {}

    async def resource(self, gvk: GVK) -> Resource:
        """Return how a kind is served.

        Raises:
            NoMatch: it is not; the message is Flux's.
            ApiError: the server did not say.
        """
        key = gvk.group, gvk.version
        found = self._resources.get(key, {}).get(gvk.kind)
        if found is None:
            async with self._lock:
                if gvk.kind not in self._resources.get(key, {}) and self._may_ask(key):
                    self._resources[key] = await self._read_resources(gvk.group, gvk.version)
                found = self._resources.get(key, {}).get(gvk.kind)
        if found is None:
            raise errors.NoMatch(gvk.kind, gvk.api_version)
        return found

    async def for_group_kind(self, group: str, kind: str, version_hint: str = "") -> Resource:
        """Return how a kind is served, in whichever version.

        Args:
            group: its API group; empty for the core.
            kind: its kind.
            version_hint: taken if the server serves the kind in it; else the server's preferred.

        Raises:
            NoMatch: no version serves it.
            ApiError: the server did not say.
        """
        versions = await self._group_versions(group)
        hinted = [version_hint] if version_hint else []
        for version in dict.fromkeys([*hinted, *versions]):
            if version in versions:
                try:
                    return await self.resource(GVK(group, version, kind))
                except errors.NoMatch:
                    continue
        raise errors.NoMatch(kind, GVK(group, version_hint or "*", kind).api_version)

    def invalidate(self, group: str | None = None) -> None:
        """Forget what is known, e.g. because a definition was just applied.

        Args:
            group: of this group only; None for all.
        """
        if group is None:
            self._resources.clear()
            self._versions.clear()
            self._asked.clear()
            return
        self._versions.pop(group, None)
        for known in (self._resources, self._asked):
            for key in [key for key in known if key[0] == group]:
                del known[key]

    async def _group_versions(self, group: str) -> tuple[str, ...]:
        async with self._lock:
            if not self._versions.get(group) and self._may_ask((group, "")):
                self._versions[group] = await self._read_versions(group)
            return self._versions.get(group, ())

    def _may_ask(self, key: tuple[str, str]) -> bool:
        now = self._clock.monotonic()
        if now - self._asked.get(key, -RETRY_S) < RETRY_S:
            return False
        self._asked[key] = now
        return True

    async def _read_resources(self, group: str, version: str) -> dict[str, Resource]:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            body = await self._client.get_raw(path)
        except errors.NotFound:
            return {}
        return {
            served.kind: Resource(
                GVK(group, version, served.kind),
                served.name,
                served.namespaced,
                frozenset(served.verbs),
            )
            for served in _RESOURCES.decode(body).resources
            if "/" not in served.name
        }

    async def _read_versions(self, group: str) -> tuple[str, ...]:
        if not group:
            return _CORE_VERSIONS.decode(await self._client.get_raw("/api")).versions
        try:
            answer = _GROUP.decode(await self._client.get_raw(f"/apis/{group}"))
        except errors.NotFound:
            return ()
        preferred = [answer.preferred_version.version] if answer.preferred_version else []
        return tuple(dict.fromkeys([*preferred, *(each.version for each in answer.versions)]))
