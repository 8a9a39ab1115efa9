"""Receiver (``notification.toolkit.fluxcd.io/v1``): a webhook that asks objects to reconcile.

The fields, their names and defaults are Flux's; the kinds of ``spec.resources`` are those that the
Flux Operator allows. ``api.served`` knows which fields are not served yet.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from api import meta, rules
from api.durations import Duration
from api.meta import Condition, LocalReference, Struct

GROUP = "notification.toolkit.fluxcd.io"
VERSION = "v1"

TYPES = (
    "generic",
    "generic-hmac",
    "generic-oidc",
    "github",
    "gitlab",
    "bitbucket",
    "harbor",
    "dockerhub",
    "quay",
    "gcr",
    "nexus",
    "acr",
    "cdevents",
)
RESOURCE_KINDS = (
    "Bucket",
    "GitRepository",
    "Kustomization",
    "HelmRelease",
    "HelmChart",
    "HelmRepository",
    "ImageRepository",
    "ImagePolicy",
    "ImageUpdateAutomation",
    "OCIRepository",
    "ArtifactGenerator",
    "ExternalArtifact",
    "FluxInstance",
    "ResourceSet",
    "ResourceSetInputProvider",
)


class ReceiverResource(Struct, frozen=True, kw_only=True):
    """Names what a call reconciles: one object, or all that match labels."""

    kind: Annotated[str, rules.one_of(*RESOURCE_KINDS)]
    """Kind of the object."""
    name: Annotated[str, rules.sized(minimum=1, maximum=253)]
    """Name of the object, or ``*`` for every object that has ``matchLabels``."""
    api_version: str = ""
    """API version of the kind; needed for kinds that are not sources."""
    namespace: Annotated[str, rules.sized(minimum=1, maximum=253)] = ""
    """Namespace of the object; the Receiver's own where empty."""
    match_labels: dict[str, str] = {}
    """Labels that an object must have; only where ``name`` is ``*``."""
    filter: str = ""
    """CEL expression over the request and the object that says whether to reconcile it."""


class OIDCVariable(Struct, frozen=True, kw_only=True):
    """Names the value of a CEL expression for the validations."""

    name: str
    """Name by which validations read it, after ``vars.``."""
    expression: str
    """Expression over ``claims``."""


class OIDCValidation(Struct, frozen=True, kw_only=True):
    """One thing that must hold for a token."""

    expression: str
    """CEL expression over ``claims`` and ``vars``."""
    message: str
    """What is said when it does not hold."""


class OIDCProvider(Struct, frozen=True, kw_only=True):
    """An issuer of tokens that the caller may present."""

    issuer_url: str = msgspec.field(name="issuerURL")
    """Address of the issuer."""
    validations: Annotated[tuple[OIDCValidation, ...], rules.items(minimum=1)]
    """What must hold for a token of this issuer."""
    audience: str = "notification-controller"
    """The audience that a token must name."""
    variables: tuple[OIDCVariable, ...] = ()
    """Values that validations refer to by name."""


class ReceiverSpec(Struct, frozen=True, kw_only=True):
    """Who may call, how the call is authenticated, and what it reconciles."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "self.type == 'generic-oidc' || has(self.secretRef)",
            "secretRef must be set unless type is 'generic-oidc'",
        ),
        rules.Rule(
            "self.type != 'generic-oidc' || !has(self.secretRef)",
            "secretRef cannot be set when type is 'generic-oidc'",
        ),
        rules.Rule(
            "self.type != 'generic-oidc' || has(self.oidcProviders)",
            "oidcProviders must be set when type is 'generic-oidc'",
        ),
        rules.Rule(
            "self.type == 'generic-oidc' || !has(self.oidcProviders)",
            "oidcProviders can only be set when type is 'generic-oidc'",
        ),
    )

    type: Annotated[str, rules.one_of(*TYPES)]
    """Who calls, which decides how the call is authenticated."""
    resources: tuple[ReceiverResource, ...]
    """What a call reconciles."""
    interval: Duration = "10m"
    """How often the Secret is read again."""
    events: tuple[str, ...] = ()
    """Events to act on, such as ``push``; all where empty. For the types that name their events."""
    resource_filter: str = ""
    """CEL expression over the request and the object that must hold for every resource."""
    secret_ref: LocalReference | None = None
    """Secret whose key ``token`` authenticates the caller and makes the path hard to guess."""
    oidc_providers: tuple[OIDCProvider, ...] = ()
    """Issuers of tokens, for the type ``generic-oidc``."""
    suspend: bool = False
    """Refuses calls while true."""


class ReceiverStatus(Struct, frozen=True, kw_only=True):
    """Where the webhook is, and whether it is ready."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    webhook_path: str = ""
    """Path of the webhook, ``/hook/<sha256>``; absent while the Receiver is not ready."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""


class Receiver(meta.CustomObject, frozen=True, kw_only=True):
    """A webhook that makes objects reconcile at once."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "Receiver"
    PLURAL: ClassVar[str] = "receivers"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="notification-controller",
        categories=("all", "fluxcd", "fluxcd-notifications"),
    )

    spec: ReceiverSpec
    status: ReceiverStatus = ReceiverStatus(observed_generation=-1)
