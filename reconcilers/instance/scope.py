"""Which reconcilers a FluxInstance switches on, and which events concern it; pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from api import instance, meta, served
from kube import ownership
from runtime import conditions

if TYPE_CHECKING:
    from api.instance import FluxInstance
    from api.meta import Condition, ObjectMeta, ObjectRef
    from reconcilers.context import ReconcileSettings
    from reconcilers.instance.sync import OfPair

IDENTITY: Final = ownership.IDENTITIES[instance.FluxInstance.KIND]
"""How a FluxInstance signs what it creates."""
TENANT_ACCOUNT: Final = "default"
"""The ServiceAccount of tenants that name none, where the instance names none either."""


def components(flux: FluxInstance | None) -> frozenset[str]:
    """Return the components whose work the daemon does in a cluster.

    A cluster without a FluxInstance gets the operator's default ones. Where the instance asks for
    tenants to be kept apart in a way that is not served, nothing is reconciled at all: going on
    would give tenants what they shall not have.
    """
    if flux is None:
        return frozenset(instance.DEFAULT_COMPONENTS)
    if served.opens_tenants(flux):
        return frozenset()
    return flux.spec.enabled


def locked(settings: ReconcileSettings, flux: FluxInstance | None) -> ReconcileSettings:
    """Return a cluster's settings with what its FluxInstance forbids beyond them.

    Multi-tenancy means what it does in Flux: no sources of other namespaces, no remote bases, and
    nothing is applied with the daemon's own rights. The instance only ever tightens; a default
    ServiceAccount in the settings of the machine goes before its own.
    """
    cluster = flux.spec.cluster if flux else None
    if cluster is None or not cluster.multitenant:
        return settings
    account = cluster.tenant_default_service_account or TENANT_ACCOUNT
    return replace(
        settings,
        no_cross_namespace_refs=True,
        allow_remote_bases=False,
        default_service_account=settings.default_service_account or account,
    )


def is_disabled(flux: FluxInstance) -> bool:
    """Tell whether the instance's annotation switches its reconciliation off."""
    return flux.metadata.annotations.get(meta.INSTANCE_RECONCILE, "").lower() == "disabled"


def on_instance(
    cluster: str, old: FluxInstance | None, new: FluxInstance | None
) -> list[tuple[ObjectRef, str]]:
    """Return the FluxInstance to wake, with the cause, when it changes itself.

    Its annotations count as well as its spec: they hold the switch, the interval and the requests.
    """
    if new is None or (old is not None and _asked(old.metadata) == _asked(new.metadata)):
        return []
    ref = new.ref(cluster)
    return [(ref, str(ref))]


def on_sync(
    cluster: str,
    old: OfPair | None,
    new: OfPair | None,
) -> list[tuple[ObjectRef, str]]:
    """Return the FluxInstance to wake, with the cause, when one of its sync pair changes.

    What counts is what the instance wrote (spec, labels, annotations, existence) and what it waits
    for (the Ready condition); other changes of status do not.
    """
    obj = new or old
    owner = ownership.owner_of(obj.metadata.labels, IDENTITY) if obj else None
    if owner is None and old is not None:
        owner = ownership.owner_of(old.metadata.labels, IDENTITY)
    if obj is None or owner is None:
        return []
    if old and new and _told(old.metadata, _ready(old)) == _told(new.metadata, _ready(new)):
        return []
    ref = meta.ObjectRef(cluster, instance.FluxInstance.KIND, owner.namespace, owner.name)
    return [(ref, str(obj.ref(cluster)))]


def _asked(metadata: ObjectMeta) -> tuple[object, ...]:
    """Return what people change of an instance."""
    return metadata.uid, metadata.generation, metadata.annotations, metadata.deletion_timestamp


def _ready(obj: OfPair) -> Condition | None:
    return conditions.get(obj.status.conditions, meta.READY)


def _told(metadata: ObjectMeta, ready: Condition | None) -> tuple[object, ...]:
    """Return what an instance takes notice of."""
    annotations = {
        key: value for key, value in metadata.annotations.items() if key != meta.REQUESTED_AT
    }
    verdict = (ready.status, ready.message, ready.observed_generation) if ready else None
    return metadata.uid, metadata.generation, metadata.labels, annotations, verdict
