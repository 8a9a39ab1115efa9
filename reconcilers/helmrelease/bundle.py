"""The objects of one record, made ready to be applied.

The namespace of the release goes where a template names none, and the HelmRelease's own labels on
everything. The bytes are kept compressed; they may hold the content of Secrets and never reach a
file.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from api import meta
from kube import desired as kube_desired
from kube import errors, normalise
from kube.desired import Desired, Flag
from kube.objects import GVK, ObjectId
from reconcilers.helmrelease import objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from api.helm import HelmRelease
    from kube.discovery import Discovery
    from kube.helm.record import Record
    from kube.inventory import Entries
    from kube.objects import JsonObject, PartialMeta
    from runtime.limits import Threads


class Owner(NamedTuple):
    """Whose objects they are."""

    item: tuple[str, str]
    """Namespace and name of the HelmRelease."""
    release: str
    """The name of the release."""
    namespace: str
    """The namespace of the release."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels by which an object names its HelmRelease."""
        namespace, name = self.item
        return {meta.HELM_OWNER_NAME: name, meta.HELM_OWNER_NAMESPACE: namespace}

    def has(self, metadata: PartialMeta) -> bool:
        """Whether a live object is still the release's and does not outlive it.

        One that names no release is the release's, since Helm marks whatever it applies and it was
        found by its name; one that names another release was taken over.
        """
        marks = metadata.annotations
        told = (marks.get(meta.HELM_RELEASE_NAME), marks.get(meta.HELM_RELEASE_NAMESPACE))
        is_own = told in {(None, None), (self.release, self.namespace)}
        return is_own and not _keeps(marks)


def owner_of(item: HelmRelease, record: Record) -> Owner:
    """Return the owner of the objects of a record."""
    own = item.metadata
    return Owner((own.namespace, own.name), record.name, record.namespace)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The objects of a manifest: half a kilobyte each, and their bytes, compressed."""

    desired: tuple[Desired, ...] = ()
    kept: frozenset[ObjectId] = frozenset()
    """Objects that outlive the release, as ``helm.sh/resource-policy: keep`` asks."""
    unchecked: frozenset[ObjectId] = frozenset()
    """Objects that ask to be left out of drift detection."""
    paused: frozenset[ObjectId] = frozenset()
    """Deployments whose roll-out is paused, so that they need not be waited for."""
    expiring: frozenset[ObjectId] = frozenset()
    """Jobs that remove themselves."""
    packed: bytes = field(default=b"", repr=False)
    is_client_side: bool = False
    """Whether they were merged by the client, and not applied by the server."""

    @property
    def entries(self) -> Entries:
        """The objects as an inventory names them."""
        return [(each.id, each.version) for each in self.desired]

    def open(self) -> Reader:
        """Return a reader of the objects' bytes; while it is open they are in memory."""
        return Reader(zlib.decompress(self.packed) if self.packed else b"")


class Reader:
    """Reads single objects; a `kube.desired.ManifestReader`."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._body = b""

    def read(self, desired: Desired) -> bytes:
        """Return the canonical JSON of one object."""
        return self._body[desired.offset : desired.offset + desired.length]


async def of_record(
    record: Record, item: HelmRelease, discovery: Discovery, threads: Threads
) -> Bundle:
    """Make the objects of a record ready.

    Args:
        record: whose manifest.
        item: the HelmRelease that owns them.
        discovery: tells which kinds have namespaces.
        threads: reads the YAML.

    Raises:
        ManifestError: the manifest cannot be read.
        errors.ApiError: the API server did not say how a kind is served.
    """
    owner = owner_of(item, record)
    found = await threads.run(objects.of_record, record)
    made = await of_objects(found, owner, discovery, threads)
    return replace(made, is_client_side=record.is_client_side)


async def of_objects(
    found: list[JsonObject], owner: Owner, discovery: Discovery, threads: Threads
) -> Bundle:
    """Make objects ready, which are changed in place; see `of_record`."""
    for obj in found:
        await place(obj, owner.namespace, discovery)
    return await threads.run(_pack, found, owner)


async def place(obj: JsonObject, namespace: str, discovery: Discovery) -> None:
    """Give an object of a namespaced kind the namespace of the release, unless it names one.

    Raises:
        errors.ApiError: the API server did not say how the kind is served.
    """
    metadata = obj["metadata"]
    try:
        resource = await discovery.resource(GVK.of(obj))
    except errors.NoMatch:
        return  # the apply says so, with the object's name
    if not resource.is_namespaced:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = namespace


def is_unchecked(labels: Mapping[str, str], annotations: Mapping[str, str]) -> bool:
    """Whether an object asks to be left out of drift detection."""
    return any(
        str(marks.get(meta.HELM_DRIFT, "")).lower() == "disabled" for marks in (labels, annotations)
    )


def _pack(found: list[JsonObject], owner: Owner) -> Bundle:
    desired: list[Desired] = []
    bodies: list[bytes] = []
    offset = 0
    for obj in found:
        unknown: list[str] = []
        body = normalise.prepare(obj, owner_labels=owner.labels, dropped=unknown)
        each = kube_desired.describe(obj, body, offset=offset, unknown=unknown)
        desired.append(replace(each, flags=Flag.NONE))  # these mean nothing to a release
        bodies.append(body)
        offset += len(body)
    return Bundle(
        tuple(desired),
        _ids(obj for obj in found if objects.is_kept(obj)),
        _ids(obj for obj in found if _is_unchecked(obj)),
        _ids(obj for obj in found if obj["kind"] == "Deployment" and _spec(obj).get("paused")),
        _ids(obj for obj in found if _spec(obj).get("ttlSecondsAfterFinished") is not None),
        zlib.compress(b"".join(bodies)),
    )


def _ids(found: Iterable[JsonObject]) -> frozenset[ObjectId]:
    return frozenset(ObjectId.of(obj) for obj in found)


def _is_unchecked(obj: JsonObject) -> bool:
    metadata = obj["metadata"]
    return is_unchecked(metadata.get("labels") or {}, metadata.get("annotations") or {})


def _keeps(annotations: Mapping[str, str]) -> bool:
    return annotations.get(meta.HELM_RESOURCE_POLICY, "").strip().lower() == "keep"


def _spec(obj: JsonObject) -> JsonObject:
    spec = obj.get("spec")
    return spec if isinstance(spec, dict) else {}
