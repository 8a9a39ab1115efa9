"""The kinds this daemon reconciles, and which of Flux's controllers would do it otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.notification import Receiver
from api.source import GitRepository
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from api.served import AnyKind


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind that the daemon reconciles."""

    type: type[AnyKind]
    """The typed model."""
    component: str
    """The controller that reconciles it where Flux runs in the cluster."""
    lease: str
    """The Lease, in ``flux-system``, by which copies of that controller elect their leader."""
    is_switchable: bool = True
    """Whether a FluxInstance's components switch it; the instance itself is always reconciled."""

    @property
    def name(self) -> str:
        """The kind, as in a manifest."""
        return str(self.type.KIND)

    @property
    def gvk(self) -> GVK:
        """Group, version and kind."""
        return GVK(self.type.GROUP, self.type.VERSION, self.type.KIND)

    @property
    def resource(self) -> Resource:
        """How an API server with our CRDs serves it, known without asking."""
        return Resource(self.gvk, self.type.PLURAL, is_namespaced=True)


def _flux(type_: Any, component: str) -> Kind:  # noqa: ANN401 - a class with the constants of a kind
    return Kind(type_, component, f"{component}-leader-election")


GIT_REPOSITORY = _flux(GitRepository, "source-controller")
KUSTOMIZATION = _flux(Kustomization, "kustomize-controller")
RECEIVER = _flux(Receiver, "notification-controller")
INSTANCE = Kind(FluxInstance, "flux-operator", "flux-operator", is_switchable=False)

ALL = (INSTANCE, GIT_REPOSITORY, KUSTOMIZATION, RECEIVER)
"""Every kind, in the order in which a new cluster needs them."""
BY_NAME = {kind.name: kind for kind in ALL}
