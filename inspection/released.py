"""What a HelmRelease released last: its objects and their images, by the record that Helm keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from kube import errors
from kube.helm.record import RecordError
from kube.helm.storage import ReleaseStorage
from kube.objects import GVK
from reconcilers.helmrelease import objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspection.flux import FluxObject
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.helm.record import Record
    from kube.objects import JsonObject
    from runtime.clock import Clock
    from runtime.limits import Threads

_PODS: Final = (
    ("spec",),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
)
"""Where a pod, a workload and a CronJob say what their containers are."""


class Image(msgspec.Struct, frozen=True):
    """The image of a container."""

    image: str


class Released(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One object of a release."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    containers: tuple[Image, ...] = ()


async def find(
    client: Client, discovery: Discovery, release: FluxObject, clock: Clock, threads: Threads
) -> tuple[Released, ...]:
    """Return the objects of the newest revision; none where there is none, or it is elsewhere.

    Raises:
        errors.Forbidden: Secrets may not be read.
    """
    namespace = str(release.status.get("storageNamespace") or "")
    history = release.status.get("history") or ()
    if not namespace or not history or release.is_remote:
        return ()
    storage = ReleaseStorage(client, namespace, clock, threads)
    try:
        record = await storage.get(str(history[0].get("name")), int(history[0].get("version") or 0))
        bodies = await threads.run(objects.of_record, record) if record else []
    except (RecordError, objects.ManifestError):
        return ()
    if record is None:
        return ()
    return tuple([await _one(discovery, record, body) for body in bodies])


async def _one(discovery: Discovery, record: Record, body: JsonObject) -> Released:
    metadata, kind = body["metadata"], GVK.of(body)
    namespace = str(metadata.get("namespace") or "")
    try:
        is_namespaced = (await discovery.resource(kind)).is_namespaced
    except errors.NoMatch:
        is_namespaced = bool(namespace)
    return Released(
        api_version=kind.api_version,
        kind=kind.kind,
        name=str(metadata["name"]),
        namespace=(namespace or record.namespace) if is_namespaced else "",
        containers=tuple(map(Image, dict.fromkeys(images(body)))),
    )


def images(body: JsonObject) -> Iterator[str]:
    """Yield the images of an object's containers."""
    for path in _PODS:
        spec: Any = body
        for key in path:
            spec = spec.get(key) if isinstance(spec, dict) else None
        if not isinstance(spec, dict):
            continue
        for field in ("containers", "initContainers"):
            members = spec.get(field)
            for each in members if isinstance(members, list) else ():
                if isinstance(each, dict) and each.get("image"):
                    yield str(each["image"])
