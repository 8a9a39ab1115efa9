"""Types, names and reasons that every API group shares.

The strings here are byte-equal to Flux's. Changing one orphans fields, labels or finalizers in
users' clusters, so they live in one place and have no other spelling in the code.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec

from api import rules

FLUX_VERSION = "v2.9.0"
"""The Flux release whose API this is; the version label of the CRDs."""

NAMESPACE = "flux-system"
"""The namespace of Flux's own objects, unless somebody says otherwise."""

# Field managers ---------------------------------------------------------------------------------
KUSTOMIZE_MANAGER = "kustomize-controller"
"""Field manager of the objects a Kustomization applies."""
KUSTOMIZE_STATUS_MANAGER = "gotk-kustomize-controller"
"""Field manager of a Kustomization's own finalizers and status."""
HELM_MANAGER = "helm-controller"
"""Field manager of the objects of a release, and of a HelmRelease's own finalizers and status."""
SOURCE_MANAGER = "source-controller"
NOTIFICATION_MANAGER = "notification-controller"
INSTANCE_MANAGER = "flux-operator"
"""Field manager of what a FluxInstance applies, and of its status."""
DAEMON_MANAGER = "gitopsd"
"""Field manager of what the daemon writes in its own name: CRDs, Leases, instances."""

# Finalizers -------------------------------------------------------------------------------------
FINALIZER = "finalizers.fluxcd.io"
INSTANCE_FINALIZER = "fluxcd.controlplane.io/finalizer"

# Annotations and labels -------------------------------------------------------------------------
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
FORCE_AT = "reconcile.fluxcd.io/forceAt"
"""Holds what `REQUESTED_AT` holds to have a release installed or upgraded in any case."""
RESET_AT = "reconcile.fluxcd.io/resetAt"
"""Holds what `REQUESTED_AT` holds to have the failures of a release forgotten."""
VERIFY = "gitopsd.dev/verify"
"""Holds what `REQUESTED_AT` holds to have that run compare every object by a dry run."""
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
DECRYPT = f"{KUSTOMIZE_GROUP}/decrypt"
HELM_GROUP = "helm.toolkit.fluxcd.io"
HELM_OWNER_NAME = f"{HELM_GROUP}/name"
HELM_OWNER_NAMESPACE = f"{HELM_GROUP}/namespace"
HELM_DRIFT = f"{HELM_GROUP}/driftDetection"
HELM_HOOK = "helm.sh/hook"
HELM_HOOK_WEIGHT = "helm.sh/hook-weight"
HELM_HOOK_DELETE = "helm.sh/hook-delete-policy"
HELM_HOOK_LOGS = "helm.sh/hook-output-log-policy"
HELM_RESOURCE_POLICY = "helm.sh/resource-policy"
HELM_RELEASE_NAME = "meta.helm.sh/release-name"
HELM_RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
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
RELEASED = "Released"
TEST_SUCCESS = "TestSuccess"
REMEDIATED = "Remediated"
DRIFTED = "Drifted"

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
INVALID_CEL_EXPRESSION = "InvalidCELExpression"
VALUES_ERROR = "ValuesError"
NOT_SERVED = "FieldNotServed"
"""Ours: the object sets a field that this version of the daemon does not serve (Stalled)."""

FAILED_TERMINALLY = "Reconciliation failed terminally due to configuration error"
"""How the message begins of a failure that only a change of the spec can mend."""


class ObjectRef(NamedTuple):
    """Names one object of one cluster; the key of every work queue."""

    cluster: str
    """The name of the cluster in ``config.toml``."""
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Kind/namespace/name``, the form used in messages."""
        return (
            f"{self.kind}/{self.namespace}/{self.name}"
            if self.namespace
            else f"{self.kind}/{self.name}"
        )


class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The base of every wire type: immutable, camelCase on the wire, unknown fields ignored.

    Sub-classes repeat ``frozen`` and ``kw_only``, which are not inherited.
    """


class Condition(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One fact about the object's state, as ``metav1.Condition`` describes it."""

    type: Annotated[str, rules.sized(maximum=316)]
    """What the condition speaks of, for example ``Ready``."""
    status: Annotated[str, rules.one_of("True", "False", "Unknown")]
    """``True``, ``False`` or ``Unknown``."""
    reason: Annotated[
        str,
        rules.sized(minimum=1, maximum=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ]
    """Why the condition has this status, in one PascalCase word for programs."""
    message: Annotated[str, rules.sized(maximum=32768)]
    """The same for people."""
    last_transition_time: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
    """When status, reason or message last changed: RFC 3339 in UTC, to the second."""
    observed_generation: int = 0
    """The ``metadata.generation`` that the condition is about."""


class ObjectMeta(Struct, frozen=True, kw_only=True):
    """The part of ``metav1.ObjectMeta`` that a reconciler reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class LocalReference(Struct, frozen=True, kw_only=True):
    """Names an object in the namespace of the object that refers to it."""

    name: str
    """Name of the object referred to."""


class InventoryEntry(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One object in an inventory."""

    id: str
    """``<namespace>_<name>_<group>_<Kind>``."""
    v: str
    """The API version the object was applied at, without its group."""


class Inventory(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Every object that was applied on behalf of the owner of this status."""

    entries: tuple[InventoryEntry, ...] = ()
    """The objects, in the order in which they were applied."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """What came of reconciling one state, however many times it was reconciled in a row."""

    digest: str
    """The digest of what was reconciled, ``<algorithm>:<hex>``."""
    first_reconciled: str
    """When this state was reconciled for the first time (RFC 3339)."""
    last_reconciled: str
    """When it was reconciled last (RFC 3339)."""
    last_reconciled_duration: str
    """How long the last reconciliation took, as a Go duration."""
    last_reconciled_status: str
    """The reason of the Ready condition that the last reconciliation ended with."""
    total_reconciliations: int
    """How many times in all."""
    metadata: dict[str, str] = {}
    """Facts about the state, such as its revision."""


class CustomObject(Struct, frozen=True, kw_only=True):
    """The base of every kind that the daemon serves."""

    GROUP: ClassVar[str]
    VERSION: ClassVar[str]
    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    DISPLAY: ClassVar[rules.Display]

    metadata: ObjectMeta = ObjectMeta()

    @classmethod
    def api_version(cls) -> str:
        """Return ``group/version``, as in a manifest."""
        return f"{cls.GROUP}/{cls.VERSION}"

    @classmethod
    def manifest(cls, metadata: dict[str, Any], spec: Struct) -> dict[str, Any]:
        """Return the object as JSON to be applied, without the fields that have default values."""
        return {
            "apiVersion": cls.api_version(),
            "kind": cls.KIND,
            "metadata": metadata,
            "spec": msgspec.json.decode(msgspec.json.encode(spec)),
        }

    def ref(self, cluster: str) -> ObjectRef:
        """Return the key of the object in the cluster of that name."""
        return ObjectRef(cluster, self.KIND, self.metadata.namespace, self.metadata.name)

    @property
    def requested_at(self) -> str | None:
        """The token of the last request to reconcile; any new text is a new request."""
        return self.metadata.annotations.get(REQUESTED_AT)
