"""Why an object is not ready: the first cause, what shows it, and what to do.

The walk goes where the trouble comes from: from an object to what applies it, from an applier to
its source or to what it depends on, from a failed health check to the workload, its pods and their
events. It ends at the first object that has nobody else to blame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from inspection import causes, flux, live, masking, workloads
from inspection.causes import Cause
from kube import health
from kube.objects import GVK, ObjectId

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from inspection.flux import FluxObject
    from inspection.survey import Survey
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.objects import JsonObject

_LONGEST: Final = 600
"""Characters of a message that is quoted."""
_UNHEALTHY: Final = re.compile(r"(?P<id>[A-Z]\w+(?:/[^\s/\[\],:]+){1,2}) status: '(?P<state>\w+)'")
_DEPENDENCY: Final = re.compile(r"dependency '(?P<namespace>[^/']+)/(?P<name>[^']+)'")
_HEALTH_REASONS: Final = frozenset(
    {
        meta.HEALTH_CHECK_FAILED,
        meta.HEALTH_CHECK_CANCELED,
        meta.PROGRESSING,
        meta.PROGRESSING_WITH_RETRY,
        "InstallFailed",
        "UpgradeFailed",
    }
)


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One object on the way to the cause."""

    id: str
    """``Kind/namespace/name``."""
    state: str
    reason: str = ""
    message: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Why an object is not ready."""

    object: str
    is_ready: bool
    cause: str
    """One of a fixed set of words, ``none`` where all is well."""
    at: str = ""
    """The object where the cause is."""
    summary: str
    evidence: tuple[str, ...] = ()
    """What shows it: messages of conditions, events and containers."""
    remedies: tuple[str, ...] = ()
    """What can be done, the likeliest first."""
    chain: tuple[Link, ...] = ()
    """The way from the object to the cause."""


@dataclass(slots=True)
class _Walk:
    """The way so far."""

    start: str
    chain: list[Link] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def enter(self, link: Link) -> bool:
        """Note an object; False where it was passed before."""
        if link.id in self.seen:
            return False
        self.seen.add(link.id)
        self.chain.append(link)
        return True

    def end(
        self,
        cause: Cause,
        summary: str,
        evidence: Iterable[str] = (),
        remedies: tuple[str, ...] = (),
    ) -> Diagnosis:
        """Say that this is where it comes from."""
        shown = tuple(_cut(each) for each in dict.fromkeys(evidence) if each)
        return Diagnosis(
            object=self.start,
            is_ready=False,
            cause=cause,
            at=self.chain[-1].id,
            summary=summary,
            evidence=shown,
            remedies=remedies or causes.remedies(cause),
            chain=tuple(self.chain),
        )


class Examiner:
    """Explains objects of one cluster.

    Args:
        client: the cluster.
        discovery: the same cluster's.
        survey: its Flux objects, read just now.
        now: the time, for what is given a grace period.
    """

    def __init__(
        self, client: Client, discovery: Discovery, survey: Survey, now: dt.datetime
    ) -> None:
        self._client, self._discovery = client, discovery
        self._survey, self._now = survey, now

    async def explain(self, obj: JsonObject) -> Diagnosis:
        """Return why an object is not ready; any kind of object."""
        if flux.is_flux(GVK.of(obj).group):
            found = flux.FluxObject(self._survey.cluster, obj)
            return await self._flux(_Walk(str(found.ref)), found)
        walk = _Walk(str(ObjectId.of(obj)))
        owner = flux.owner(obj.get("metadata") or {}, self._survey.cluster)
        applier = self._survey.get(owner) if owner else None
        state = health.assess(obj, self._now)
        if state.status is not health.State.CURRENT:
            return await self._plain(walk, obj)
        if applier is None or applier.state is flux.State.READY:
            return _well(walk.start, state.message)
        walk.enter(Link(id=walk.start, state=state.status, message=state.message))
        return await self._flux(walk, applier)

    # Flux objects -------------------------------------------------------------------------------

    async def _flux(self, walk: _Walk, obj: FluxObject) -> Diagnosis:
        """Explain a Flux object by the first of its troubles."""
        is_ready = obj.state is flux.State.READY
        link = Link(
            id=str(obj.ref),
            state=obj.state,
            reason=obj.reason,
            message="" if is_ready else _cut(obj.message),
        )
        if not walk.enter(link):
            text = f"{obj.ref} waits for itself: {' -> '.join(each.id for each in walk.chain)}"
            return walk.end(Cause.DEPENDENCY_CYCLE, text, [obj.message])
        suspended = self._suspended(walk, obj)
        if suspended is not None:
            return suspended
        found = await self._upstream(walk, obj)
        if found is not None:
            return found
        if is_ready and len(walk.chain) == 1:
            return _well(walk.start, obj.message)
        return await self._own(walk, obj)

    def _suspended(self, walk: _Walk, obj: FluxObject) -> Diagnosis | None:
        """Tell of an object that is suspended, or that is applied by one that is."""
        if obj.is_suspended:
            text = f"{obj.ref} is suspended, so nothing about it is brought up to date"
            by = obj.annotations.get("fluxcd.controlplane.io/suspendedBy")
            evidence = ["spec.suspend is true", f"suspended by {by}" if by else "", obj.message]
            return walk.end(Cause.SUSPENDED, text, evidence)
        owner = flux.owner(obj.metadata, self._survey.cluster)
        parent = self._survey.get(owner) if owner and owner != obj.ref else None
        if parent is None or not parent.is_suspended or obj.state is flux.State.READY:
            return None
        walk.enter(Link(id=str(parent.ref), state=parent.state, reason=parent.reason))
        text = (
            f"{parent.ref}, which applies {obj.ref}, is suspended: "
            "a correction in Git does not arrive"
        )
        evidence = [f"spec.suspend of {parent.ref} is true", f"{obj.ref}: {obj.message}"]
        return walk.end(Cause.SUSPENDED, text, evidence)

    async def _upstream(self, walk: _Walk, obj: FluxObject) -> Diagnosis | None:
        """Follow an object to its source and to what it depends on, where the trouble is there."""
        for ref in (obj.chart, obj.source):
            if ref is None:
                continue
            source = self._survey.get(ref)
            if source is None:
                if ref == obj.chart or ref.kind in self._survey.unread:
                    continue
                walk.enter(Link(id=str(ref), state="Missing"))
                text = f"{obj.ref} names the source {ref}, which is not there"
                return walk.end(Cause.SOURCE_MISSING, text, [obj.message])
            if source.state is not flux.State.READY:
                return await self._flux(walk, source)
        if obj.reason != meta.DEPENDENCY_NOT_READY:
            return None
        return await self._dependency(walk, obj)

    async def _dependency(self, walk: _Walk, obj: FluxObject) -> Diagnosis | None:
        """Follow an object to the dependency that it waits for."""
        named = _DEPENDENCY.search(obj.message)
        wanted = [
            ref
            for ref in obj.depends_on
            if named is None or (ref.namespace, ref.name) == (named["namespace"], named["name"])
        ]
        for ref in wanted:
            found = self._survey.get(ref)
            if found is None:
                walk.enter(Link(id=str(ref), state="Missing"))
                text = f"{obj.ref} depends on {ref}, which is not there"
                return walk.end(Cause.DEPENDENCY_MISSING, text, [obj.message])
            if found.state is not flux.State.READY:
                return await self._flux(walk, found)
        return None

    async def _own(self, walk: _Walk, obj: FluxObject) -> Diagnosis:
        """Explain an object whose sources and dependencies are well."""
        if not obj.ready:
            text = f"{obj.ref} was never reconciled: nobody serves it, or it is only just made"
            return walk.end(Cause.NOT_RECONCILED, text, [obj.message])
        if _is_about_health(obj):
            found = await self._unhealthy(walk, obj)
            if found is not None:
                return found
        meaning = causes.read(obj.message, obj.reason, is_source=obj.is_source)
        cause, remedies = meaning
        if obj.state is flux.State.PROGRESSING and cause in {Cause.UNKNOWN, Cause.SOURCE_FAILED}:
            cause, remedies = Cause.IN_PROGRESS, causes.remedies(Cause.IN_PROGRESS)
        text = f"{obj.ref}: {_first_line(obj.message)}"
        return walk.end(cause, text, [f"{obj.reason}: {obj.message}"], remedies)

    async def _unhealthy(self, walk: _Walk, obj: FluxObject) -> Diagnosis | None:
        """Follow a health check to the first object that is not well."""
        named = [match["id"] for match in _UNHEALTHY.finditer(obj.message)]
        by_name = {str(each): (each, version) for each, version in obj.inventory}
        wanted = [by_name[name] for name in named if name in by_name] or list(obj.inventory)
        wanted += _health_checks(obj)
        if obj.is_remote:
            return None
        bodies = await live.several(self._client, self._discovery, wanted)
        for body in bodies.values():
            if health.assess(body, self._now).status is health.State.CURRENT:
                continue
            if flux.is_flux(GVK.of(body).group):
                return await self._flux(walk, flux.FluxObject(self._survey.cluster, body))
            return await self._plain(walk, body)
        return None

    # Other objects ------------------------------------------------------------------------------

    async def _plain(self, walk: _Walk, obj: JsonObject) -> Diagnosis:
        """Explain an object that is no Flux object by its own state, its pods and their events."""
        state, name = health.assess(obj, self._now), str(ObjectId.of(obj))
        walk.enter(Link(id=name, state=state.status, message=_cut(state.message)))
        found = []
        if obj["kind"] in workloads.KINDS:
            found = await workloads.troubles(self._client, obj)
        told = [(causes.read(each.message, each.reason), each) for each in found]
        known = [(meaning, each) for meaning, each in told if meaning.cause is not Cause.UNKNOWN]
        evidence = [f"{name}: {state.message}"]
        evidence += [f"{each.where}: {each.reason}: {each.message}" for each in found]
        if not known:
            text = f"{name} is not healthy: {state.message}"
            return walk.end(Cause.FAILING_HEALTH, text, evidence)
        meaning, first = known[0]
        walk.enter(Link(id=first.where, state="Failed", reason=first.reason))
        text = f"{name} is not healthy because of {first.where}: {_first_line(first.message)}"
        return walk.end(meaning.cause, text, evidence, meaning.remedies)


def _is_about_health(obj: FluxObject) -> bool:
    """Tell whether an object waits, or waited in vain, for the health of what it applied."""
    if obj.reason not in _HEALTH_REASONS:
        return False
    waits = bool(obj.spec.get("wait") or obj.spec.get("healthChecks"))
    return waits or obj.reason == meta.HEALTH_CHECK_FAILED or obj.kind == "HelmRelease"


def _health_checks(obj: FluxObject) -> list[tuple[ObjectId, str]]:
    """Return the objects whose health is waited for by name."""
    found = []
    for each in obj.spec.get("healthChecks") or ():
        kind = live.gvk(str(each.get("apiVersion") or "apps/v1"), str(each["kind"]))
        name = ObjectId(str(each.get("namespace") or ""), each["name"], kind.group, kind.kind)
        found.append((name, kind.version))
    return found


def _well(name: str, message: str) -> Diagnosis:
    text = f"{name} is ready: {_first_line(message)}"
    return Diagnosis(object=name, is_ready=True, cause="none", summary=text)


def _first_line(message: str) -> str:
    return _cut(message.strip().partition("\n")[0])


def _cut(message: str) -> str:
    shown = masking.text(message)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
