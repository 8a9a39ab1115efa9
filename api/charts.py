"""HelmRepository and HelmChart (``source.toolkit.fluxcd.io/v1``): charts and where they are from.

The fields, their names and defaults are Flux's.
"""

from __future__ import annotations

import posixpath
from typing import Annotated, ClassVar

from api import meta, rules
from api.artifact import Artifact
from api.durations import Duration, ShortDuration
from api.meta import Condition, LocalReference, Struct
from api.oci import OCIVerification
from api.source import GROUP, SOURCE_CATEGORIES, VERSION

DEFAULT = "default"
"""A repository that serves an index over HTTP."""
OCI = "oci"
"""A registry; there is nothing to fetch but its charts, so nothing is done with the object."""
CHART_VERSION = "ChartVersion"
"""A new artifact is made when the version in ``Chart.yaml`` changes."""
REVISION = "Revision"
"""A new artifact is made with every revision of the source."""
CHART_SOURCES = ("HelmRepository", "GitRepository", "Bucket")


class NamespaceSelector(Struct, frozen=True, kw_only=True):
    """Selects namespaces by their labels."""

    match_labels: dict[str, str] = {}
    """Labels that a namespace must have; none for all namespaces."""


class AccessFrom(Struct, frozen=True, kw_only=True):
    """From where an object may be referred to; recorded, as in Flux, and never enforced."""

    namespace_selectors: tuple[NamespaceSelector, ...]
    """The namespaces; one selector that matches is enough."""


class HelmRepositorySpec(Struct, frozen=True, kw_only=True):
    """Where charts are, and with which credentials they are fetched."""

    url: Annotated[str, rules.matching(r"^(http|https|oci)://.*$")]
    """Address of the repository, or ``oci://`` and a path in a registry."""
    type: Annotated[str, rules.one_of(DEFAULT, OCI)] = ""
    """``default`` for a repository with an index, ``oci`` for a registry."""
    interval: Duration = ""
    """How often to look for a new index; a minute where empty."""
    timeout: ShortDuration = ""
    """Time limit of each download; a minute where empty."""
    secret_ref: LocalReference | None = None
    """Secret with ``username`` and ``password``, or ``bearerToken``; for a registry also one of
    type ``kubernetes.io/dockerconfigjson``. Certificates belong into ``certSecretRef``."""
    cert_secret_ref: LocalReference | None = None
    """Secret with ``ca.crt``, or ``tls.crt`` and ``tls.key``, or both."""
    pass_credentials: bool = False
    """Sends the credentials also to other hosts that the index names."""
    insecure: bool = False
    """Speaks to a registry in clear where it does not speak TLS."""
    provider: Annotated[str, rules.one_of("generic", "aws", "azure", "gcp")] = "generic"
    """Where the credentials for a registry come from: ``generic`` from the Secret."""
    suspend: bool = False
    """Stops fetching while true."""
    access_from: AccessFrom | None = None
    """From where the object may be referred to."""


class HelmRepositoryStatus(Struct, frozen=True, kw_only=True):
    """What was fetched, and how it went."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    url: str = ""
    """Address that always means the newest index."""
    artifact: Artifact | None = None
    """The index that was fetched last."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""


class HelmRepository(meta.CustomObject, frozen=True, kw_only=True):
    """A repository of Helm charts."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "HelmRepository"
    PLURAL: ClassVar[str] = "helmrepositories"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="source-controller",
        columns=(rules.Column("URL", ".spec.url"), rules.AGE, rules.READY, rules.STATUS),
        short_names=("helmrepo",),
        categories=SOURCE_CATEGORIES,
    )

    spec: HelmRepositorySpec
    status: HelmRepositoryStatus = HelmRepositoryStatus(observed_generation=-1)

    @property
    def is_static(self) -> bool:
        """Whether there is nothing to reconcile, because it is a registry."""
        return self.spec.type == OCI


class ChartSourceReference(Struct, frozen=True, kw_only=True):
    """Names the source that a chart is in, in the same namespace."""

    api_version: str = ""
    """API version of the source."""
    kind: Annotated[str, rules.one_of(*CHART_SOURCES)]
    """Kind of the source."""
    name: str
    """Name of the source."""


class HelmChartSpec(Struct, frozen=True, kw_only=True):
    """Which chart to take from where."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "!has(self.verify) || self.sourceRef.kind == 'HelmRepository'",
            "spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'",
        ),
    )

    chart: str
    """Name of the chart in a HelmRepository, or its path in any other source."""
    version: str = "*"
    """Range of semantic versions; the highest in it is taken. Only for HelmRepositories."""
    source_ref: ChartSourceReference
    """Where the chart is."""
    interval: Duration
    """How often to look when nothing tells that the source changed."""
    reconcile_strategy: Annotated[str, rules.one_of(CHART_VERSION, REVISION)] = CHART_VERSION
    """What asks for a new artifact: another version of the chart, or another revision of its
    source, which then becomes a part of the version."""
    values_files: tuple[str, ...] = ()
    """Files that are merged in this order and replace the chart's values; ``values.yaml`` is not
    among them unless it is named. Paths begin at the root of the source, or of a chart that comes
    from a HelmRepository."""
    ignore_missing_values_files: bool = False
    """Leaves out files of ``valuesFiles`` that are not there."""
    suspend: bool = False
    """Stops looking while true."""
    verify: OCIVerification | None = None
    """Signatures that a chart from a registry must carry."""


class HelmChartStatus(Struct, frozen=True, kw_only=True):
    """What was made, and how it went."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled."""
    observed_source_artifact_revision: str = ""
    """The revision of the source that was looked at last."""
    observed_chart_name: str = ""
    """The name of the chart, as its ``Chart.yaml`` has it."""
    observed_values_files: tuple[str, ...] = ()
    """The files that were merged, where some may be missing."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    url: str = ""
    """Address that always means the newest artifact."""
    artifact: Artifact | None = None
    """The packed chart."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""


class HelmChart(meta.CustomObject, frozen=True, kw_only=True):
    """One chart out of a source, packed, offered as an artifact."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "HelmChart"
    PLURAL: ClassVar[str] = "helmcharts"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="source-controller",
        columns=(
            rules.Column("Chart", ".spec.chart"),
            rules.Column("Version", ".spec.version"),
            rules.Column("Source Kind", ".spec.sourceRef.kind"),
            rules.Column("Source Name", ".spec.sourceRef.name"),
            rules.AGE,
            rules.READY,
            rules.STATUS,
        ),
        short_names=("hc",),
        categories=SOURCE_CATEGORIES,
    )

    spec: HelmChartSpec
    status: HelmChartStatus = HelmChartStatus(observed_generation=-1)

    @property
    def merged_values_files(self) -> tuple[str, ...]:
        """The files to merge; none where that would give what the chart has anyway."""
        files = self.spec.values_files
        is_own = len(files) == 1 and posixpath.normpath(files[0]) == "values.yaml"
        return () if is_own else files
