"""The kinds this daemon reconciles, and which of Flux's controllers would do it otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.bucket import Bucket
from api.charts import HelmChart, HelmRepository
from api.external import ExternalArtifact
from api.helm import HelmRelease
from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.notification import Receiver
from api.oci import OCIRepository
from api.source import GitRepository
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from api.served import AnyKind


@dataclass(frozen=True, slots=True)
class Component:
    """A controller of Flux, whose work the daemon does kind by kind."""

    name: str
    """Its name, which its Deployment has and a FluxInstance switches."""
    lease: str
    """The Lease, in ``flux-system``, by which copies of it elect their leader."""
    is_switchable: bool = True
    """Whether a FluxInstance's components switch it; the instance itself is always reconciled."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it reconciles, in the order of `ALL`."""
        return tuple(kind for kind in ALL if kind.controller is self and kind.is_reconciled)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind that the daemon reconciles."""

    type: type[AnyKind]
    """The typed model."""
    controller: Component
    """What reconciles it where Flux runs in the cluster."""
    is_reconciled: bool = True
    """Whether its objects are reconciled, or only read: somebody else writes their status."""

    @property
    def name(self) -> str:
        """The kind, as in a manifest."""
        return str(self.type.KIND)

    @property
    def component(self) -> str:
        """The name of the controller of Flux."""
        return self.controller.name

    @property
    def gvk(self) -> GVK:
        """Group, version and kind."""
        return GVK(self.type.GROUP, self.type.VERSION, self.type.KIND)

    @property
    def resource(self) -> Resource:
        """How an API server with our CRDs serves it, known without asking."""
        return Resource(self.gvk, self.type.PLURAL, is_namespaced=True)


def _flux(name: str) -> Component:
    return Component(name, f"{name}-leader-election")


OPERATOR = Component("flux-operator", "flux-operator", is_switchable=False)
SOURCES = _flux("source-controller")
KUSTOMIZATIONS = _flux("kustomize-controller")
RELEASES = _flux("helm-controller")
NOTIFICATIONS = _flux("notification-controller")

INSTANCE = Kind(FluxInstance, OPERATOR)
GIT_REPOSITORY = Kind(GitRepository, SOURCES)
OCI_REPOSITORY = Kind(OCIRepository, SOURCES)
BUCKET = Kind(Bucket, SOURCES)
HELM_REPOSITORY = Kind(HelmRepository, SOURCES)
HELM_CHART = Kind(HelmChart, SOURCES)
EXTERNAL_ARTIFACT = Kind(ExternalArtifact, SOURCES, is_reconciled=False)
KUSTOMIZATION = Kind(Kustomization, KUSTOMIZATIONS)
HELM_RELEASE = Kind(HelmRelease, RELEASES)
RECEIVER = Kind(Receiver, NOTIFICATIONS)

ALL = (
    INSTANCE,
    GIT_REPOSITORY,
    OCI_REPOSITORY,
    BUCKET,
    HELM_REPOSITORY,
    HELM_CHART,
    EXTERNAL_ARTIFACT,
    KUSTOMIZATION,
    HELM_RELEASE,
    RECEIVER,
)
"""Every kind, in the order in which a new cluster needs them."""
BY_NAME = {kind.name: kind for kind in ALL}
COMPONENTS = tuple(dict.fromkeys(kind.controller for kind in ALL))
"""The controllers whose work the daemon does, each once."""
