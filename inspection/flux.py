"""A Flux object of any kind, read by the fields that Flux's kinds have in common.

The object stays the JSON that the API server sent, so that a kind is understood before the daemon
has a model of it, and nothing is lost when it is printed. Pure.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from api import meta
from daemon import report
from kube.objects import GVK, ObjectId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.meta import ObjectRef
    from kube.objects import JsonObject

SOURCE_GROUP: Final = "source.toolkit.fluxcd.io"
HELM_GROUP: Final = "helm.toolkit.fluxcd.io"
_GROUPS: Final = (".toolkit.fluxcd.io", "fluxcd.controlplane.io")
OWNER_LABELS: Final = (
    ("Kustomization", meta.OWNER_NAME, meta.OWNER_NAMESPACE),
    ("HelmRelease", f"{HELM_GROUP}/name", f"{HELM_GROUP}/namespace"),
    ("FluxInstance", f"{meta.INSTANCE_GROUP}/name", f"{meta.INSTANCE_GROUP}/namespace"),
    (
        "ResourceSet",
        f"resourceset.{meta.INSTANCE_GROUP}/name",
        f"resourceset.{meta.INSTANCE_GROUP}/namespace",
    ),
)
"""The labels that name who applied an object: kind of owner, label of its name, of its namespace;
the nearest first, since a FluxInstance labels what its Kustomization applies too."""


class State(enum.StrEnum):
    """How a Flux object stands, in the words of Flux's web page."""

    READY = "Ready"
    FAILED = "Failed"
    PROGRESSING = "Progressing"
    SUSPENDED = "Suspended"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class FluxObject:
    """One object of a Flux kind."""

    cluster: str
    """The name of its cluster in ``config.toml``."""
    raw: JsonObject
    """The whole object, with its apiVersion and kind."""

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.raw["kind"])

    @property
    def metadata(self) -> dict[str, Any]:
        """``metadata``."""
        found: dict[str, Any] = self.raw.get("metadata") or {}
        return found

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.metadata.get("namespace") or "")

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.metadata.get("name") or "")

    @property
    def ref(self) -> ObjectRef:
        """What it is called."""
        return meta.ObjectRef(self.cluster, self.kind, self.namespace, self.name)

    @property
    def gvk(self) -> GVK:
        """Group, version and kind."""
        return GVK.of(self.raw)

    @property
    def spec(self) -> dict[str, Any]:
        """``spec``."""
        found: dict[str, Any] = self.raw.get("spec") or {}
        return found

    @property
    def status(self) -> dict[str, Any]:
        """``status``."""
        found: dict[str, Any] = self.raw.get("status") or {}
        return found

    @property
    def annotations(self) -> dict[str, str]:
        """``metadata.annotations``."""
        return self.metadata.get("annotations") or {}

    @property
    def generation(self) -> int:
        """``metadata.generation``."""
        return int(self.metadata.get("generation") or 0)

    @property
    def is_source(self) -> bool:
        """Whether it brings artifacts."""
        return self.gvk.group == SOURCE_GROUP

    @property
    def is_suspended(self) -> bool:
        """Whether nobody reconciles it: by its spec, or an operator's kind by its annotation."""
        switch = self.annotations.get(meta.INSTANCE_RECONCILE, "")
        return bool(self.spec.get("suspend")) or switch.lower() == "disabled"

    def condition(self, type_: str) -> dict[str, Any]:
        """Return a condition; empty where it has none of that type."""
        found = self.status.get("conditions") or ()
        return next((each for each in found if each.get("type") == type_), {})

    @property
    def ready(self) -> str:
        """The status of its Ready condition; empty where it has none."""
        return str(self.condition(meta.READY).get("status") or "")

    @property
    def reason(self) -> str:
        """The reason of its Ready condition."""
        return str(self.condition(meta.READY).get("reason") or "")

    @property
    def message(self) -> str:
        """The message of its Ready condition, or Flux's words where it has none."""
        return str(self.condition(meta.READY).get("message") or report.WAITING)

    @property
    def is_current(self) -> bool:
        """Whether its Ready condition is about its present spec."""
        observed = self.condition(meta.READY).get("observedGeneration")
        return observed is None or observed == self.generation

    @property
    def state(self) -> State:
        """How it stands."""
        if self.is_suspended:
            return State.SUSPENDED
        if self.condition(meta.STALLED).get("status") == "True":
            return State.FAILED
        is_reconciling = self.condition(meta.RECONCILING).get("status") == "True"
        if self.ready == "True":
            return State.READY if self.is_current else State.PROGRESSING
        if self.ready == "False":
            is_first = is_reconciling and self.reason == meta.PROGRESSING
            return State.PROGRESSING if is_first else State.FAILED
        return State.PROGRESSING if self.ready == "Unknown" or is_reconciling else State.UNKNOWN

    @property
    def revision(self) -> str:
        """What it is at, by whichever field its kind has for that."""
        status = self.status
        history = status.get("history") or ()
        chart = history[0].get("chartVersion") if history else ""
        artifact = (status.get("artifact") or {}).get("revision")
        found = artifact or status.get("lastAppliedRevision") or chart
        return str(found or status.get("lastAttemptedRevision") or "")

    @property
    def inventory(self) -> tuple[tuple[ObjectId, str], ...]:
        """The objects it applied, with their API versions."""
        return tuple(_entries((self.status.get("inventory") or {}).get("entries") or ()))

    @property
    def source(self) -> ObjectRef | None:
        """Where its content comes from: the source it names, or None where it names none."""
        own = self.spec.get("sourceRef") or self.spec.get("chartRef")
        chart = self.spec.get("chart")  # a HelmRelease's template, but a name in a HelmChart
        spec = chart.get("spec") or {} if isinstance(chart, dict) else {}
        found = own or spec.get("sourceRef")
        return self._refers(found) if found else None

    @property
    def chart(self) -> ObjectRef | None:
        """The HelmChart that Flux makes for a HelmRelease with a chart of its own."""
        namespace, slash, name = str(self.status.get("helmChart") or "").partition("/")
        return meta.ObjectRef(self.cluster, "HelmChart", namespace, name) if slash else None

    @property
    def depends_on(self) -> tuple[ObjectRef, ...]:
        """What has to be ready before it."""
        return tuple(
            self._refers({"kind": self.kind} | each) for each in self.spec.get("dependsOn") or ()
        )

    @property
    def is_remote(self) -> bool:
        """Whether what it applies is in a cluster that ``spec.kubeConfig`` names."""
        return bool(self.spec.get("kubeConfig"))

    @property
    def path(self) -> str:
        """Which directory of its source it applies."""
        return str(self.spec.get("path") or "")

    def _refers(self, found: dict[str, Any]) -> ObjectRef:
        namespace = str(found.get("namespace") or self.namespace)
        return meta.ObjectRef(self.cluster, str(found["kind"]), namespace, str(found["name"]))


def row(obj: FluxObject) -> report.Row:
    """Return the line that shows an object, as `daemon.report` makes it of a typed one."""
    ready = obj.condition(meta.READY)
    return report.Row(
        kind=obj.kind,
        namespace=obj.namespace,
        name=obj.name,
        revision=obj.revision,
        is_suspended=obj.is_suspended,
        ready=obj.ready or "False",
        reason=obj.reason,
        message=obj.message,
        since=str(ready.get("lastTransitionTime") or ""),
    )


def owner(metadata: dict[str, Any], cluster: str) -> ObjectRef | None:
    """Return the Flux object that applied one, by its labels; None where none did."""
    labels = metadata.get("labels") or {}
    for kind, name, namespace in OWNER_LABELS:
        if labels.get(name):
            return meta.ObjectRef(cluster, kind, str(labels.get(namespace) or ""), labels[name])
    return None


def is_flux(group: str) -> bool:
    """Tell whether an API group is one of Flux's or of its operator's."""
    return group.endswith(_GROUPS)


def is_owned(ref: ObjectRef, metadata: dict[str, Any]) -> bool:
    """Tell whether an object is in the inventory of another one, and not its own owner."""
    found = owner(metadata, ref.cluster)
    return found is not None and found != ref


def _entries(found: Any) -> Iterator[tuple[ObjectId, str]]:  # noqa: ANN401 - undecoded JSON
    """Yield what an inventory names; entries nobody can read name nothing."""
    for entry in found:
        try:
            yield ObjectId.parse(str(entry.get("id"))), str(entry.get("v") or "")
        except ValueError:
            continue
