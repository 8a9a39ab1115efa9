"""Where an object comes from: who applied it, out of which source, at which commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from inspection import flux, live, masking, reach
from kube import errors
from kube.objects import GVK

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from inspection.flux import FluxObject
    from inspection.survey import Survey
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.objects import JsonObject

_MOST_STEPS: Final = 12
"""Owners of owners that are followed; circles of them exist."""


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One object on the way from an object back to Git."""

    role: str
    """``object``, ``controller`` (an ownerReference), ``applier`` or ``source``."""
    kind: str
    namespace: str = ""
    name: str
    state: str = ""
    revision: str = ""
    message: str = ""
    """Of the Ready condition, where it is not Ready."""
    url: str = ""
    path: str = ""
    """The directory of the source that an applier builds."""

    @property
    def title(self) -> str:
        """``Kind/namespace/name``."""
        return "/".join(filter(None, (self.kind, self.namespace, self.name)))


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The commit that an object's content is from."""

    sha: str
    author: str = ""
    time: str = ""
    subject: str = ""


class Trace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The way from an object back to Git."""

    steps: tuple[Step, ...]
    """The object first, its source last."""
    is_managed: bool
    """Whether a Flux object applied it."""
    revision: str = ""
    """The revision that was applied last."""
    commit: Commit | None = None
    reached: tuple[reach.Reached, ...] = ()
    """Of a source: who takes its content, and how far they are."""
    note: str = ""


async def of_object(
    client: Client,
    discovery: Discovery,
    survey: Survey,
    obj: JsonObject,
) -> Trace:
    """Trace an object; of its commit only the id is known here.

    Args:
        client: its cluster.
        discovery: the same cluster's.
        survey: the Flux objects of the cluster.
        obj: the object, whole.
    """
    steps, current = [_plain("object", obj)], obj
    for _ in range(_MOST_STEPS):
        if flux.owner(current.get("metadata") or {}, survey.cluster) is not None:
            break
        parent = await _parent(client, discovery, current)
        if parent is None:
            break
        steps.append(_plain("controller", parent))
        current = parent
    ref = _owner(survey, current)
    found = _managed(survey, steps, ref) if ref else _unmanaged(survey, steps, current)
    own = survey.get(_ref(survey, obj))
    if own is None or not own.is_source:
        return found
    return msgspec.structs.replace(found, reached=reach.of_source(survey, own))


def _owner(survey: Survey, obj: JsonObject) -> ObjectRef | None:
    """Return who applied an object; itself where it is a Flux object that nobody applied."""
    found = flux.owner(obj.get("metadata") or {}, survey.cluster)
    return None if found == _ref(survey, obj) else found


def _ref(survey: Survey, obj: JsonObject) -> ObjectRef:
    metadata = obj.get("metadata") or {}
    namespace = str(metadata.get("namespace") or "")
    return meta.ObjectRef(survey.cluster, obj["kind"], namespace, metadata["name"])


def _unmanaged(survey: Survey, steps: list[Step], obj: JsonObject) -> Trace:
    """Tell of an object that no other Flux object applied; it may be one with a source itself."""
    if flux.is_flux(GVK.of(obj).group):
        own = flux.FluxObject(survey.cluster, obj)
        steps[0] = _step("object", own)
        note = "nothing else applied it: it was made by hand, by an instance or by a command"
        steps += _to_source(survey, own)
        return _finished(steps, own, is_managed=False, note=note)
    note = "not managed by Flux: it has no owner label, and neither has anything that owns it"
    return Trace(steps=tuple(steps), is_managed=False, note=note)


def _managed(survey: Survey, steps: list[Step], ref: ObjectRef) -> Trace:
    found = survey.get(ref)
    if found is None:
        gone = Step(role="applier", kind=ref.kind, namespace=ref.namespace, name=ref.name)
        note = f"its labels name {ref}, which is not there any more"
        return Trace(steps=(*steps, gone), is_managed=False, note=note)
    steps.append(_step("applier", found))
    steps += _to_source(survey, found)
    return _finished(steps, found, is_managed=True)


def _finished(steps: list[Step], applier: FluxObject, *, is_managed: bool, note: str = "") -> Trace:
    origin = str(applier.status.get("lastAppliedOriginRevision") or "")
    revision = origin or applier.revision
    sha = sha_of(revision)
    return Trace(
        steps=tuple(steps),
        is_managed=is_managed,
        revision=revision,
        commit=Commit(sha=sha) if sha else None,
        note=note,
    )


def sha_of(revision: str) -> str:
    """Return the commit of a revision such as ``main@sha1:<hex>``; empty for another kind."""
    _, mark, sha = revision.rpartition("sha1:")
    return sha if mark and len(sha) == len("0" * 40) else ""


def _to_source(survey: Survey, obj: FluxObject) -> list[Step]:
    """Return the steps from an applier to its source: a HelmChart may lie in between."""
    steps: list[Step] = []
    chart = survey.get(obj.chart) if obj.chart else None
    for ref in (chart.ref if chart else None, obj.source):
        if ref is None:
            continue
        found = survey.get(ref)
        missing = Step(
            role="source", kind=ref.kind, namespace=ref.namespace, name=ref.name, state="Missing"
        )
        steps.append(_step("source", found) if found else missing)
        if found and found.kind == "HelmChart" and chart is None and found.source:
            steps += _to_source(survey, found)
    return steps


def _step(role: str, obj: FluxObject) -> Step:
    is_ready = obj.state is flux.State.READY
    return Step(
        role=role,
        kind=obj.kind,
        namespace=obj.namespace,
        name=obj.name,
        state=obj.state,
        revision=obj.revision,
        message="" if is_ready else masking.text(obj.message),
        url=masking.text(str(obj.spec.get("url") or obj.spec.get("endpoint") or "")),
        path=obj.path,
    )


def _plain(role: str, obj: JsonObject) -> Step:
    metadata = obj.get("metadata") or {}
    return Step(
        role=role,
        kind=str(obj["kind"]),
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata["name"]),
    )


async def _parent(client: Client, discovery: Discovery, obj: JsonObject) -> JsonObject | None:
    """Return the object that controls one, by its ownerReferences; None where none can be read."""
    metadata = obj.get("metadata") or {}
    references = metadata.get("ownerReferences") or ()
    chosen = next((each for each in references if each.get("controller")), None)
    chosen = chosen or next(iter(references), None)
    if chosen is None:
        return None
    try:
        served = await discovery.resource(live.gvk(chosen["apiVersion"], chosen["kind"]))
        namespace = str(metadata.get("namespace") or "") if served.is_namespaced else ""
        return await client.get(served, namespace, chosen["name"])
    except (errors.NotFound, errors.Forbidden):
        return None
