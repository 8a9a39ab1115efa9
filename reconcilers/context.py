"""What a reconciler may use of the cluster it works for, gathered in one object.

The daemon builds one `ClusterContext` per cluster and hands it to every reconciler of that cluster;
nothing below ``daemon/`` builds these parts by itself, so a test can wire the few that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, TypeVar

from api.instance import FluxInstance
from api.kustomize import Kustomization
from api.notification import Receiver
from api.source import GitRepository
from kube import watch
from sources import untar
from sources.auth.keep import Keep
from sources.auth.tls import Contexts
from sources.download import Downloads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api.artifact import Artifact
    from api.meta import Condition, ObjectMeta, ObjectRef
    from kube.apply import Applier
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.informer import Informer
    from kube.informers import Informers
    from kube.references import References
    from kube.remotes import Remotes
    from kube.tracker import Tracker
    from reconcilers.dependencies import SourceKey
    from runtime.clock import Clock
    from runtime.events import EventBus
    from runtime.limits import Processes, Threads
    from runtime.metrics import Metrics
    from sources.auth.ambient.machine import Machine
    from sources.auth.machine_app import MachineApp
    from sources.git import GitFetcher
    from sources.helm.repositories import Repositories
    from sources.oci.client import Registries
    from sources.storage import Storage

T = TypeVar("T", bound=watch.HasMeta)


class SourceStatus(Protocol):
    """The part of a source's status that its users read."""

    @property
    def artifact(self) -> Artifact | None:
        """What the last successful run produced."""
        ...

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """How it stands."""
        ...


class ArtifactSource(Protocol):
    """An object of any kind whose status names an artifact."""

    KIND: ClassVar[str]

    @property
    def metadata(self) -> ObjectMeta:
        """Its metadata."""
        ...

    @property
    def status(self) -> SourceStatus:
        """Its status."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The child programs the reconcilers start."""

    kustomize: Path | None = None
    """Path of the kustomize binary; without one, plain directories still build."""
    kustomize_version: str = ""
    """What ``kustomize version`` printed, part of every build key."""
    sops: Path | None = None
    """Path of the sops binary, for Kustomizations with ``spec.decryption``."""
    helm: Path | None = None
    """Path of a helm that is new enough, for HelmReleases."""
    helm_version: str = ""
    """What ``helm version`` printed."""
    helm_complaint: str = ""
    """Where ``helm`` is None: what is missing, and how to get it."""
    cosign: Path | None = None
    """Path of the cosign binary, for signatures that were made without keys."""
    cosign_complaint: str = "cosign is not installed"
    """Where ``cosign`` is None: what is missing, and how to get it."""
    notation: Path | None = None
    """Path of the notation binary, for signatures of the Notary Project."""
    notation_complaint: str = "notation is not installed"
    """Where ``notation`` is None: what is missing, and how to get it."""


DEFAULT_LIMITS: Final = untar.Limits(size_bytes=512 * 2**20, files=100_000)


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """Settings of one cluster that change what reconcilers do."""

    no_cross_namespace_refs: bool = False
    """Refuse a ``sourceRef`` into another namespace (multi-tenant lockdown)."""
    allow_remote_bases: bool = True
    """Let kustomizations name resources by URL; kustomize then downloads while it builds."""
    allow_external_artifacts: bool = True
    """Serve Kustomizations whose source is an ExternalArtifact, which somebody else makes."""
    strict_substitution: bool = True
    """Fail a build that uses a variable without a value, instead of taking it for empty."""
    custom_stages: frozenset[str] = frozenset()
    """Kinds applied before other objects, see `kube.stages.stage_of`."""
    default_service_account: str = ""
    """Service account to impersonate where an object names none; empty: the daemon's identity."""
    allow_kubeconfig_exec: bool = False
    """Let the kubeconfig in a Secret name a program, which then runs on this machine."""
    allow_kubeconfig_insecure_tls: bool = False
    """Let the kubeconfig in a Secret do without the server's certificate."""
    concurrency: int = 8
    """Objects of one kind reconciled at the same time."""
    build_timeout_s: float = 120.0
    """Seconds one kustomize process may take before it is killed."""
    requeue_dependency_s: float = 30.0
    """Seconds until a waiting object looks again by itself; a watch wakes it much sooner."""
    artifact_limits: untar.Limits = DEFAULT_LIMITS
    """How much what is pulled may unpack to."""


@dataclass(slots=True)
class ClusterContext:
    """One cluster: its connections, caches and the services it shares with the other clusters."""

    name: str
    """The cluster's name in ``config.toml``."""
    client: Client
    discovery: Discovery
    tracker: Tracker
    references: References
    """Follows the ConfigMaps and Secrets that objects refer to."""
    applier: Applier
    remotes: Remotes
    """The clusters that objects of this one name; see `reconcilers.targets`."""
    events: EventBus
    clock: Clock
    metrics: Metrics
    storage: Storage
    git: GitFetcher
    oci: Registries
    """Asks OCI registries; shared by all clusters."""
    charts: Repositories
    """Asks chart repositories; shared by all clusters."""
    threads: Threads
    """Runs blocking work (Git, archives, parsing of large files) in a few threads."""
    processes: Processes
    """Slots for child processes, one for each CPU."""
    tools: Tools
    data_dir: Path
    """This cluster's folder for disposable files; everything in it may be deleted at any time."""
    informers: Informers
    """What is known of the objects of each kind."""
    wake: Callable[[ObjectRef, str], None]
    """Queues an object, with the cause: free text such as ``GitRepository/ns/name``."""
    settings: ReconcileSettings = field(default_factory=ReconcileSettings)
    contexts: Contexts = field(default_factory=Contexts)
    """TLS contexts for whatever is no API server; shared by all clusters."""
    downloads: Downloads = field(init=False)
    """Artifacts that somebody else stores."""
    age_key: Callable[[], bytes | None] = lambda: None
    """Reads the daemon-wide age key; blocks, and raises ValueError where it cannot be used."""
    github_app: Callable[[], MachineApp | None] = lambda: None
    """Reads this machine's GitHub App as it is now; blocks."""
    machine: Machine | None = None
    """Gives out this machine's identities in clouds; None where the cluster may not use them."""
    lent: Keep = field(init=False)
    """What clouds have lent to ServiceAccounts."""

    def __post_init__(self) -> None:
        """Make the parts that have no choice."""
        self.downloads = Downloads(self.data_dir / "downloads", self.threads)
        self.lent = Keep(self.clock)

    @property
    def gitrepositories(self) -> Informer[GitRepository]:
        """The GitRepositories."""
        return self.informers.of(GitRepository)

    @property
    def kustomizations(self) -> Informer[Kustomization]:
        """The Kustomizations."""
        return self.informers.of(Kustomization)

    @property
    def receivers(self) -> Informer[Receiver]:
        """The Receivers."""
        return self.informers.of(Receiver)

    @property
    def instances(self) -> Informer[FluxInstance]:
        """The FluxInstances."""
        return self.informers.of(FluxInstance)

    def informer(self, type_: type[T]) -> Informer[T]:
        """Return what is known of the objects of one kind, given its model.

        Raises:
            KeyError: the daemon knows no such kind.
        """
        return self.informers.of(type_)

    def source(self, key: SourceKey) -> ArtifactSource | None:
        """Return the object that bears an artifact under this key, of whichever kind.

        Returns:
            None where there is no such object, or its kind bears no artifacts.
        """
        found = self.informers.named(key.kind)
        obj = found.get(key.namespace, key.name) if found else None
        return obj if obj is not None and hasattr(obj.status, "artifact") else None
