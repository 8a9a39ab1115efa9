"""EKS of AWS: a cluster is described by its name, and opened by a signed question who we are.

The API server asks AWS's token service that question, and so learns which role or user signed it.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from yarl import URL

from sources.auth import roles
from sources.auth.clusters import described
from sources.auth.clusters.described import Described, Subject
from sources.auth.errors import CredentialsError
from sources.bucket import sigv4

if TYPE_CHECKING:
    from runtime.clock import Clock
    from sources.bucket.sigv4 import Keys
    from sources.web import Web

ENDPOINT: Final = "https://eks.{region}.{domain}/"
LASTS: Final = dt.timedelta(minutes=14)
"""API servers take a token for a quarter of an hour; one minute is left for clocks that differ."""
_EXPIRES_S: Final = 900
_ARN: Final = re.compile(
    r"arn:(aws[a-z-]*):eks:([a-z0-9-]{1,100}):[0-9]{1,30}:cluster/([0-9A-Za-z][\w-]{0,99})",
    re.ASCII,
)


class Name(NamedTuple):
    """Which cluster."""

    region: str
    domain: str
    """AWS's in that region."""
    name: str

    @property
    def place(self) -> tuple[str, str]:
        """Region and domain."""
        return self.region, self.domain

    @property
    def subject(self) -> Subject:
        """The cluster in words."""
        return Subject(f"EKS cluster '{self.name}' in {self.region}", "eks:DescribeCluster")


class _Authority(msgspec.Struct):
    data: str


class _Cluster(msgspec.Struct, rename="camel"):
    endpoint: str
    certificate_authority: _Authority


class _Answer(msgspec.Struct):
    cluster: _Cluster


def parse(arn: str) -> Name:
    """Return which cluster an ARN names.

    Raises:
        CredentialsError: it names none.
    """
    found = _ARN.fullmatch(arn)
    domain = roles.DOMAINS.get(found[1]) if found else None
    if found is None or domain is None:
        raise CredentialsError(
            f"invalid EKS cluster ARN: '{arn}' is not such as "
            "arn:aws:eks:<region>:<account>:cluster/<name>"
        )
    return Name(found[2], domain, found[3])


async def describe(client: Web, cluster: Name, keys: Keys, clock: Clock) -> Described:
    """Return where a cluster is.

    Args:
        client: how to reach AWS.
        cluster: which.
        keys: of somebody who may describe it.
        clock: stamps the signature.

    Raises:
        CredentialsError: AWS refuses, cannot be reached, or answers something else.
    """
    base = URL(ENDPOINT.format(region=cluster.region, domain=cluster.domain))
    url = base / "clusters" / cluster.name
    scope = sigv4.Scope(cluster.region, "eks")

    def headers() -> dict[str, str]:
        return sigv4.sign("GET", url.raw_path, {"Host": sigv4.host(url)}, keys, scope, clock.now())

    answer = await described.ask(client.get(url, headers), cluster.subject)
    try:
        found = msgspec.json.decode(answer, type=_Answer).cluster
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise described.unusable(cluster.subject) from err
    pem = described.authority(found.certificate_authority.data, cluster.subject)
    return Described({found.endpoint: pem})


def token(cluster: Name, keys: Keys, now: dt.datetime) -> str:
    """Return what opens a cluster to whoever the keys are of, for a quarter of an hour."""
    region, domain = cluster.place
    url = URL(roles.ENDPOINT.format(region=region, domain=domain))
    url = url.with_query({"Action": "GetCallerIdentity", "Version": "2011-06-15"})
    scope, headers = sigv4.Scope(region, "sts"), {"x-k8s-aws-id": cluster.name}
    signed = sigv4.presign(url, headers, keys, scope, now, _EXPIRES_S)
    return f"k8s-aws-v1.{base64.urlsafe_b64encode(signed.encode()).rstrip(b'=').decode()}"
