"""This machine's identity in Entra ID: that of an application, else the one Azure gave to it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from sources.auth import devops, oauth
from sources.auth.ambient.surroundings import NoIdentityError
from sources.auth.errors import CredentialsError
from sources.auth.keep import Lasting
from sources.bucket import entra

if TYPE_CHECKING:
    from sources.auth.ambient.surroundings import Surroundings

INSTANCE: Final = "http://169.254.169.254"
_TOKEN: Final = "/metadata/identity/oauth2/token"  # noqa: S105 - a path
_NOBODY: Final = (
    "this machine has no identity in Azure: set AZURE_TENANT_ID and AZURE_CLIENT_ID with "
    "AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE"
)


class _Told(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int | str = 0
    """In seconds."""
    expires_on: int | str = 0
    """In seconds since 1970; the one that applications of App Service are told."""


async def token(here: Surroundings, scope: str) -> Lasting[str]:
    """Return an access token of this machine.

    Args:
        here: where to look.
        scope: what it is for; ends in ``/.default``.

    Raises:
        NoIdentityError: there is none.
        CredentialsError: there is an identity, and it cannot be used.
    """
    tenant, client = here.named("AZURE_TENANT_ID"), here.named("AZURE_CLIENT_ID")
    form = await _proof(here) if tenant and client else {}
    if not form:
        return await _given(here, scope, client)
    authority = here.named("AZURE_AUTHORITY_HOST") or entra.AUTHORITY
    if "://" not in authority:
        authority = f"https://{authority}"
    endpoint = entra.Client(tenant, client, authority=authority).endpoint
    form |= {"client_id": client, "grant_type": "client_credentials", "scope": scope}
    given = await oauth.token(here.web, endpoint, form)
    return Lasting(given, here.clock.now() + devops.LASTS)


async def _proof(here: Surroundings) -> dict[str, str]:
    """Return by what an application proves that it is the one; nothing where there is no proof."""
    if secret := here.named("AZURE_CLIENT_SECRET"):
        return {"client_secret": secret}
    if path := here.named("AZURE_FEDERATED_TOKEN_FILE"):
        return devops.proof(await here.text(path))
    return {}


async def _given(here: Surroundings, scope: str, client: str) -> Lasting[str]:
    """Return a token of the identity that Azure gave to the machine, or to the application."""
    parameters = {"resource": scope.removesuffix("/.default")}
    parameters |= {"client_id": client} if client else {}
    endpoint, header = here.named("IDENTITY_ENDPOINT"), here.named("IDENTITY_HEADER")
    if endpoint and header:
        url, headers = endpoint, {"X-IDENTITY-HEADER": header}
        parameters["api-version"] = "2019-08-01"
    else:
        base = here.named("AZURE_POD_IDENTITY_AUTHORITY_HOST") or INSTANCE
        url, headers = f"{base.rstrip('/')}{_TOKEN}", {"Metadata": "true"}
        parameters["api-version"] = "2018-02-01"
    try:
        answer = await here.ask(f"{url}?{urlencode(parameters)}", headers)
    except NoIdentityError as err:
        raise NoIdentityError(_NOBODY) from err
    try:
        told = msgspec.json.decode(answer, type=_Told)
        return Lasting(told.access_token, _end(here, told))
    except (msgspec.MsgspecError, ValueError, OverflowError) as err:
        raise CredentialsError("Azure tells this machine no token") from err


def _end(here: Surroundings, told: _Told) -> dt.datetime:
    if int(told.expires_in):
        return here.clock.now() + dt.timedelta(seconds=int(told.expires_in))
    return dt.datetime.fromtimestamp(int(told.expires_on), dt.UTC)
