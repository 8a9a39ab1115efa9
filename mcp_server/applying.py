"""The tools that write objects: apply a manifest, delete an object, install an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson

from api import crds as definitions
from api import durations
from inspection import failure, live, remote_artifact, remote_file
from kube import crds, errors, manifests, stages
from kube.objects import GVK, ObjectId
from mcp_server import guard, waiting
from mcp_server.tool import Answer, Arguments, Result, Tool, about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kube.objects import JsonObject, Resource
    from mcp_server.desk import Call, Site

MANAGER: Final = "kubectl-flux-mcp"
"""Field manager of applied manifests. Flux takes fields of managers that begin so back to what Git
says, which is what should become of an agent's hand edit."""
_MOST_OBJECTS: Final = 200


class ApplyQuery(Arguments, frozen=True, kw_only=True):
    """What to apply."""

    yaml_content: Annotated[str, about("One or more manifests as YAML")]
    overwrite: Annotated[bool, about("Write to objects that Flux manages too")] = False


class DeleteQuery(Arguments, frozen=True, kw_only=True):
    """What to delete."""

    apiVersion: Annotated[str, about("API version of the object")]  # noqa: N815
    kind: Annotated[str, about("Kind of the object")]
    name: Annotated[str, about("Name of the object")]
    namespace: Annotated[str, about("Namespace; none for a cluster-scoped kind")] = ""
    force: Annotated[bool, about("Delete an object that Flux manages too")] = False


class InstallQuery(Arguments, frozen=True, kw_only=True):
    """Which instance."""

    instance_url: Annotated[
        str,
        about(
            "Address of a FluxInstance manifest: https://, a page of GitHub, GitLab or Gist, or "
            "oci://registry/repository:tag#path"
        ),
    ]
    timeout: Annotated[str, about("How long to wait until it is ready")] = "5m"


class Changed(Result, frozen=True, kw_only=True):
    """What was written."""

    changes: tuple[str, ...]
    """``Kind/namespace/name created``, ``configured``, ``unchanged`` or ``deleted``."""


async def apply_kubernetes_manifest(call: Call, args: ApplyQuery) -> Answer:
    """Apply manifests server-side, all of them tried before the first is written.

    Objects that Flux manages are refused: change them in Git, the answer says where. plan_change
    shows what an apply would do.
    """
    site = await call.site(args.cluster)
    documents = parse(args.yaml_content)
    async with call.desk.writing(f"cluster {site.name}"):
        wanted = [await _located(site, each) for each in documents]
        if not args.overwrite:
            for served, body in wanted:
                await _refuse_managed(call, site, served, body)
        for served, body in wanted:
            await _send(site, served, body, dry_run=True, may_miss=_promised(documents))
        changes = [await _send(site, served, body) for served, body in wanted]
    told = tuple(each for each in changes if each)
    return Answer("\n".join(told), Changed(changes=told))


def parse(text: str) -> list[JsonObject]:
    """Return the manifests of a YAML text in the order of applying; a List is opened.

    Raises:
        failure.UsageError: it is no YAML, or a document is no Kubernetes object.
    """
    try:
        documents = [each for each in manifests.load_all(text) if each is not None]
    except manifests.ManifestError as err:
        raise failure.UsageError(f"yaml_content: {err}") from err
    found: list[JsonObject] = []
    for number, each in enumerate(documents, start=1):
        is_list = isinstance(each, dict) and isinstance(each.get("items"), list)
        for body in each["items"] if is_list else [each]:
            if not _is_object(body):
                raise failure.UsageError(
                    f"yaml_content: document {number} is no Kubernetes object: it needs "
                    "apiVersion, kind and metadata.name"
                )
            found.append(body)
    if not found:
        raise failure.UsageError("yaml_content holds no manifest")
    if len(found) > _MOST_OBJECTS:
        raise failure.UsageError(f"{len(found)} objects are too many at once: {_MOST_OBJECTS}")
    return sorted(found, key=_order)


def _is_object(body: object) -> bool:
    if not isinstance(body, dict) or not isinstance(body.get("metadata"), dict):
        return False
    return all(isinstance(body.get(key), str) for key in ("apiVersion", "kind")) and isinstance(
        body["metadata"].get("name"), str
    )


def _order(body: JsonObject) -> tuple[object, ...]:
    name = ObjectId.of(body)
    return stages.stage_of(name), stages.sort_key(name)


async def _located(site: Site, body: JsonObject) -> tuple[Resource, JsonObject]:
    """Return how an object is served, and the object with its namespace."""
    served = await live.resource(site.discovery, body["apiVersion"], body["kind"])
    metadata = dict(body["metadata"])
    if served.is_namespaced:
        metadata.setdefault("namespace", "default")
    else:
        metadata.pop("namespace", None)
    return served, body | {"metadata": metadata}


async def _refuse_managed(call: Call, site: Site, served: Resource, body: JsonObject) -> None:
    metadata = body["metadata"]
    try:
        found = await site.client.get(served, metadata.get("namespace", ""), metadata["name"])
    except errors.NotFound:
        return
    await guard.check(call, site, found, override="overwrite")


def _promised(documents: Sequence[JsonObject]) -> frozenset[str]:
    """Return the namespaces that the same call creates."""
    return frozenset(each["metadata"]["name"] for each in documents if each["kind"] == "Namespace")


async def _send(
    site: Site,
    served: Resource,
    body: JsonObject,
    *,
    dry_run: bool = False,
    may_miss: frozenset[str] = frozenset(),
) -> str:
    """Apply one object, or try to, and return what happened to it.

    Raises:
        failure.CommandError: the API server refuses it.
    """
    metadata = body["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    title = str(ObjectId.of(body))
    try:
        before = await site.client.metadata(served, namespace, name)
        version = before.resource_version
    except errors.NotFound:
        version = ""
    try:
        done = await site.client.apply(
            served, orjson.dumps(body), namespace, name, manager=MANAGER, dry_run=dry_run
        )
    except errors.NotFound:
        if dry_run and namespace in may_miss:
            return ""
        raise
    except (errors.Invalid, errors.BadRequest, errors.Conflict) as err:
        raise failure.CommandError(
            f"{title}: {err}; nothing was written" if dry_run else f"{title}: {err}"
        ) from err
    after = orjson.loads(done.raw)["metadata"].get("resourceVersion")
    what = "created" if done.created else "unchanged" if after == version else "configured"
    return f"{title} {what}"


async def delete_kubernetes_resource(call: Call, args: DeleteQuery) -> Answer:
    """Delete one object. What Flux manages is refused: it would come back, delete it in Git."""
    site = await call.site(args.cluster)
    served = await live.resource(site.discovery, args.apiVersion, args.kind)
    namespace = args.namespace if served.is_namespaced else ""
    found = await live.get(site.client, served, namespace, args.name)
    body = {"apiVersion": served.gvk.api_version, "kind": served.gvk.kind} | found
    if not args.force:
        await guard.check(call, site, body, override="force")
    title = str(ObjectId.of(body))
    async with call.desk.writing(f"{site.name}: {title}"):
        uid = str(found["metadata"].get("uid") or "") or None
        await site.client.delete(served, namespace, args.name, uid=uid)
    text = f"{title} deleted"
    return Answer(f"Resource deleted successfully: {title}", Changed(changes=(text,)))


async def install_flux_instance(call: Call, args: InstallQuery) -> Answer:
    """Install a FluxInstance from an address: definitions first, then the instance; waits for it.

    No operator is installed: gitopsd serves the instance from outside the cluster.
    """
    site = await call.site(args.cluster)
    try:
        durations.parse(args.timeout)
    except ValueError as err:
        raise failure.UsageError(f"timeout: {err}; write 90s or 5m") from err
    text = await _fetched(call, args.instance_url)
    found = [each for each in parse(text) if each["kind"] == "FluxInstance"]
    if len(found) != 1:
        raise failure.UsageError(
            f"{args.instance_url} holds {len(found)} FluxInstances; it has to be one"
        )
    await call.progress(0, 3, "installing the definitions")
    async with call.desk.writing(f"cluster {site.name}"):
        changes = await _definitions(call, site)
        await call.progress(1, 3, "applying the instance")
        changes.append(await _instance(site, found[0]))
    await call.progress(2, 3, "waiting for the instance")
    metadata = found[0]["metadata"]
    query = waiting.WaitQuery(
        cluster=site.name,
        kind="FluxInstance",
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        timeout=args.timeout,
    )
    waited = await waiting.wait_for(call, query)
    return Answer("\n".join([*changes, waited.text]), Changed(changes=(*changes, waited.text)))


async def _definitions(call: Call, site: Site) -> list[str]:
    """Create the definitions that are missing; those that are there are left alone."""
    changes = []
    for body in await call.desk.threads.run(_shipped):
        try:
            await site.client.create(crds.RESOURCE, "", orjson.dumps(body), manager=MANAGER)
        except errors.AlreadyExists:
            continue
        changes.append(f"CustomResourceDefinition/{body['metadata']['name']} created")
    return changes


async def _fetched(call: Call, url: str) -> str:
    if url.startswith(remote_artifact.SCHEME):
        return await remote_artifact.fetch(url, call.desk.threads, call.desk.clock)
    return await remote_file.fetch(url)


def _shipped() -> list[JsonObject]:
    """Return the definitions of this version. Blocking."""
    return [manifests.load(text) for text in definitions.load()]


async def _instance(site: Site, body: JsonObject) -> str:
    """Apply the instance, with its namespace."""
    metadata = {"namespace": "flux-system"} | body["metadata"]
    body["metadata"] = metadata
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": metadata["namespace"]},
    }
    served = await site.discovery.resource(GVK("", "v1", "Namespace"))
    await _send(site, served, namespace)
    instances = await live.resource(site.discovery, body["apiVersion"], body["kind"])
    return await _send(site, instances, body)


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool(
        "apply_kubernetes_manifest",
        "Apply a manifest",
        ApplyQuery,
        Changed,
        apply_kubernetes_manifest,
        writes=True,
        destroys=True,
    ),
    Tool(
        "delete_kubernetes_resource",
        "Delete an object",
        DeleteQuery,
        Changed,
        delete_kubernetes_resource,
        writes=True,
        destroys=True,
        is_idempotent=False,
    ),
    Tool(
        "install_flux_instance",
        "Install a FluxInstance",
        InstallQuery,
        Changed,
        install_flux_instance,
        writes=True,
        reaches_out=True,
    ),
)
"""Every tool of this module."""
