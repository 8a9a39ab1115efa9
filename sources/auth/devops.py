"""Azure DevOps: tokens that Entra ID gives to an application for a cluster's word."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sources.auth import oauth
from sources.auth.errors import CredentialsError
from sources.auth.lent import Loan

if TYPE_CHECKING:
    from runtime.clock import Clock
    from sources.web import Web

AUDIENCE: Final = "api://AzureADTokenExchange"
"""Whom a ServiceAccount's token has to be for."""
CLIENT: Final = "azure.workload.identity/client-id"
TENANT: Final = "azure.workload.identity/tenant-id"
"""The ServiceAccount's annotations that name the application."""
ENDPOINT: Final = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
SCOPE: Final = "499b84ac-1321-427f-aa17-267ca6975798/.default"
"""What Azure DevOps is called in Entra ID."""
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LASTS: Final = dt.timedelta(minutes=50)
"""Tokens live for an hour or more; the answer is not asked how long."""
_HOST: Final = re.compile(r"dev\.azure\.com|[a-z0-9-]+\.visualstudio\.com")
_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,255}")


def check_url(url: str) -> None:
    """Let a token go nowhere in clear.

    Raises:
        CredentialsError: the URL is none of https.
    """
    if urlsplit(url).scheme.lower() != "https":
        raise CredentialsError("Azure DevOps authentication requires an HTTPS Git URL")


def check_host(url: str) -> None:
    """Let a token that is not the object's own go to Azure DevOps alone.

    Raises:
        CredentialsError: the URL is none of it.
    """
    check_url(url)
    netloc = urlsplit(url).netloc.rpartition("@")[2]
    if not _HOST.fullmatch(netloc.lower()):
        raise CredentialsError(f"invalid Azure DevOps URL: '{netloc}' is not such as dev.azure.com")


def check_application(tenant: str, client: str) -> None:
    """Look whether the annotations name an application.

    Raises:
        CredentialsError: one does not.
    """
    for kind, key, value in (("tenant", TENANT, tenant), ("client", CLIENT, client)):
        if not _NAME.fullmatch(value):
            raise CredentialsError(
                f"azure {kind} ID is not set in the service account annotation {key}"
            )


async def borrow(client: Web, tenant: str, application: str, token: str, clock: Clock) -> Loan:
    """Exchange a ServiceAccount's token for one that opens Azure DevOps.

    Args:
        client: how to reach Entra ID.
        tenant: of the application.
        application: its client id.
        token: for the audience `AUDIENCE`.
        clock: tells until when it is used.

    Raises:
        CredentialsError: see `access`.
    """
    given = await access(client, tenant, application, token, SCOPE)
    return Loan(lambda _url: f"Bearer {given}", clock.now() + LASTS)


async def access(client: Web, tenant: str, application: str, token: str, scope: str) -> str:
    """Exchange a ServiceAccount's token for one of an application, for some service of Azure.

    Raises:
        CredentialsError: Entra ID refuses, cannot be reached, or answers something else.
    """
    form = {
        **proof(token),
        "client_id": application,
        "grant_type": "client_credentials",
        "scope": scope,
    }
    return await oauth.token(client, ENDPOINT.format(tenant=tenant), form)


def proof(token: str) -> dict[str, str]:
    """Return the fields of a form by which an application shows who vouches for it."""
    return {"client_assertion": token, "client_assertion_type": _ASSERTION}
