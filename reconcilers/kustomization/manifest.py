"""From a built object to what is sent: the last steps that every build path shares.

The order is Flux's: owner labels, normalisation, common metadata, the check for encrypted Secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from api import meta
from kube import desired, normalise
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from api.kustomize import Kustomization
    from kube.desired import Desired
    from kube.objects import JsonObject

SCALED_DOWN: Final = "gitopsd.dev/scaled-down"
"""Annotation on a controller of Flux's own that is kept at 0 replicas, with the reason."""
_CONTROLLERS: Final = frozenset(
    {
        "source-controller",
        "kustomize-controller",
        "helm-controller",
        "notification-controller",
        "image-reflector-controller",
        "image-automation-controller",
        "source-watcher",
    }
)
_CIPHERTEXT: Final = "ENC[AES256_GCM,"


class BuildError(Exception):
    """The source cannot be built; the message is fit for a condition."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What is added to every object of one Kustomization."""

    owner_labels: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def parts(self) -> tuple[Mapping[str, str], ...]:
        """Return everything that goes into every object, for keys."""
        return (self.owner_labels, self.labels, self.annotations)

    def object(self, obj: JsonObject, origin: str) -> tuple[Desired, bytes]:
        """Make one object ready to send.

        Args:
            obj: as built; changed in place.
            origin: where it was declared, for messages.

        Raises:
            BuildError: it has no apiVersion, kind or name.
            TransientError: it is a Secret that is still encrypted.
        """
        check_identity(obj, origin)
        _refuse_ciphertext(obj)
        _scale_down(obj)
        unknown: list[str] = []
        body = normalise.prepare(
            obj,
            owner_labels=self.owner_labels,
            labels=self.labels,
            annotations=self.annotations,
            dropped=unknown,
        )
        return desired.describe(obj, body, origin=origin, unknown=unknown), body


def finish_of(item: Kustomization) -> Finish:
    """Return what is added to the objects of a Kustomization."""
    common = item.spec.common_metadata
    return Finish(
        owner_labels={
            meta.OWNER_NAME: item.metadata.name,
            meta.OWNER_NAMESPACE: item.metadata.namespace,
        },
        labels=common.labels if common else {},
        annotations=common.annotations if common else {},
    )


def objects(documents: Iterator[object], origin: str) -> Iterator[tuple[JsonObject, str]]:
    """Yield the objects among parsed documents, lists flattened, empty documents left out.

    Raises:
        BuildError: a document is no Kubernetes object.
    """
    for number, document in enumerate(documents, start=1):
        if document is None:
            continue
        place = f"{origin} document {number}" if origin else f"document {number}"
        if not isinstance(document, dict):
            raise BuildError(f"{place} is not a Kubernetes object")
        yield from ((obj, place) for obj in _flat(document))


def check_identity(obj: JsonObject, origin: str) -> None:
    """Refuse an object without apiVersion, kind or name.

    Raises:
        BuildError: in Flux's words, with the place in place of the manifest.
    """
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for value in (obj.get("apiVersion"), obj.get("kind"), name):
        if not isinstance(value, str) or not value:
            raise BuildError(
                f"failed to decode Kubernetes apiVersion, kind and name from: {origin}"
            )


def is_encrypted(obj: JsonObject) -> bool:
    """Whether a Secret holds SOPS ciphertext, in ``data`` or in ``stringData``."""
    if obj.get("kind") != "Secret" or obj.get("apiVersion") != "v1":
        return False
    sops = obj.get("sops")
    if isinstance(sops, dict) and sops.get("mac"):
        return True
    return any(value.startswith(_CIPHERTEXT) for value in _secret_values(obj))


def _secret_values(obj: JsonObject) -> Iterator[str]:
    for name in ("data", "stringData"):
        values = obj.get(name)
        for value in values.values() if isinstance(values, dict) else ():
            if isinstance(value, str):
                yield value


def _refuse_ciphertext(obj: JsonObject) -> None:
    if not is_encrypted(obj):
        return
    metadata = obj["metadata"]
    name = "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
    raise TransientError(
        meta.RECONCILIATION_FAILED,
        f"Secret/{name} is SOPS encrypted, configuring decryption is required "
        "for this secret to be reconciled",
    )


def _flat(obj: JsonObject) -> Iterator[JsonObject]:
    items = obj.get("items")
    if str(obj.get("kind", "")).endswith("List") and isinstance(items, list):
        for item in items:
            if isinstance(item, dict):
                yield from _flat(item)
    elif not str(obj.get("apiVersion", "")).startswith("kustomize.config.k8s.io/"):
        yield obj


def _scale_down(obj: JsonObject) -> None:
    """Keep Flux's own controllers, which a synced path may declare, from running beside us."""
    if not _is_flux_controller(obj):
        return
    spec: dict[str, Any] = obj["spec"]
    spec["replicas"] = 0
    normalise.add_metadata(obj, "annotations", {SCALED_DOWN: "gitopsd does its work"})


def _is_flux_controller(obj: JsonObject) -> bool:
    if obj.get("kind") != "Deployment" or not isinstance(obj.get("spec"), dict):
        return False
    metadata = obj["metadata"]
    labels = metadata.get("labels")
    part_of = labels.get(meta.PART_OF) if isinstance(labels, dict) else None
    return part_of == "flux" and metadata.get("name") in _CONTROLLERS
