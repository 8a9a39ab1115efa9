"""Kustomization (``kustomize.toolkit.fluxcd.io/v1``): what to build from a source and apply.

The fields, their names and defaults are Flux's. ``api.served`` knows which are not served yet.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from api import meta, rules
from api.durations import Duration
from api.meta import Condition, Inventory, LocalReference, Snapshot, Struct

GROUP = meta.KUSTOMIZE_GROUP
VERSION = "v1"


class Selector(Struct, frozen=True, kw_only=True):
    """Selects objects; every field that is set must match."""

    group: str = ""
    """API group, as an anchored regular expression."""
    version: str = ""
    """API version, as an anchored regular expression."""
    kind: str = ""
    """Kind, as an anchored regular expression."""
    namespace: str = ""
    """Namespace, as an anchored regular expression."""
    name: str = ""
    """Name, as an anchored regular expression."""
    annotation_selector: str = ""
    """The same as ``labelSelector`` over annotations."""
    label_selector: str = ""
    """Label selector in the syntax of ``kubectl -l``."""


class Patch(Struct, frozen=True, kw_only=True):
    """A strategic merge patch or a JSON 6902 patch."""

    patch: str
    """The patch as YAML text."""
    target: Selector | None = None
    """The objects to patch; a strategic merge patch may name its object itself."""


class Image(Struct, frozen=True, kw_only=True):
    """Replaces the name, tag or digest of a container image."""

    name: str
    """The image to replace, without its tag."""
    new_name: str = ""
    """The name to put in its place."""
    new_tag: str = ""
    """The tag to put in its place."""
    digest: str = ""
    """The digest to put in place of the tag."""


class CommonMetadata(Struct, frozen=True, kw_only=True):
    """Labels and annotations for every object; they win over what the manifests say."""

    annotations: dict[str, str] = {}
    """Annotations to set."""
    labels: dict[str, str] = {}
    """Labels to set."""


class SourceReference(Struct, frozen=True, kw_only=True):
    """Names the source that holds the manifests."""

    kind: Annotated[
        str, rules.one_of("OCIRepository", "GitRepository", "Bucket", "ExternalArtifact")
    ]
    """Kind of the source."""
    name: str
    """Name of the source."""
    namespace: str = ""
    """Namespace of the source; the Kustomization's own where empty."""
    api_version: str = ""
    """API version of the source; the newest served where empty."""


class Dependency(Struct, frozen=True, kw_only=True):
    """Names a Kustomization that must be ready first."""

    name: str
    """Name of the Kustomization."""
    namespace: str = ""
    """Namespace of the Kustomization; this one's own where empty."""
    ready_expr: str = ""
    """CEL expression over ``self`` and ``dep`` that says when the dependency is ready."""


class HealthCheck(Struct, frozen=True, kw_only=True):
    """Names an object whose health is waited for."""

    kind: str
    """Kind of the object."""
    name: str
    """Name of the object."""
    namespace: str = ""
    """Namespace of the object."""
    api_version: str = ""
    """API version of the object; ``apps/v1`` where empty."""


class HealthCheckExpr(Struct, frozen=True, kw_only=True):
    """Says in CEL how the health of a kind is read."""

    api_version: str
    """API version of the kind."""
    kind: str = ""
    """The kind; every kind of the group where empty."""
    current: str
    """Expression that holds when the object is healthy."""
    in_progress: str = ""
    """Expression that holds while the object is being rolled out."""
    failed: str = ""
    """Expression that holds when the object has failed."""


class SubstituteReference(Struct, frozen=True, kw_only=True):
    """Names a ConfigMap or Secret whose keys are variables."""

    kind: Annotated[str, rules.one_of("Secret", "ConfigMap")]
    """``Secret`` or ``ConfigMap``."""
    name: Annotated[str, rules.sized(minimum=1, maximum=253)]
    """Name of the object, in the namespace of the Kustomization."""
    optional: bool = False
    """Goes on without the object where it is missing."""


class PostBuild(Struct, frozen=True, kw_only=True):
    """Substitutes variables in what the build produced."""

    substitute: dict[str, str] = {}
    """Variables and their values; they win over those of ``substituteFrom``."""
    substitute_from: tuple[SubstituteReference, ...] = ()
    """ConfigMaps and Secrets that hold variables; later entries win."""
    substitute_strategy: Annotated[str, rules.one_of("WithVariables", "Always")] = ""
    """Whether to substitute only where variables are given (``WithVariables``, where empty)."""


class Decryption(Struct, frozen=True, kw_only=True):
    """Decrypts manifests before they are built."""

    provider: Annotated[str, rules.one_of("sops")]
    """The tool that encrypted them."""
    secret_ref: LocalReference | None = None
    """Secret that holds the private keys."""
    service_account_name: str = ""
    """ServiceAccount whose identity reaches a cloud key service."""


class SecretKeyReference(Struct, frozen=True, kw_only=True):
    """Names a Secret and one of its keys."""

    name: str
    """Name of the Secret."""
    key: str = ""
    """Key in the Secret; ``value``, then ``value.yaml`` where empty."""


class KubeConfig(Struct, frozen=True, kw_only=True):
    """Reaches another cluster."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "has(self.configMapRef) || has(self.secretRef)",
            "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef "
            "must be specified",
        ),
        rules.Rule(
            "!has(self.configMapRef) || !has(self.secretRef)",
            "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef "
            "must be specified",
        ),
    )

    config_map_ref: LocalReference | None = None
    """ConfigMap that says how to obtain short-lived credentials from a cloud provider."""
    secret_ref: SecretKeyReference | None = None
    """Secret that holds a kubeconfig."""


class IgnoreRule(Struct, frozen=True, kw_only=True):
    """Leaves fields of live objects to others: they are neither compared nor put back."""

    paths: Annotated[tuple[str, ...], rules.items(minimum=1)]
    """JSON pointers of the fields."""
    target: Selector | None = None
    """The objects the rule is for; all where absent."""


class KustomizationSpec(Struct, frozen=True, kw_only=True):
    """What to build, how to change it, and how to apply it."""

    interval: Duration
    """How often to reconcile when nothing else asks for it."""
    source_ref: SourceReference
    """The source that holds the manifests."""
    prune: bool
    """Deletes from the cluster what was deleted from the source."""
    retry_interval: Duration | None = None
    """How soon to try again after a failure; ``interval`` where absent."""
    timeout: Duration | None = None
    """Time limit of health checks and of waits for deletion; ``interval`` less 30 s where absent,
    and never under 30 s."""
    path: str = ""
    """Directory in the source; its root where empty. It cannot leave the source."""
    deletion_policy: Annotated[
        str, rules.one_of("MirrorPrune", "Delete", "WaitForTermination", "Orphan")
    ] = ""
    """What becomes of the applied objects when the Kustomization is deleted; ``MirrorPrune`` (as
    ``prune`` says) where empty."""
    depends_on: tuple[Dependency, ...] = ()
    """Kustomizations that must be ready before this one is applied."""
    health_checks: tuple[HealthCheck, ...] = ()
    """Objects whose health is waited for; ignored when ``wait`` is true."""
    health_check_exprs: tuple[HealthCheckExpr, ...] = ()
    """How the health of custom kinds is read."""
    wait: bool = False
    """Waits for the health of every applied object."""
    force: bool = False
    """Recreates an object when an immutable field has to change."""
    target_namespace: Annotated[str, rules.sized(minimum=1, maximum=63)] = ""
    """Namespace to set on every namespaced object."""
    name_prefix: Annotated[str, rules.sized(minimum=1, maximum=200)] = ""
    """Text to put before every name."""
    name_suffix: Annotated[str, rules.sized(minimum=1, maximum=200)] = ""
    """Text to put after every name."""
    common_metadata: CommonMetadata | None = None
    """Labels and annotations to set on every object."""
    patches: tuple[Patch, ...] = ()
    """Patches, applied after those of the source's own kustomization file."""
    images: tuple[Image, ...] = ()
    """Container images to replace."""
    components: tuple[str, ...] = ()
    """Kustomize components to add, as paths relative to ``path``."""
    ignore_missing_components: bool = False
    """Skips components that do not exist."""
    build_metadata: tuple[
        Annotated[str, rules.one_of("originAnnotations", "transformerAnnotations")], ...
    ] = ()
    """Annotations by which kustomize says where an object came from."""
    post_build: PostBuild | None = None
    """Variables to substitute in what the build produced."""
    decryption: Decryption | None = None
    """How to decrypt manifests."""
    service_account_name: str = ""
    """ServiceAccount that is impersonated while applying."""
    kube_config: KubeConfig | None = None
    """The cluster to apply to, where it is another one."""
    ignore: tuple[IgnoreRule, ...] = ()
    """Fields of live objects to leave alone."""
    suspend: bool = False
    """Stops reconciling while true."""


class KustomizationStatus(Struct, frozen=True, kw_only=True):
    """What was applied, and how it went."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled with success."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""
    last_attempted_revision: str = ""
    """The revision that was last built."""
    last_applied_revision: str = ""
    """The revision that was last applied with success."""
    last_applied_origin_revision: str = ""
    """The origin of that revision, where the source names one."""
    inventory: Inventory | None = None
    """The objects that were applied."""
    history: tuple[Snapshot, ...] = ()
    """The last states that were reconciled, newest first, five at most."""


class Kustomization(meta.CustomObject, frozen=True, kw_only=True):
    """A directory of manifests that is built, applied and kept in force."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "Kustomization"
    PLURAL: ClassVar[str] = "kustomizations"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="kustomize-controller",
        short_names=("ks",),
        categories=("all", "fluxcd", "fluxcd-appliers"),
    )

    spec: KustomizationSpec
    status: KustomizationStatus = KustomizationStatus(observed_generation=-1)
