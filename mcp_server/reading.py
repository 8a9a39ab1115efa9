"""The tools that read: objects, logs, metrics, versions, the state of Flux."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import orjson

from daemon import report as daemon_report
from inspection import events, flux, live, masking, podlogs, survey
from kube import crds, errors
from kube.objects import GVK, Resource
from mcp_server import enriching, shapes
from mcp_server.tool import Answer, Arguments, Result, Tool, about, shortened

if TYPE_CHECKING:
    from mcp_server.desk import Call, Site

JsonObject = dict[str, Any]
_POD_METRICS: Final = Resource(
    GVK("metrics.k8s.io", "v1beta1", "PodMetrics"), "pods", is_namespaced=True
)
_PAGE: Final = 30
_MOST_OBJECTS: Final = 500
_LINES: Final = 100
_MOST_LINES: Final = 5000
_CONTAINERS: Final = 100
_MOST_CONTAINERS: Final = 1000
_EVENTS: Final = 30
_MOST_EVENTS: Final = 500


# get_flux_instance ------------------------------------------------------------------------------


class Instance(Result, frozen=True, kw_only=True):
    """Flux in one cluster."""

    cluster: str
    instance: JsonObject | None = None
    """The FluxInstance."""
    daemon: JsonObject | None = None
    """What the gitopsd that serves the cluster says of itself; absent where none answers."""
    reconcilers: tuple[JsonObject, ...] = ()
    """For each kind how many objects are running, failing and suspended."""
    notes: tuple[str, ...] = ()


class NoArguments(Arguments, frozen=True, kw_only=True):
    """Nothing but the cluster."""


async def get_flux_instance(call: Call, args: NoArguments) -> Answer:
    """Report on Flux in a cluster: the FluxInstance, what serves it, and objects by state.

    Call this first when you come to a cluster you do not know.
    """
    site = await call.site(args.cluster)
    found = await call.survey(site)
    instances = found.of("FluxInstance")
    daemon = await _daemon(call, site)
    if daemon is None:
        call.notes.append("no gitopsd answers on this machine; what follows is the cluster's own")
    data = Instance(
        cluster=site.name,
        instance=shapes.whole(instances[0].raw) if instances else None,
        daemon=daemon,
        reconcilers=tuple(_counts(found)),
        notes=tuple(call.notes),
    )
    documents: list[JsonObject] = [data.instance] if data.instance else []
    summary = {"cluster": site.name, "reconcilers": list(data.reconcilers)}
    documents.append(summary | ({"gitopsd": daemon} if daemon else {}))
    head = "" if instances else "No Flux instance found: the objects are served without one.\n"
    notes = "".join(f"# {note}\n" for note in call.notes)
    return Answer(head + notes + shapes.yaml(documents), data)


async def _daemon(call: Call, site: Site) -> JsonObject | None:
    """Return what the daemon says of a cluster, and what it costs."""
    found = await call.desk.daemon()
    if found is None:
        return None
    states = [each for each in found.clusters if each.name == site.name]
    if not states:
        return None
    state = states[0]
    return {
        "version": found.version,
        "pid": found.pid,
        "memory": f"{found.memory_bytes / 2**20:.0f}Mi",
        "state": state.state,
        "message": state.message,
        "kubernetes": state.version,
        "kinds": [
            {"kind": each.kind, "mode": each.mode} | ({"why": each.reason} if each.reason else {})
            for each in state.kinds
        ],
    }


def _counts(found: survey.Survey) -> list[JsonObject]:
    counts: dict[str, dict[str, int]] = {}
    for obj in found.objects.values():
        stats = counts.setdefault(obj.kind, {"running": 0, "failing": 0, "suspended": 0})
        if obj.state is flux.State.SUSPENDED:
            stats["suspended"] += 1
        else:
            stats["running"] += 1
            stats["failing"] += obj.state is flux.State.FAILED
    return [{"kind": kind} | stats for kind, stats in counts.items()]


# get_kubernetes_api_versions --------------------------------------------------------------------


class ApiVersion(Result, frozen=True, kw_only=True):
    """A kind that a CustomResourceDefinition defines."""

    group: str
    kind: str
    version: str


class ApiVersions(Result, frozen=True, kw_only=True):
    """The custom kinds of a cluster."""

    versions: tuple[ApiVersion, ...]


async def get_kubernetes_api_versions(call: Call, args: NoArguments) -> Answer:
    """List the custom kinds of a cluster with the API version to use for each.

    Use it before you guess an apiVersion. Built-in kinds (v1, apps/v1, ...) are not listed.
    """
    site = await call.site(args.cluster)
    found = []
    async for page in site.client.list_pages(crds.RESOURCE):
        for item in orjson.loads(page)["items"] or ():
            stored = (item.get("status") or {}).get("storedVersions") or [""]
            spec = item["spec"]
            found.append(
                ApiVersion(group=spec["group"], kind=spec["names"]["kind"], version=stored[-1])
            )
    found.sort(key=lambda each: (each.group, each.kind))
    text = shapes.yaml(msgspec.to_builtins(each) for each in found)
    return Answer(shortened(text, "ask for one group"), ApiVersions(versions=tuple(found)))


# get_kubernetes_resources -----------------------------------------------------------------------


class ResourcesQuery(Arguments, frozen=True, kw_only=True):
    """Which objects."""

    apiVersion: Annotated[str, about("API version, such as apps/v1 or v1")]  # noqa: N815
    kind: Annotated[str, about("Kind, spelt as in a manifest: Deployment")]
    name: Annotated[
        str,
        about("Name of one object, which is shown whole; in every namespace where none is given"),
    ] = ""
    namespace: Annotated[str, about("Namespace; all of them where left out")] = ""
    selector: Annotated[str, about("Labels: key1=value1,key2=value2")] = ""
    limit: Annotated[
        int, msgspec.Meta(ge=0, description=f"Objects a page, {_MOST_OBJECTS} at most")
    ] = _PAGE
    fields: Annotated[
        tuple[str, ...], about("Only these paths, such as spec.path or status.conditions")
    ] = ()
    page: Annotated[str, about("What the last answer said as nextPage")] = ""
    full: Annotated[bool, about("Whole objects in a list, where summaries are not enough")] = False


class Resources(Result, frozen=True, kw_only=True):
    """Objects."""

    items: tuple[JsonObject, ...]
    next_page: str = ""
    """Ask for more with this as the argument page; absent at the end."""


async def get_kubernetes_resources(call: Call, args: ResourcesQuery) -> Answer:
    """Show objects of any kind: one whole object, or a list in short.

    Secrets are masked. A Flux object that is named carries its recent events in status.events, the
    state of its source in status.source and, a HelmRelease, its objects with their images in
    status.inventory. A list is summarised (readiness, revision, message); pass fields for
    particular paths, or full.
    """
    site = await call.site(args.cluster)
    served = await live.resource(site.discovery, args.apiVersion, args.kind)
    items, following = await _items(call, site, served, args)
    if args.fields:
        items = [shapes.chosen(each, args.fields) for each in items]
    if not items:
        where = f"in namespace {args.namespace}" if args.namespace else "in any namespace"
        return Answer(f"No resources found: no {args.kind} {where}", Resources(items=()))
    text = shortened(shapes.yaml(items), "pass fields, a smaller limit, or a name")
    if following:
        text += f"\n# there are more: call again with page={following!r}"
    return Answer(text, Resources(items=tuple(items), next_page=following))


async def _items(
    call: Call, site: Site, served: Resource, args: ResourcesQuery
) -> tuple[list[JsonObject], str]:
    """Return the objects that are asked for as they are shown, and what asks for the next ones."""
    if args.name:
        found = await live.named(site.client, served, args.namespace, args.name)
        return [await enriching.whole(call, site, each) for each in found], ""
    page = await live.page(
        site.client,
        served,
        live.Selection(args.namespace, args.selector),
        limit=min(args.limit or _PAGE, _MOST_OBJECTS),
        following=args.page,
    )
    is_short = not (args.full or args.fields)
    now = call.desk.clock.now()
    shown = [shapes.short(each, now) if is_short else shapes.whole(each) for each in page.items]
    return shown, page.following


# get_kubernetes_logs ----------------------------------------------------------------------------


class LogsQuery(Arguments, frozen=True, kw_only=True):
    """Which container."""

    pod_name: Annotated[str, about("Name of the pod")]
    container_name: Annotated[str, about("Name of the container")]
    pod_namespace: Annotated[str, about("Namespace of the pod")]
    limit: Annotated[
        int, msgspec.Meta(ge=0, description=f"The last lines, {_MOST_LINES} at most")
    ] = _LINES
    previous: Annotated[bool, about("Of the container before it was restarted")] = False


class Logs(Result, frozen=True, kw_only=True):
    """The last lines of a container."""

    pod: str
    namespace: str
    container: str
    logs: str


async def get_kubernetes_logs(call: Call, args: LogsQuery) -> Answer:
    """Show the last lines that a container wrote, without credentials that can be recognised."""
    site = await call.site(args.cluster)
    found = await podlogs.read(
        site.client,
        args.pod_namespace,
        args.pod_name,
        args.container_name,
        lines=min(args.limit or _LINES, _MOST_LINES),
        previous=args.previous,
    )
    data = Logs(
        pod=args.pod_name,
        namespace=args.pod_namespace,
        container=args.container_name,
        logs=found.text,
    )
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": args.pod_name, "namespace": args.pod_namespace},
        "container": args.container_name,
        "logs": found.text,
    }
    return Answer(shortened(shapes.yaml([document]), "ask for fewer lines"), data)


# get_kubernetes_metrics -------------------------------------------------------------------------


class MetricsQuery(Arguments, frozen=True, kw_only=True):
    """Which pods."""

    pod_namespace: Annotated[str, about("Namespace of the pods")]
    pod_name: Annotated[str, about("One pod")] = ""
    pod_selector: Annotated[str, about("Labels: key1=value1,key2=value2")] = ""
    limit: Annotated[
        int, msgspec.Meta(ge=0, description=f"Containers, {_MOST_CONTAINERS} at most")
    ] = _CONTAINERS


class Usage(Result, frozen=True, kw_only=True):
    """What one container uses."""

    pod: str
    namespace: str
    container: str
    cpu_usage: str
    mem_usage: str


class Metrics(Result, frozen=True, kw_only=True):
    """What containers use."""

    items: tuple[Usage, ...]


async def get_kubernetes_metrics(call: Call, args: MetricsQuery) -> Answer:
    """Show how much CPU and memory pods use now; needs metrics-server in the cluster."""
    site = await call.site(args.cluster)
    limit = min(args.limit or _CONTAINERS, _MOST_CONTAINERS)
    try:
        if args.pod_name:
            pods = [await site.client.get(_POD_METRICS, args.pod_namespace, args.pod_name)]
        else:
            wanted = live.Selection(args.pod_namespace, args.pod_selector)
            page = await live.page(site.client, _POD_METRICS, wanted, limit=limit)
            pods = page.items
    except errors.NotFound as err:
        raise errors.NotFound(
            404,
            "NotFound",
            f"no metrics: {err}. Is metrics-server installed? get_kubernetes_resources with "
            "apiVersion apiregistration.k8s.io/v1, kind APIService, name v1beta1.metrics.k8s.io "
            "tells",
        ) from err
    found = [
        Usage(
            pod=pod["metadata"]["name"],
            namespace=pod["metadata"].get("namespace", ""),
            container=each["name"],
            cpu_usage=each["usage"].get("cpu", ""),
            mem_usage=each["usage"].get("memory", ""),
        )
        for pod in pods
        for each in pod.get("containers") or ()
    ]
    data = Metrics(items=tuple(found[:limit]))
    return Answer(shapes.yaml([msgspec.to_builtins(data)]), data)


# get_events -------------------------------------------------------------------------------------


class EventsQuery(Arguments, frozen=True, kw_only=True):
    """Which events."""

    namespace: Annotated[str, about("Namespace; all of them where left out")] = ""
    kind: Annotated[str, about("Kind of the objects they are about")] = ""
    name: Annotated[str, about("Name of the object they are about")] = ""
    type: Annotated[Literal["", "Normal", "Warning"], about("Normal or Warning; both without")] = ""
    limit: Annotated[
        int, msgspec.Meta(ge=0, description=f"The newest ones, {_MOST_EVENTS} at most")
    ] = _EVENTS


class EventLine(Result, frozen=True, kw_only=True):
    """One event."""

    time: str
    type: str
    reason: str
    object: str
    message: str
    count: int = 1


class Events(Result, frozen=True, kw_only=True):
    """What happened, the newest last."""

    events: tuple[EventLine, ...]


async def get_events(call: Call, args: EventsQuery) -> Answer:
    """List what happened to objects in the last hour, the newest last."""
    site = await call.site(args.cluster)
    found = await events.listed(site.client, args.namespace, kind=args.kind, name=args.name)
    chosen = [each for each in found if not args.type or each.type == args.type]
    kept = chosen[-min(args.limit or _EVENTS, _MOST_EVENTS) :]
    lines = tuple(
        EventLine(
            time=each.when,
            type=each.type,
            reason=each.reason,
            object="/".join(
                filter(
                    None,
                    (
                        each.involved_object.kind,
                        each.involved_object.namespace,
                        each.involved_object.name,
                    ),
                )
            ),
            message=masking.text(daemon_report.short_revision(each.message)),
            count=each.count or 1,
        )
        for each in kept
    )
    text = "\n".join(
        f"{each.time} {each.type} {each.reason} {each.object}: {each.message}" for each in lines
    )
    return Answer(
        shortened(text or "no events; Kubernetes keeps them for an hour", "narrow it down"),
        Events(events=lines),
    )


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool("get_flux_instance", "Report on Flux", NoArguments, Instance, get_flux_instance),
    Tool(
        "get_kubernetes_api_versions",
        "List custom kinds",
        NoArguments,
        ApiVersions,
        get_kubernetes_api_versions,
    ),
    Tool(
        "get_kubernetes_resources",
        "Show objects",
        ResourcesQuery,
        Resources,
        get_kubernetes_resources,
    ),
    Tool("get_kubernetes_logs", "Show logs", LogsQuery, Logs, get_kubernetes_logs),
    Tool("get_kubernetes_metrics", "Show usage", MetricsQuery, Metrics, get_kubernetes_metrics),
    Tool("get_events", "List events", EventsQuery, Events, get_events),
)
"""Every tool of this module."""
