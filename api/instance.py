"""FluxInstance (``fluxcd.controlplane.io/v1``): what the daemon does for one cluster.

The fields, their names and defaults are the Flux Operator's. A daemon outside the cluster has no
images to pull and no Deployments to size; what those fields say is kept as a record. ``api.served``
knows which fields matter and are not served yet.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from api import meta, rules
from api.durations import Duration
from api.kustomize import CommonMetadata, Patch
from api.meta import Condition, Inventory, Snapshot, Struct

GROUP = meta.INSTANCE_GROUP
VERSION = "v1"
NAME = "flux"
"""The only name that a FluxInstance may have: there is one for each cluster."""

COMPONENTS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
)
DEFAULT_COMPONENTS = COMPONENTS[:4]


class Distribution(Struct, frozen=True, kw_only=True):
    """Which Flux is asked for."""

    version: str
    """Range of Flux versions whose API the cluster expects, for example ``2.x``."""
    registry: str
    """Registry of the controllers' images; a record, nothing is pulled."""
    variant: Annotated[
        str,
        rules.one_of(
            "upstream-alpine",
            "enterprise-alpine",
            "enterprise-distroless",
            "enterprise-distroless-fips",
        ),
    ] = ""
    """Flavour of the controllers' images; a record."""
    image_pull_secret: str = ""
    """Secret for the registry; a record."""
    artifact: Annotated[str, rules.matching(r"^oci://.*$")] = ""
    """Artifact with the distribution's manifests; a record."""
    artifact_pull_secret: str = ""
    """Secret for that artifact; a record."""


class Cluster(Struct, frozen=True, kw_only=True):
    """Facts about the cluster, and how tenants are kept apart."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "!has(self.multitenantWorkloadIdentity) || !self.multitenantWorkloadIdentity || "
            "(has(self.objectLevelWorkloadIdentity) && self.objectLevelWorkloadIdentity)",
            "multitenantWorkloadIdentity requires objectLevelWorkloadIdentity to be true",
        ),
    )

    domain: str = "cluster.local"
    """DNS domain of the cluster; a record."""
    type: Annotated[str, rules.one_of("kubernetes", "openshift", "aws", "azure", "gcp")] = (
        "kubernetes"
    )
    """Kind of cluster; a record."""
    size: Annotated[str, rules.one_of("small", "medium", "large")] = ""
    """How many Kustomizations are reconciled at once: 5, 10 or 20."""
    network_policy: bool = True
    """Whether network policies guard the controllers; a record."""
    multitenant: bool = False
    """Keeps tenants apart: no references across namespaces, no remote bases, and every object is
    applied as a ServiceAccount of its own namespace."""
    tenant_default_service_account: str = ""
    """ServiceAccount that is impersonated where an object names none; ``default`` where empty."""
    object_level_workload_identity: bool = False
    """Lets an object name the ServiceAccount whose cloud identity it uses."""
    multitenant_workload_identity: bool = False
    """The same, and an object that names none uses the tenant's default."""
    tenant_default_decryption_service_account: str = ""
    """The tenant's default for decryption; ``default`` where empty."""
    tenant_default_kube_config_service_account: str = ""
    """The tenant's default for remote clusters; ``default`` where empty."""


class Sharding(Struct, frozen=True, kw_only=True):
    """Divides the objects among several controllers by a label."""

    shards: Annotated[tuple[str, ...], rules.items(minimum=1)]
    """The values of the label, one for each shard."""
    key: str = "sharding.fluxcd.io/key"
    """The label."""
    storage: Annotated[str, rules.one_of("ephemeral", "persistent")] = ""
    """Storage of each shard; a record."""


class Storage(Struct, frozen=True, kw_only=True):
    """The volume of the source controller; a record."""

    class_: str = msgspec.field(name="class")
    """Storage class."""
    size: str
    """Capacity."""


class Kustomize(Struct, frozen=True, kw_only=True):
    """Changes to what is generated."""

    patches: tuple[Patch, ...] = ()
    """Patches over the generated objects. Those for controllers have nothing to change here."""


class Sync(Struct, frozen=True, kw_only=True):
    """The source and the path that the cluster is synchronised with."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "has(self.name) == has(oldSelf.name)",
            "sync name is immutable",
        ),
        rules.Rule(
            "!has(self.provider) || self.provider != 'gcp' || self.kind != 'GitRepository'",
            "provider 'gcp' is not supported for GitRepository",
        ),
        rules.Rule(
            "!has(self.provider) || self.provider != 'github' || self.kind == 'GitRepository'",
            "provider 'github' is only supported for GitRepository",
        ),
    )

    kind: Annotated[str, rules.one_of("OCIRepository", "GitRepository", "Bucket")]
    """Kind of the source."""
    url: str
    """Address of the source."""
    ref: str
    """What to follow: a Git reference such as ``refs/heads/main``, an OCI tag or a bucket."""
    path: str
    """Directory of the manifests in the source."""
    name: Annotated[
        str, rules.sized(maximum=63), rules.holding("self == oldSelf", "sync name is immutable")
    ] = ""
    """Name of the source and of the Kustomization; that of the namespace where empty."""
    interval: Duration = "1m"
    """How often the source is looked at when no webhook announces a change."""
    pull_secret: str = ""
    """Secret with the credentials of the source."""
    provider: Annotated[str, rules.one_of("generic", "aws", "azure", "gcp", "github")] = ""
    """Where credentials come from; ``generic`` (from the Secret) where empty."""


class FluxInstanceSpec(Struct, frozen=True, kw_only=True):
    """What the daemon serves in the cluster, and what it synchronises the cluster with."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "!has(self.sharding) || !has(self.sharding.storage) || "
            "self.sharding.storage != 'persistent' || has(self.storage)",
            "sharding.storage 'persistent' requires spec.storage",
        ),
    )

    distribution: Distribution
    """Which Flux is asked for."""
    components: tuple[Annotated[str, rules.one_of(*COMPONENTS)], ...] = ()
    """The controllers whose work the daemon does in this cluster; source, kustomize, helm and
    notification where empty."""
    common_metadata: CommonMetadata | None = None
    """Labels and annotations for everything the instance creates."""
    cluster: Cluster | None = None
    """Facts about the cluster, and how tenants are kept apart."""
    sharding: Sharding | None = None
    """Divides the objects among several controllers."""
    storage: Storage | None = None
    """The volume of the source controller; a record."""
    kustomize: Kustomize | None = None
    """Changes to what is generated."""
    wait: bool = True
    """Ready only when everything that was created is."""
    migrate_resources: bool = True
    """Rewrites stored Flux objects when their storage version changes."""
    sync: Sync | None = None
    """The source and the path that the cluster is synchronised with."""

    @property
    def enabled(self) -> frozenset[str]:
        """The components that are on; the operator's default four where the spec names none."""
        return frozenset(self.components or DEFAULT_COMPONENTS)


class ComponentStatus(Struct, frozen=True, kw_only=True):
    """One controller whose work is done, and by what."""

    name: str
    """Name of the component."""
    repository: str
    """What does its work."""
    tag: str
    """The version of that."""
    digest: str = ""
    """Digest of its image, where it has one."""


class FluxInstanceStatus(Struct, frozen=True, kw_only=True):
    """What was created, and how it went."""

    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""
    last_handled_force_at: str = ""
    """The request token of the last forced reconciliation (``reconcile.fluxcd.io/forceAt``)."""
    last_attempted_revision: str = ""
    """The revision that was last tried, ``<version>@sha256:<hex>`` of what it creates."""
    last_applied_revision: str = ""
    """The revision that was last applied with success."""
    last_artifact_revision: str = ""
    """Digest of the distribution's artifact."""
    components: tuple[ComponentStatus, ...] = ()
    """The components that are on."""
    inventory: Inventory | None = None
    """The objects that were applied."""
    history: tuple[Snapshot, ...] = ()
    """The last states that were reconciled, newest first, five at most."""


class FluxInstance(meta.CustomObject, frozen=True, kw_only=True):
    """The set-up of one cluster: which reconcilers are on, and what it is synchronised with."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "FluxInstance"
    PLURAL: ClassVar[str] = "fluxinstances"
    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            f"self.metadata.name == '{NAME}'",
            f"the only accepted name for a FluxInstance is '{NAME}'",
        ),
    )
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="flux-operator",
        columns=(
            rules.AGE,
            rules.READY,
            rules.STATUS,
            rules.Column("Revision", ".status.lastAttemptedRevision"),
        ),
        categories=("fluxcd", "fluxcd-appliers"),
    )

    spec: FluxInstanceSpec
    status: FluxInstanceStatus = FluxInstanceStatus()
