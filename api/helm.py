"""HelmRelease (``helm.toolkit.fluxcd.io/v2``): which chart to release, with which values, and how.

The fields, their names and defaults are Flux's; all of them are served.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from api import meta, rules
from api.durations import Duration
from api.helmactions import Install, Rollback, Testing, Uninstall, Upgrade
from api.kustomize import (
    CommonMetadata,
    HealthCheckExpr,
    IgnoreRule,
    Image,
    KubeConfig,
    Patch,
)
from api.meta import Condition, Inventory, LocalReference, Struct

GROUP = meta.HELM_GROUP
VERSION = "v2"

_Namespace = Annotated[str, rules.sized(minimum=1, maximum=63)]
_Name = Annotated[str, rules.sized(minimum=1, maximum=253)]


class ChartMetadata(Struct, frozen=True, kw_only=True):
    """Labels and annotations of the HelmChart that is made."""

    labels: dict[str, str] = {}
    """Labels to set."""
    annotations: dict[str, str] = {}
    """Annotations to set."""


class ChartSource(Struct, frozen=True, kw_only=True):
    """Names the source that a chart comes from."""

    kind: Annotated[str, rules.one_of("HelmRepository", "GitRepository", "Bucket")]
    """Kind of the source."""
    name: _Name
    """Name of the source."""
    namespace: _Namespace = ""
    """Namespace of the source; the HelmRelease's own where empty."""
    api_version: str = ""
    """API version of the source; the newest served where empty."""


class ChartVerification(Struct, frozen=True, kw_only=True):
    """Which signatures a chart must carry before it is taken."""

    provider: Annotated[str, rules.one_of("cosign", "notation")] = "cosign"
    """The tool that signed it."""
    secret_ref: LocalReference | None = None
    """Secret that holds the public keys of trusted authors."""


class ChartSpec(Struct, frozen=True, kw_only=True):
    """The HelmChart to make."""

    chart: Annotated[str, rules.sized(minimum=1, maximum=2048)]
    """Name of the chart, or its path in a GitRepository or Bucket."""
    version: str = "*"
    """Range of versions to choose from; without meaning for a GitRepository or Bucket."""
    source_ref: ChartSource
    """The source that the chart comes from."""
    interval: Duration | None = None
    """How often to look for a new version; the HelmRelease's where absent."""
    reconcile_strategy: Annotated[str, rules.one_of("ChartVersion", "Revision")] = "ChartVersion"
    """What makes a new chart: a new version in it, or any new revision of its source."""
    values_files: tuple[str, ...] = ()
    """Values files of the chart to merge in this order, in place of its ``values.yaml``."""
    ignore_missing_values_files: bool = False
    """Skips values files that do not exist."""
    verify: ChartVerification | None = None
    """Signatures that the chart must carry."""


class ChartTemplate(Struct, frozen=True, kw_only=True):
    """A HelmChart that is made, kept and deleted with the HelmRelease."""

    metadata: ChartMetadata | None = None
    """Its labels and annotations."""
    spec: ChartSpec
    """Its spec."""


class ChartReference(Struct, frozen=True, kw_only=True):
    """Names an object that offers a chart as its artifact."""

    kind: Annotated[str, rules.one_of("OCIRepository", "HelmChart", "ExternalArtifact")]
    """Kind of the object."""
    name: _Name
    """Name of the object."""
    namespace: _Namespace = ""
    """Namespace of the object; the HelmRelease's own where empty."""
    api_version: str = ""
    """API version of the object; the newest served where empty."""


class Dependency(Struct, frozen=True, kw_only=True):
    """Names a HelmRelease that must be ready first."""

    name: str
    """Name of the HelmRelease."""
    namespace: str = ""
    """Namespace of the HelmRelease; this one's own where empty."""
    ready_expr: str = ""
    """CEL expression over ``self`` and ``dep`` that says when the dependency is ready."""


class ValuesReference(Struct, frozen=True, kw_only=True):
    """Names a ConfigMap or Secret that holds values."""

    kind: Annotated[str, rules.one_of("Secret", "ConfigMap")]
    """``Secret`` or ``ConfigMap``."""
    name: _Name
    """Name of the object, in the namespace of the HelmRelease."""
    values_key: Annotated[str, rules.sized(maximum=253, pattern=r"^[\-._a-zA-Z0-9]+$")] = ""
    """Key of the data to read; ``values.yaml`` where empty."""
    target_path: Annotated[
        str, rules.sized(maximum=250, pattern=r"^([a-zA-Z0-9_\-.\\\/]|\[[0-9]{1,5}\])+$")
    ] = ""
    """Path in the values at which the data is set as one value, in the syntax of ``helm --set``;
    where empty, the data is a YAML document of values."""
    optional: bool = False
    """Goes on without the values where the object or the key is missing."""
    literal: bool = False
    """Sets the data as text, whatever it holds; only with ``targetPath``."""


class KustomizeRenderer(Struct, frozen=True, kw_only=True):
    """Changes what the templates made, by kustomize."""

    patches: tuple[Patch, ...] = ()
    """Patches, in this order."""
    images: tuple[Image, ...] = ()
    """Container images to replace."""


class PostRenderer(Struct, frozen=True, kw_only=True):
    """Changes what the templates made before it is applied."""

    kustomize: KustomizeRenderer | None = None
    """By kustomize."""


class DriftDetection(Struct, frozen=True, kw_only=True):
    """What to do about objects that somebody changed or deleted."""

    mode: Annotated[str, rules.one_of("enabled", "warn", "disabled")] = ""
    """Put them back, tell of them, or neither; ``disabled`` where empty."""
    ignore: tuple[IgnoreRule, ...] = ()
    """Fields to leave to others."""


class WaitStrategy(Struct, frozen=True, kw_only=True):
    """How health is waited for."""

    name: Annotated[str, rules.one_of("poller", "legacy")]
    """``poller`` reads the status of every kind, ``legacy`` follows the rules of Helm 3."""


class HelmReleaseSpec(Struct, frozen=True, kw_only=True):
    """Which chart to release, with which values, and how."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "(has(self.chart) && !has(self.chartRef)) || (!has(self.chart) && has(self.chartRef))",
            "either chart or chartRef must be set",
        ),
    )

    interval: Duration
    """How often to reconcile when nothing else asks for it."""
    chart: ChartTemplate | None = None
    """The chart, as a HelmChart that is made for this release."""
    chart_ref: ChartReference | None = None
    """The chart, as the artifact of another object."""
    kube_config: KubeConfig | None = None
    """The cluster to release to, where it is another one."""
    suspend: bool = False
    """Stops reconciling while true."""
    release_name: Annotated[str, rules.sized(minimum=1, maximum=53)] = ""
    """Name of the release; ``<targetNamespace>-<name>`` or the HelmRelease's name where empty."""
    target_namespace: _Namespace = ""
    """Namespace to release to; the HelmRelease's own where empty."""
    storage_namespace: _Namespace = ""
    """Namespace of the release's records; the HelmRelease's own where empty."""
    depends_on: tuple[Dependency, ...] = ()
    """HelmReleases that must be ready before this one is released."""
    timeout: Duration | None = None
    """Time limit of each operation that sets none of its own; 5 minutes where absent."""
    max_history: int | None = None
    """Revisions of the release to keep; 5 where absent, 0 keeps all."""
    service_account_name: Annotated[str, rules.sized(minimum=1, maximum=253)] = ""
    """ServiceAccount that is impersonated while releasing."""
    persistent_client: bool | None = None
    """Keeps one connection and one discovery for the whole run; true where absent."""
    drift_detection: DriftDetection | None = None
    """What to do about objects that somebody changed or deleted; nothing where absent."""
    install: Install | None = None
    """How the release is installed."""
    upgrade: Upgrade | None = None
    """How the release is upgraded."""
    test: Testing | None = None
    """Whether and how the tests of the chart are run."""
    rollback: Rollback | None = None
    """How the release is rolled back."""
    uninstall: Uninstall | None = None
    """How the release is uninstalled."""
    values_from: tuple[ValuesReference, ...] = ()
    """ConfigMaps and Secrets that hold values; later entries win."""
    values: msgspec.Raw = msgspec.Raw()
    """Values, as any JSON object; they win over those of ``valuesFrom`` that have no
    ``targetPath``."""
    common_metadata: CommonMetadata | None = None
    """Labels and annotations to set on every object."""
    post_renderers: tuple[PostRenderer, ...] = ()
    """Changes to what the templates made, in this order."""
    post_render_strategy: Annotated[str, rules.one_of("nohooks", "combined", "separate")] = ""
    """Whether hooks are changed too: with the rest (``combined``, where empty), in a run of their
    own, or not."""
    wait_strategy: WaitStrategy | None = None
    """How health is waited for; ``poller`` where absent."""
    health_check_exprs: tuple[HealthCheckExpr, ...] = ()
    """How the health of custom kinds is read."""

    def __post_init__(self) -> None:
        """Take the values out of the message they were read from, so that it can be let go."""
        if self.values:
            msgspec.structs.force_setattr(self, "values", self.values.copy())


class HookStatus(Struct, frozen=True, kw_only=True):
    """How a test of a release went."""

    last_started: str | None = None
    """When it was started last (RFC 3339)."""
    last_completed: str | None = None
    """When it ended last (RFC 3339)."""
    phase: str = ""
    """How it ended."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """One revision of a release, as the daemon left it."""

    api_version: str = ""
    """How the digest is made."""
    digest: str
    """Digest of the record in storage, ``<algorithm>:<hex>``."""
    name: str
    """Name of the release."""
    namespace: str
    """Namespace that it is released to."""
    version: int
    """Number of the revision."""
    status: str
    """Status of the revision, in Helm's words."""
    action: Annotated[
        str, rules.one_of("install", "upgrade", "rollback", "uninstall", "uninstall-remediation")
    ] = ""
    """What made the revision."""
    chart_name: str
    """Name of the chart."""
    chart_version: str
    """Version of the chart."""
    app_version: str = ""
    """Version of what the chart installs, in the chart's words."""
    config_digest: str
    """Digest of the values."""
    first_deployed: str
    """When the release was installed (RFC 3339)."""
    last_deployed: str
    """When this revision was released (RFC 3339)."""
    deleted: str | None = None
    """When it was uninstalled (RFC 3339)."""
    test_hooks: dict[str, HookStatus] | None = None
    """The tests that were run, by name; absent where none was asked for."""
    oci_digest: str = ""
    """Digest of the OCI artifact that the chart came from."""


class HelmReleaseStatus(Struct, frozen=True, kw_only=True):
    """What was released, and how it went."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled, with success or for good."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    helm_chart: str = ""
    """``<namespace>/<name>`` of the HelmChart that was made."""
    storage_namespace: str = ""
    """Namespace of the release's records; empty while there is no release."""
    history: tuple[Snapshot, ...] = ()
    """Revisions of the release, newest first."""
    inventory: Inventory | None = None
    """The objects of the release."""
    last_attempted_generation: int = 0
    """The ``metadata.generation`` that was last released, or tried to."""
    last_attempted_revision: str = ""
    """The version of the chart that was last released, or tried to."""
    last_attempted_revision_digest: str = ""
    """The digest of the OCI artifact that this chart came from."""
    last_attempted_config_digest: str = ""
    """The digest of the values that were last released, or tried to."""
    last_attempted_values_checksum: str = ""
    """Deprecated: use ``lastAttemptedConfigDigest``."""
    last_attempted_release_action: Annotated[str, rules.one_of("install", "upgrade")] = ""
    """What was last tried: an install or an upgrade."""
    last_attempted_release_action_duration: str = ""
    """How long that took, as a Go duration."""
    last_release_revision: int = 0
    """Deprecated: use ``history``."""
    failures: int = 0
    """Failures since the last success."""
    install_failures: int = 0
    """Failed installs since the last reset."""
    upgrade_failures: int = 0
    """Failed upgrades since the last reset."""
    observed_post_renderers_digest: str = ""
    """Digest of the post-renderers of the last success."""
    observed_common_metadata_digest: str = ""
    """Digest of the common metadata of the last success."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""
    last_handled_force_at: str = ""
    """The last request to release in any case (``reconcile.fluxcd.io/forceAt``)."""
    last_handled_reset_at: str = ""
    """The last request to forget failures (``reconcile.fluxcd.io/resetAt``)."""


class HelmRelease(meta.CustomObject, frozen=True, kw_only=True):
    """A chart that is rendered, released and kept in force."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "HelmRelease"
    PLURAL: ClassVar[str] = "helmreleases"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="helm-controller",
        short_names=("hr",),
        categories=("all", "fluxcd", "fluxcd-appliers"),
    )

    spec: HelmReleaseSpec
    status: HelmReleaseStatus = HelmReleaseStatus(observed_generation=-1)
