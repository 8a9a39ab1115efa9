"""GKE of Google: a cluster is described by its name, and opened by an access token."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from yarl import URL

from sources.auth.clusters import described
from sources.auth.clusters.described import Described, Subject
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sources.web import Web

ENDPOINT: Final = "https://container.googleapis.com/v1/"
SCOPES: Final = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
)
"""The second is that by which the API server knows the e-mail address, and not only a number."""
_NAME: Final = re.compile(
    r"projects/\w[\w.:-]{0,199}/locations/[\w-]{1,200}/clusters/[\w-]{1,200}", re.ASCII
)


class _Authority(msgspec.Struct, rename="camel"):
    cluster_ca_certificate: str


class _Private(msgspec.Struct, rename="camel"):
    private_endpoint: str = ""
    public_endpoint: str = ""


class _ByName(msgspec.Struct):
    endpoint: str = ""


class _Endpoints(msgspec.Struct, rename="camel"):
    dns_endpoint_config: _ByName = msgspec.field(default_factory=_ByName)
    ip_endpoints_config: _Private = msgspec.field(default_factory=_Private)


class _Cluster(msgspec.Struct, rename="camel"):
    master_auth: _Authority
    endpoint: str = ""
    private_cluster_config: _Private = msgspec.field(default_factory=_Private)
    control_plane_endpoints_config: _Endpoints = msgspec.field(default_factory=_Endpoints)


def check(name: str) -> str:
    """Return the name of a cluster.

    Raises:
        CredentialsError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise CredentialsError(
            f"invalid GKE cluster ID: '{name}' is not such as "
            "projects/<project>/locations/<location>/clusters/<name>"
        )
    return name


async def describe(client: Web, name: str, token: str) -> Described:
    """Return where a cluster is.

    Args:
        client: how to reach Google.
        name: of the cluster, checked.
        token: of somebody who may see it.

    Raises:
        CredentialsError: Google refuses, cannot be reached, or answers something else.
    """
    subject = Subject(f"GKE cluster '{name}'", "container.clusters.get")
    url, headers = URL(f"{ENDPOINT}{name}"), {"Authorization": f"Bearer {token}"}
    answer = await described.ask(client.get(url, lambda: headers), subject)
    try:
        found = msgspec.json.decode(answer, type=_Cluster)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise described.unusable(subject) from err
    pem = described.authority(found.master_auth.cluster_ca_certificate, subject)
    servers = {f"https://{each}": pem for each in _addresses(found) if each}
    if by_name := found.control_plane_endpoints_config.dns_endpoint_config.endpoint:
        servers[f"https://{by_name}"] = b""
    if not servers:
        raise described.unusable(subject)
    return Described(servers)


def _addresses(found: _Cluster) -> Iterator[str]:
    yield found.endpoint
    for each in (
        found.private_cluster_config,
        found.control_plane_endpoints_config.ip_endpoints_config,
    ):
        yield each.public_endpoint
        yield each.private_endpoint
