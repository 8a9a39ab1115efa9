"""Keys that AWS lends to a role, to whom a cluster vouches for."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

from yarl import URL

from sources import web
from sources.auth.errors import CredentialsError
from sources.bucket import records, sigv4

if TYPE_CHECKING:
    from sources.bucket.sigv4 import Keys
    from sources.web import Web

AUDIENCE: Final = "sts.amazonaws.com"
"""Whom a ServiceAccount's token has to be for."""
ROLE: Final = "eks.amazonaws.com/role-arn"
"""The ServiceAccount's annotation that names its role."""
ENDPOINT: Final = "https://sts.{region}.{domain}/"
DOMAINS: Final = {
    "aws": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-us-gov": "amazonaws.com",
}
"""AWS's domain in a partition, as ARNs call it."""
_ROLE: Final = re.compile(r"arn:aws[\w-]*:iam::[0-9]{1,30}:role/.{1,200}")


def check_role(role: str) -> str:
    """Return what the annotation says.

    Raises:
        CredentialsError: it is no role.
    """
    if not _ROLE.fullmatch(role):
        raise CredentialsError(f"invalid {ROLE} annotation: '{role}' is no ARN of a role")
    return role


async def assume(
    client: Web, place: tuple[str, str], role: str, token: str, session: str, endpoint: str = ""
) -> tuple[Keys, dt.datetime]:
    """Exchange a ServiceAccount's token for keys of a role.

    Args:
        client: how to reach the security token service.
        place: the region in which to ask, and AWS's domain there.
        role: its ARN.
        token: for the audience `AUDIENCE`.
        session: how the use of the keys is called in AWS's records.
        endpoint: of the service; empty for the region's.

    Returns:
        The keys, and when they end.

    Raises:
        CredentialsError: the service refuses, cannot be reached, or answers something else.
    """
    region, domain = place
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": role,
        "RoleSessionName": re.sub(r"[^\w+=,.@-]", "-", session)[:64],
        "Version": "2011-06-15",
        "WebIdentityToken": token,
    }
    try:
        url = URL(endpoint or ENDPOINT.format(region=region, domain=domain))
        answer = await client.post(url, form)
        found, _ = records.read(answer, "Credentials")
        values = found[0][1]
        keys = sigv4.Keys(values["AccessKeyId"], values["SecretAccessKey"], values["SessionToken"])
        return keys, dt.datetime.fromisoformat(values["Expiration"])
    except web.StatusError as err:
        raise CredentialsError(f"AWS does not lend keys of {role}: {_refusal(err)}") from err
    except web.WebError as err:
        raise CredentialsError(f"AWS's token service cannot be used: {err}") from err
    except (records.RecordsError, LookupError, ValueError) as err:
        raise CredentialsError("AWS's token service answers without keys") from err


def _refusal(err: web.StatusError) -> str:
    try:
        _, values = records.read(err.body)
    except records.RecordsError:
        return str(err)
    said = values.get("Message", "")[:256] or str(err)
    if values.get("Code") == "AccessDenied":
        said += "; its trust policy has to name this cluster's issuer and the ServiceAccount"
    return said
