"""The tools that ask Flux to do something: reconcile, suspend, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from inspection import failure, flux, kinds, live, requests
from mcp_server.tool import Answer, Arguments, Result, Tool, about

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from kube.objects import JsonObject, Resource
    from mcp_server.desk import Call, Site

_OPERATORS: Final = "fluxcd.controlplane.io"
_SOURCE_WORDS: Final = "GitRepository, OCIRepository, Bucket, HelmChart or HelmRepository"


Name = Annotated[str, about("Name of the object")]
Namespace = Annotated[str, about("Namespace of the object")]


class Asked(Result, frozen=True, kw_only=True):
    """What was asked for."""

    objects: tuple[str, ...]
    """``Kind/namespace/name``, in the order of asking."""
    requested_at: str = ""
    """Done when ``status.lastHandledReconcileAt`` says this; wait_for waits for it."""
    message: str


class SourceQuery(Arguments, frozen=True, kw_only=True):
    """Which source."""

    kind: Annotated[str, about(f"Kind of the source: {_SOURCE_WORDS}")]
    name: Name
    namespace: Namespace


class ApplierQuery(Arguments, frozen=True, kw_only=True):
    """Which Kustomization."""

    name: Name
    namespace: Namespace
    with_source: Annotated[bool, about("Reconcile its source first")] = False


class ReleaseQuery(ApplierQuery, frozen=True, kw_only=True):
    """Which HelmRelease."""

    force: Annotated[bool, about("Install or upgrade even if nothing changed")] = True
    reset: Annotated[bool, about("Forget its failures, so that it tries again")] = False


class SetQuery(Arguments, frozen=True, kw_only=True):
    """Which ResourceSet."""

    name: Name
    namespace: Namespace


class SwitchQuery(Arguments, frozen=True, kw_only=True):
    """Which object."""

    apiVersion: Annotated[str, about("API version of the Flux object")]  # noqa: N815
    kind: Annotated[str, about("Kind of the Flux object")]
    name: Name
    namespace: Namespace


async def reconcile_flux_source(call: Call, args: SourceQuery) -> Answer:
    """Ask for a reconcile of a source: it is fetched anew now. Returns at once; see wait_for."""
    kind = kinds.find(args.kind)
    if kind not in kinds.sources():
        raise failure.UsageError(f"{kind.name} is no source; sources are {_SOURCE_WORDS}")
    site = await call.site(args.cluster)
    return await _reconcile(call, site, kind.resource, args.namespace, args.name)


async def reconcile_flux_kustomization(call: Call, args: ApplierQuery) -> Answer:
    """Ask for a reconcile of a Kustomization, of its source first if wanted. Returns at once."""
    site = await call.site(args.cluster)
    served = kinds.find("Kustomization").resource
    return await _with_source(call, site, served, args)


async def reconcile_flux_helmrelease(call: Call, args: ReleaseQuery) -> Answer:
    """Ask for a reconcile of a HelmRelease, of its source first if wanted. Returns at once."""
    site = await call.site(args.cluster)
    served = await live.resource(site.discovery, "helm.toolkit.fluxcd.io/v2", "HelmRelease")
    return await _with_source(call, site, served, args, force=args.force, reset=args.reset)


async def reconcile_flux_resourceset(call: Call, args: SetQuery) -> Answer:
    """Ask for a reconcile of a ResourceSet. Returns at once; see wait_for."""
    site = await call.site(args.cluster)
    served = await live.resource(site.discovery, _OPERATORS, "ResourceSet")
    return await _reconcile(call, site, served, args.namespace, args.name)


async def suspend_flux_reconciliation(call: Call, args: SwitchQuery) -> Answer:
    """Stop the reconciliation of a Flux object until it is resumed; Git is ignored meanwhile."""
    name = await _switch(call, args, is_suspended=True)
    text = f"Reconciliation of {name} suspended"
    return Answer(text, Asked(objects=(name,), message=text))


async def resume_flux_reconciliation(call: Call, args: SwitchQuery) -> Answer:
    """Resume the reconciliation of a suspended Flux object and ask for a run. Returns at once."""
    name = await _switch(call, args, is_suspended=False)
    text = f"Reconciliation of {name} resumed and started"
    return Answer(text, Asked(objects=(name,), message=text))


async def _switch(call: Call, args: SwitchQuery, *, is_suspended: bool) -> str:
    site = await call.site(args.cluster)
    served = await live.resource(site.discovery, args.apiVersion, args.kind)
    requests.check_is_flux(served.gvk)
    where = args.namespace if served.is_namespaced else ""
    name = f"{args.kind}/{where}/{args.name}"
    async with call.desk.writing(f"{site.name}: {name}"):
        await requests.suspend(site.client, served, where, args.name, is_suspended=is_suspended)
        if not is_suspended:
            await requests.reconcile(
                site.client, served, where, args.name, request=requests.token()
            )
    return name


async def _with_source(
    call: Call,
    site: Site,
    served: Resource,
    args: ApplierQuery,
    *,
    force: bool = False,
    reset: bool = False,
) -> Answer:
    """Reconcile an applier, and before it the source that it names."""
    first: tuple[str, ...] = ()
    if args.with_source:
        body = await live.get(site.client, served, args.namespace, args.name)
        first = await _source_first(call, site, served, body)
    answer = await _reconcile(
        call, site, served, args.namespace, args.name, force=force, reset=reset
    )
    data = answer.data
    if not isinstance(data, Asked) or not first:
        return answer
    return Answer(
        f"Reconciliation of {first[0]} requested, then: {answer.text}",
        msgspec.structs.replace(data, objects=(*first, *data.objects)),
    )


async def _source_first(
    call: Call, site: Site, served: Resource, body: JsonObject
) -> tuple[str, ...]:
    head = {"apiVersion": served.gvk.api_version, "kind": served.gvk.kind}
    source = flux.FluxObject(site.name, head | body).source
    if source is None:
        return ()
    kind = await _source_kind(site, source)
    await _reconcile(call, site, kind, source.namespace, source.name)
    return (str(source),)


async def _source_kind(site: Site, source: ObjectRef) -> Resource:
    return await live.resource(site.discovery, flux.SOURCE_GROUP, source.kind)


async def _reconcile(
    call: Call,
    site: Site,
    served: Resource,
    namespace: str,
    name: str,
    *,
    force: bool = False,
    reset: bool = False,
) -> Answer:
    title, request = f"{served.gvk.kind}/{namespace}/{name}", requests.token()
    async with call.desk.writing(f"{site.name}: {title}"):
        obj = await requests.reconcile(
            site.client, served, namespace, name, request=request, force=force, reset=reset
        )
    found = flux.FluxObject(site.name, {"kind": served.gvk.kind, "apiVersion": "x/v1"} | obj)
    text = f"Reconciliation of {title} requested at {request}"
    if found.is_suspended:
        text += "; it is SUSPENDED, so nothing happens until resume_flux_reconciliation"
    else:
        text += "; wait_for with the same kind, name and namespace waits for the result"
    return Answer(text, Asked(objects=(title,), requested_at=request, message=text))


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool(
        "reconcile_flux_source",
        "Reconcile a source",
        SourceQuery,
        Asked,
        reconcile_flux_source,
        writes=True,
    ),
    Tool(
        "reconcile_flux_kustomization",
        "Reconcile a Kustomization",
        ApplierQuery,
        Asked,
        reconcile_flux_kustomization,
        writes=True,
    ),
    Tool(
        "reconcile_flux_helmrelease",
        "Reconcile a HelmRelease",
        ReleaseQuery,
        Asked,
        reconcile_flux_helmrelease,
        writes=True,
        is_idempotent=False,
    ),
    Tool(
        "reconcile_flux_resourceset",
        "Reconcile a ResourceSet",
        SetQuery,
        Asked,
        reconcile_flux_resourceset,
        writes=True,
    ),
    Tool(
        "suspend_flux_reconciliation",
        "Suspend a Flux object",
        SwitchQuery,
        Asked,
        suspend_flux_reconciliation,
        writes=True,
    ),
    Tool(
        "resume_flux_reconciliation",
        "Resume a Flux object",
        SwitchQuery,
        Asked,
        resume_flux_reconciliation,
        writes=True,
    ),
)
"""Every tool of this module."""
