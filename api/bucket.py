"""Bucket (``source.toolkit.fluxcd.io/v1``): which objects to fetch from a store, and how often.

The fields, their names and defaults are Flux's.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from api import meta, rules
from api.artifact import Artifact
from api.durations import Duration, ShortDuration
from api.meta import Condition, LocalReference, Struct
from api.source import GROUP, SOURCE_CATEGORIES, VERSION

GENERIC = "generic"
AWS = "aws"
GCP = "gcp"
AZURE = "azure"
LDAP = "ldap"


class BucketSTS(Struct, frozen=True, kw_only=True):
    """A security token service that lends keys for a while."""

    provider: Annotated[str, rules.one_of(AWS, LDAP)]
    """Which kind of service it is."""
    endpoint: Annotated[str, rules.matching(r"^(http|https)://.*$")]
    """Address of the service."""
    secret_ref: LocalReference | None = None
    """Secret with the ``username`` and ``password`` of an LDAP user."""
    cert_secret_ref: LocalReference | None = None
    """Secret with ``ca.crt``, ``tls.crt`` and ``tls.key`` for the service."""


class BucketSpec(Struct, frozen=True, kw_only=True):
    """What to fetch, how often, and with which credentials."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "self.provider == 'aws' || self.provider == 'generic' || !has(self.sts)",
            "STS configuration is only supported for the 'aws' and 'generic' Bucket providers",
        ),
        rules.Rule(
            "self.provider != 'aws' || !has(self.sts) || self.sts.provider == 'aws'",
            "'aws' is the only supported STS provider for the 'aws' Bucket provider",
        ),
        rules.Rule(
            "self.provider != 'generic' || !has(self.sts) || self.sts.provider == 'ldap'",
            "'ldap' is the only supported STS provider for the 'generic' Bucket provider",
        ),
        rules.Rule(
            "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)",
            "spec.sts.secretRef is not required for the 'aws' STS provider",
        ),
        rules.Rule(
            "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)",
            "spec.sts.certSecretRef is not required for the 'aws' STS provider",
        ),
        rules.Rule(
            "self.provider != 'generic' || !has(self.serviceAccountName)",
            "ServiceAccountName is not supported for the 'generic' Bucket provider",
        ),
        rules.Rule(
            "!has(self.secretRef) || !has(self.serviceAccountName)",
            "cannot set both .spec.secretRef and .spec.serviceAccountName",
        ),
    )

    provider: Annotated[str, rules.one_of(GENERIC, AWS, GCP, AZURE)] = GENERIC
    """Whose API the store speaks; ``generic`` is any that is compatible with S3."""
    bucket_name: str
    """Name of the bucket, or of the container."""
    endpoint: str
    """Host of the store, without a scheme; for ``azure`` the address of the account."""
    sts: BucketSTS | None = None
    """Where keys are lent from, in place of those of a Secret."""
    insecure: bool = False
    """Speaks plain HTTP to the store."""
    region: str = ""
    """Region of the bucket; where empty, what the endpoint's name or the store says."""
    prefix: str = ""
    """Fetches only objects whose keys begin with this."""
    secret_ref: LocalReference | None = None
    """Secret with the credentials: ``accesskey`` and ``secretkey``; for ``gcp`` ``serviceaccount``;
    for ``azure`` ``accountKey``, ``sasKey``, or ``tenantId`` and ``clientId`` with ``clientSecret``
    or ``clientCertificate``."""
    service_account_name: str = ""
    """ServiceAccount whose identity obtains credentials from a cloud provider."""
    cert_secret_ref: LocalReference | None = None
    """Secret with ``ca.crt``, ``tls.crt`` and ``tls.key`` for the store."""
    proxy_secret_ref: LocalReference | None = None
    """Secret with the ``address`` and the credentials of an HTTP proxy."""
    interval: Duration
    """How often to look for changes when no webhook announces them."""
    timeout: ShortDuration = "60s"
    """Time limit of listing the objects, and again of fetching them."""
    ignore: str | None = None
    """Patterns of objects to leave out, in the format of ``.gitignore``; they come after those of
    the ``.sourceignore`` in the bucket's root. There are no built-in patterns."""
    suspend: bool = False
    """Stops fetching while true."""


class BucketStatus(Struct, frozen=True, kw_only=True):
    """What was fetched, and how it went."""

    observed_generation: int = 0
    """The last ``metadata.generation`` that was reconciled."""
    conditions: tuple[Condition, ...] = ()
    """The state of the object, most important first."""
    url: str = ""
    """Address under which the newest artifact can always be fetched."""
    artifact: Artifact | None = None
    """What the last successful fetch produced."""
    observed_ignore: str | None = None
    """``spec.ignore`` as the artifact was built with."""
    last_handled_reconcile_at: str = ""
    """The request token of the last reconciliation (``reconcile.fluxcd.io/requestedAt``)."""


class Bucket(meta.CustomObject, frozen=True, kw_only=True):
    """A bucket whose objects are fetched and offered as an artifact."""

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    KIND: ClassVar[str] = "Bucket"
    PLURAL: ClassVar[str] = "buckets"
    DISPLAY: ClassVar[rules.Display] = rules.Display(
        component="source-controller",
        columns=(rules.Column("Endpoint", ".spec.endpoint"), rules.AGE, rules.READY, rules.STATUS),
        categories=SOURCE_CATEGORIES,
    )

    spec: BucketSpec
    status: BucketStatus = BucketStatus(observed_generation=-1)
