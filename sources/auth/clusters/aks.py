"""AKS of Azure: a cluster tells its kubeconfigs, and is opened by a token of Entra ID."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

import msgspec
from yarl import URL

from sources.auth.clusters import described
from sources.auth.clusters.described import Subject
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from sources.web import Web

ENDPOINT: Final = "https://management.azure.com"
SCOPE: Final = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
"""What the API servers of AKS are called in Entra ID."""
ARM_SCOPE: Final = "https://management.azure.com/.default"
"""What may be asked about clusters."""
_VERSION: Final = "2022-04-01"
_PERMISSION: Final = "the role 'Azure Kubernetes Service Cluster User Role'"
_ID: Final = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w.()-]{0,199}[\w()-]"
    r"/providers/Microsoft\.ContainerService/managedClusters/[\w-]{1,200}",
    re.ASCII | re.IGNORECASE,
)


class _Profile(msgspec.Struct):
    """Of Entra ID; that there is one is enough."""


class _Properties(msgspec.Struct, rename="camel"):
    aad_profile: _Profile | None = None


class _Cluster(msgspec.Struct):
    properties: _Properties


class _Kubeconfig(msgspec.Struct):
    value: str


class _Kubeconfigs(msgspec.Struct):
    kubeconfigs: tuple[_Kubeconfig, ...] = ()


def check(identifier: str) -> str:
    """Return the resource ID of a cluster.

    Raises:
        CredentialsError: it is none.
    """
    if not _ID.fullmatch(identifier):
        raise CredentialsError(
            f"invalid AKS cluster ID: '{identifier}' is not such as /subscriptions/<id>"
            "/resourceGroups/<group>/providers/Microsoft.ContainerService/managedClusters/<name>"
        )
    return identifier


def subject(identifier: str) -> Subject:
    """Return a cluster in words."""
    return Subject(f"AKS cluster '{identifier.rpartition('/')[2]}'", _PERMISSION)


async def kubeconfigs(client: Web, identifier: str, token: str) -> list[bytes]:
    """Return the kubeconfigs of a cluster; they say where it is, and hold no credentials.

    Args:
        client: how to reach Azure.
        identifier: of the cluster, checked.
        token: of somebody who may ask, for `ARM_SCOPE`.

    Raises:
        CredentialsError: Azure refuses, cannot be reached, or answers something else; or the
            cluster does not take tokens of Entra ID.
    """
    about, headers = subject(identifier), {"Authorization": f"Bearer {token}"}
    base = URL(f"{ENDPOINT}{identifier}")
    url = base.with_query({"api-version": _VERSION})
    answer = await described.ask(client.get(url, lambda: headers), about)
    try:
        profile = msgspec.json.decode(answer, type=_Cluster).properties.aad_profile
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise described.unusable(about) from err
    if profile is None:
        raise CredentialsError(
            f"{about.name} does not take tokens of Microsoft Entra ID: switch its Entra ID "
            "integration on (az aks update --enable-aad)"
        )
    url = (base / "listClusterUserCredential").with_query({"api-version": _VERSION})
    answer = await described.ask(client.post(url, b"", headers), about)
    try:
        found = msgspec.json.decode(answer, type=_Kubeconfigs).kubeconfigs
        return [base64.b64decode(each.value, validate=True) for each in found]
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError) as err:
        raise described.unusable(about) from err
