"""GitRepository (``source.toolkit.fluxcd.io/v1``): what to fetch from Git and how often.

The fields, their names and defaults are Flux's.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from api import meta, rules
from api.artifact import Artifact
from api.durations import Duration, ShortDuration
from api.meta import Condition, LocalReference, Struct

GROUP = "source.toolkit.fluxcd.io"
VERSION = "v1"
SOURCE_CATEGORIES = ("all", "fluxcd", "fluxcd-sources")


class GitRef(Struct, frozen=True, kw_only=True):
    """The Git reference to follow; of several, commit, name, tag, semver, branch, in this order."""

    branch: str = ""
    """Branch to follow; ``master`` where the whole reference says nothing."""
    tag: str = ""
    """Tag to check out; it comes before ``semver`` and ``branch``."""
    semver: str = ""
    """Range of semantic versions; the highest tag inside it is checked out."""
    name: str = ""
    """Full reference name such as ``refs/heads/main`` or ``refs/pull/1/head``; before ``tag``."""
    commit: str = ""
    """SHA-1 of a commit to pin, in 40 hexadecimal digits; it comes before everything else."""


class GitVerification(Struct, frozen=True, kw_only=True):
    """Which signatures a revision must carry before it is taken."""

    secret_ref: LocalReference
    """Secret that holds the public keys of trusted authors."""
    mode: Annotated[str, rules.one_of("head", "HEAD", "Tag", "TagAndHEAD")] = "HEAD"
    """What is verified: the commit, the tag object, or both."""


class GitInclude(Struct, frozen=True, kw_only=True):
    """Copies files out of the artifact of another GitRepository into this one."""

    repository: LocalReference
    """GitRepository whose artifact the files come from."""
    from_path: str = ""
    """Path to copy out of that artifact; its root where empty."""
    to_path: str = ""
    """Path to copy to; the name of the repository where empty."""


class GitRepositorySpec(Struct, frozen=True, kw_only=True):
    """What to fetch, how often, and with which credentials."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "!has(self.serviceAccountName) || "
            "(has(self.provider) && (self.provider == 'azure' || self.provider == 'aws'))",
            "serviceAccountName can only be set when provider is 'azure' or 'aws'",
        ),
    )

    url: Annotated[str, rules.matching(r"^(http|https|ssh)://.*$")]
    """Address of the repository over HTTP, HTTPS or SSH."""
    interval: Duration
    """How often to look for new commits when no webhook announces them."""
    timeout: ShortDuration = "60s"
    """Time limit of each Git operation."""
    secret_ref: LocalReference | None = None
    """Secret with the credentials: ``username`` and ``password``, or ``bearerToken``, with an
    optional ``ca.crt``, ``tls.crt`` and ``tls.key``; for SSH ``identity`` and ``known_hosts``."""
    provider: Annotated[str, rules.one_of("generic", "azure", "aws", "github")] = ""
    """Where credentials come from; ``generic`` (from the Secret) where empty."""
    service_account_name: str = ""
    """ServiceAccount whose identity obtains credentials from a cloud provider."""
    ref: GitRef | None = None
    """The reference to follow; branch ``master`` where absent."""
    verify: GitVerification | None = None
    """Signatures that a revision must carry."""
    proxy_secret_ref: LocalReference | None = None
    """Secret with the ``address`` and the credentials of an HTTP proxy."""
    ignore: str | None = None
    """Patterns of files to leave out, in the format of ``.gitignore``. Any text here, an empty one
    included, replaces the built-in patterns except those for version control."""
    suspend: bool = False
    """Stops fetching while true."""
    recurse_submodules: bool = False
    """Fetches submodules too."""
    include: tuple[GitInclude, ...] = ()
    """Other repositories whose files become part of this artifact."""
    sparse_checkout: tuple[str, ...] = ()
    """The only directories to check out; everything where empty."""


class GitRepositoryStatus(Struct, frozen=True, kw_only=True):
    """What was fetched, and how it went."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    artifact: Artifact | None = None
    """What the last successful fetch produced."""
    included_artifacts: tuple[Artifact, ...] = ()
    """The artifacts that the entries of ``spec.include`` contributed."""
    observed_ignore: str | None = None
    """``spec.ignore`` as the artifact was built with."""
    observed_recurse_submodules: bool = False
    """``spec.recurseSubmodules`` as the artifact was built with."""
    observed_include: tuple[GitInclude, ...] = ()
    """``spec.include`` as the artifact was built with."""
    observed_sparse_checkout: tuple[str, ...] = ()
    """``spec.sparseCheckout`` as the artifact was built with."""
    source_verification_mode: str | None = None
    """The mode in which the last revision was verified."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""


class GitRepository(meta.CustomObject, frozen=True, kw_only=True):
    """A Git repository whose content is fetched and offered as an artifact."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "GitRepository"
    PLURAL: ClassVar[str] = "gitrepositories"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="source-controller",
        columns=(rules.Column("URL", ".spec.url"), rules.AGE, rules.READY, rules.STATUS),
        short_names=("gitrepo",),
        categories=SOURCE_CATEGORIES,
    )

    spec: GitRepositorySpec
    status: GitRepositoryStatus = GitRepositoryStatus(observed_generation=-1)
