"""OCIRepository (``source.toolkit.fluxcd.io/v1``): what to pull from a registry and how often.

The fields, their names and defaults are Flux's.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from api import meta, rules
from api.artifact import Artifact
from api.durations import Duration, ShortDuration
from api.meta import Condition, LocalReference, Struct
from api.source import GROUP, SOURCE_CATEGORIES, VERSION

EXTRACT = "extract"
"""Unpack the layer, leave out what is ignored, and pack it again."""
COPY = "copy"
"""Keep the layer as it is."""
COSIGN = "cosign"
NOTATION = "notation"


class OCIRef(Struct, frozen=True, kw_only=True):
    """What to pull; of several, digest, semver, tag, in this order."""

    digest: str = ""
    """Digest of a manifest to pin, ``sha256:<hex>``."""
    semver: str = ""
    """Range of semantic versions; the highest tag inside it is pulled."""
    semver_filter: str = ""
    """Regular expression; only tags that match it are considered by ``semver``."""
    tag: str = ""
    """Tag to pull; ``latest`` where the whole reference says nothing."""


class LayerSelector(Struct, frozen=True, kw_only=True):
    """Which layer of the artifact to take, and what to do with it."""

    media_type: str = ""
    """Media type of the layer; the first that has it is taken, the first of all where empty."""
    operation: Annotated[str, rules.one_of(EXTRACT, COPY)] = ""
    """``extract`` (the default) unpacks the layer, ``copy`` keeps it as it is."""


class OIDCIdentity(Struct, frozen=True, kw_only=True):
    """Who may have signed, by the certificate of the signature."""

    issuer: str
    """Regular expression for the issuer that vouched for the signer."""
    subject: str
    """Regular expression for the signer."""


class OCIVerification(Struct, frozen=True, kw_only=True):
    """Which signatures an artifact must carry before it is taken."""

    provider: Annotated[str, rules.one_of(COSIGN, NOTATION)] = COSIGN
    """The technology of the signatures."""
    secret_ref: LocalReference | None = None
    """Secret with the public keys (``*.pub``) of cosign, or the trust policy and the certificates
    of notation. Without it cosign verifies signatures made without keys."""
    match_oidc_identity: tuple[OIDCIdentity, ...] = msgspec.field(
        default=(), name="matchOIDCIdentity"
    )
    """Who may have signed without keys; one of these is enough."""
    trusted_root_secret_ref: LocalReference | None = None
    """Secret with a Sigstore ``trusted_root.json``, for infrastructure of one's own."""


class OCIRepositorySpec(Struct, frozen=True, kw_only=True):
    """What to pull, how often, and with which credentials."""

    url: Annotated[str, rules.matching(r"^oci://.*$")]
    """Address of the repository in a registry, without tag or digest."""
    interval: Duration
    """How often to look whether the tag has moved."""
    timeout: ShortDuration = "60s"
    """Time limit of each operation on the registry."""
    ref: OCIRef | None = None
    """What to pull; the tag ``latest`` where absent."""
    layer_selector: LayerSelector | None = None
    """Which layer to take; the first, unpacked, where absent."""
    provider: Annotated[str, rules.one_of("generic", "aws", "azure", "gcp")] = "generic"
    """Where credentials come from: ``generic`` from Secrets, the others from a cloud."""
    secret_ref: LocalReference | None = None
    """Secret of type ``kubernetes.io/dockerconfigjson`` with the login."""
    verify: OCIVerification | None = None
    """Signatures that the artifact must carry."""
    service_account_name: str = ""
    """ServiceAccount whose ``imagePullSecrets`` hold the login."""
    cert_secret_ref: LocalReference | None = None
    """Secret with ``ca.crt``, and ``tls.crt`` and ``tls.key`` to present to the registry."""
    proxy_secret_ref: LocalReference | None = None
    """Secret with the ``address`` and the credentials of an HTTP proxy."""
    insecure: bool = False
    """Lets the registry be spoken to in clear and, without ``certSecretRef``, over TLS whose
    certificate nobody checks."""
    ignore: str | None = None
    """Patterns of files to leave out, in the format of ``.gitignore``. Any text here, an empty one
    included, replaces the built-in patterns except those for version control."""
    suspend: bool = False
    """Stops looking while true."""


class OCIRepositoryStatus(Struct, frozen=True, kw_only=True):
    """What was pulled, and how it went."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    url: str = ""
    """Address at which the latest artifact can always be fetched."""
    artifact: Artifact | None = None
    """What the last successful pull produced."""
    observed_ignore: str | None = None
    """``spec.ignore`` as the artifact was built with."""
    observed_layer_selector: LayerSelector | None = None
    """``spec.layerSelector`` as the artifact was built with."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""


class OCIRepository(meta.CustomObject, frozen=True, kw_only=True):
    """An artifact in an OCI registry that is pulled and offered to whoever applies it."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "OCIRepository"
    PLURAL: ClassVar[str] = "ocirepositories"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="source-controller",
        columns=(rules.Column("URL", ".spec.url"), rules.READY, rules.STATUS, rules.AGE),
        short_names=("ocirepo",),
        categories=SOURCE_CATEGORIES,
    )

    spec: OCIRepositorySpec
    status: OCIRepositoryStatus = OCIRepositoryStatus(observed_generation=-1)
