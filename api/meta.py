"""Types, names and reasons that every API group shares.

The strings here are byte-equal to Flux's. Changing one orphans fields, labels or finalizers in
users' clusters, so they live in one place and have no other spelling in the code.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

# Field managers ---------------------------------------------------------------------------------
KUSTOMIZE_MANAGER = "kustomize-controller"
"""Field manager of the objects a Kustomization applies."""
KUSTOMIZE_STATUS_MANAGER = "gotk-kustomize-controller"
"""Field manager of a Kustomization's own finalizers and status."""
SOURCE_MANAGER = "source-controller"
NOTIFICATION_MANAGER = "notification-controller"
INSTANCE_MANAGER = "flux-operator"
"""Field manager of what a FluxInstance applies, and of its status."""
DAEMON_MANAGER = "gitopsd"
"""Field manager of what the daemon writes in its own name (CRDs, Leases, the instance of config.toml)."""

# Finalizers -------------------------------------------------------------------------------------
FINALIZER = "finalizers.fluxcd.io"
INSTANCE_FINALIZER = "fluxcd.controlplane.io/finalizer"

# Annotations and labels -------------------------------------------------------------------------
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
WATCH_LABEL = "reconcile.fluxcd.io/watch"
EVENT_PREFIX = "event.toolkit.fluxcd.io/"
KUSTOMIZE_GROUP = "kustomize.toolkit.fluxcd.io"
OWNER_NAME = f"{KUSTOMIZE_GROUP}/name"
OWNER_NAMESPACE = f"{KUSTOMIZE_GROUP}/namespace"
SSA = f"{KUSTOMIZE_GROUP}/ssa"
PRUNE = f"{KUSTOMIZE_GROUP}/prune"
RECONCILE = f"{KUSTOMIZE_GROUP}/reconcile"
FORCE = f"{KUSTOMIZE_GROUP}/force"
SUBSTITUTE = f"{KUSTOMIZE_GROUP}/substitute"
INSTANCE_GROUP = "fluxcd.controlplane.io"
INSTANCE_RECONCILE = f"{INSTANCE_GROUP}/reconcile"
INSTANCE_RECONCILE_EVERY = f"{INSTANCE_GROUP}/reconcileEvery"
INSTANCE_RECONCILE_TIMEOUT = f"{INSTANCE_GROUP}/reconcileTimeout"
PART_OF = "app.kubernetes.io/part-of"
INSTANCE_LABEL = "app.kubernetes.io/instance"
VERSION_LABEL = "app.kubernetes.io/version"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_BY = "app.kubernetes.io/managed-by"

# Condition types --------------------------------------------------------------------------------
READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
HEALTHY = "Healthy"
ARTIFACT_IN_STORAGE = "ArtifactInStorage"
ARTIFACT_OUTDATED = "ArtifactOutdated"
FETCH_FAILED = "FetchFailed"
STORAGE_OPERATION_FAILED = "StorageOperationFailed"
INCLUDE_UNAVAILABLE = "IncludeUnavailable"
SOURCE_VERIFIED = "SourceVerified"

# Reasons ----------------------------------------------------------------------------------------
SUCCEEDED = "Succeeded"
FAILED = "Failed"
PROGRESSING = "Progressing"
PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
DEPENDENCY_NOT_READY = "DependencyNotReady"
ACCESS_DENIED = "AccessDenied"
RECONCILIATION_SUCCEEDED = "ReconciliationSucceeded"
RECONCILIATION_FAILED = "ReconciliationFailed"
ARTIFACT_FAILED = "ArtifactFailed"
BUILD_FAILED = "BuildFailed"
PRUNE_FAILED = "PruneFailed"
HEALTH_CHECK_FAILED = "HealthCheckFailed"
HEALTH_CHECK_CANCELED = "HealthCheckCanceled"
NOT_SERVED = "FieldNotServed"
"""Ours: the object sets a field that this version of the daemon does not serve (Stalled)."""


class ObjectRef(NamedTuple):
    """Names one object of one cluster; the key of every work queue."""

    cluster: str
    """The name of the cluster in ``config.toml``."""
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Kind/namespace/name``, the form used in messages."""
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The base of every wire type: immutable, camelCase on the wire, unknown fields ignored."""


class Condition(Struct, omit_defaults=False):
    """One entry of ``status.conditions``, as in ``metav1.Condition``."""

    type: str
    status: str
    """``True``, ``False`` or ``Unknown``."""
    reason: str
    message: str
    last_transition_time: str
    """RFC 3339 in UTC, to the second."""
    observed_generation: int = 0


class ObjectMeta(Struct):
    """The part of ``metav1.ObjectMeta`` that a reconciler reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class LocalReference(Struct):
    """Names an object in the namespace of the object that refers to it."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    """Name of the referent."""
