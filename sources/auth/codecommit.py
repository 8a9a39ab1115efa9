"""AWS CodeCommit: keys lent to a role, and the signature that Git presents as a password."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from yarl import URL

from sources import web
from sources.auth import basic
from sources.auth.errors import CredentialsError
from sources.auth.lent import Loan
from sources.bucket import records, sigv4

if TYPE_CHECKING:
    from runtime.clock import Clock
    from sources.bucket.sigv4 import Keys
    from sources.web import Web

AUDIENCE: Final = "sts.amazonaws.com"
"""Whom a ServiceAccount's token has to be for."""
ROLE: Final = "eks.amazonaws.com/role-arn"
"""The ServiceAccount's annotation that names its role."""
ENDPOINT: Final = "https://sts.{region}.{domain}/"
_ROLE: Final = re.compile(r"arn:aws[\w-]*:iam::[0-9]{1,30}:role/.{1,200}")
_HOST: Final = re.compile(
    r"git-codecommit(?:-fips)?\.([a-z0-9-]+)\.(?:.+\.)?(amazonaws\.com(?:\.cn)?)"
)


def region(url: str) -> str:
    """Return the region of a repository.

    Raises:
        CredentialsError: the URL is none of CodeCommit.
    """
    return _place(url)[0]


def check_role(role: str) -> str:
    """Return what the annotation says.

    Raises:
        CredentialsError: it is no role.
    """
    if not _ROLE.fullmatch(role):
        raise CredentialsError(f"invalid {ROLE} annotation: '{role}' is no ARN of a role")
    return role


async def borrow(client: Web, url: str, role: str, token: str, clock: Clock, session: str) -> Loan:
    """Exchange a ServiceAccount's token for keys of a role.

    Args:
        client: how to reach the security token service.
        url: a repository of the region in which to ask.
        role: its ARN.
        token: for the audience `AUDIENCE`.
        clock: stamps signatures.
        session: how the use of the keys is called in AWS's records.

    Raises:
        CredentialsError: the service refuses, cannot be reached, or answers something else.
    """
    where, domain = _place(url)
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": role,
        "RoleSessionName": re.sub(r"[^\w+=,.@-]", "-", session)[:64],
        "Version": "2011-06-15",
        "WebIdentityToken": token,
    }
    try:
        answer = await client.post(URL(ENDPOINT.format(region=where, domain=domain)), form)
        found, _ = records.read(answer, "Credentials")
        values = found[0][1]
        keys = sigv4.Keys(values["AccessKeyId"], values["SecretAccessKey"], values["SessionToken"])
        ends_at = dt.datetime.fromisoformat(values["Expiration"])
    except web.StatusError as err:
        raise CredentialsError(f"AWS does not lend keys of {role}: {_said(err)}") from err
    except web.WebError as err:
        raise CredentialsError(f"AWS's token service cannot be used: {err}") from err
    except (records.RecordsError, LookupError, ValueError) as err:
        raise CredentialsError("AWS's token service answers without keys") from err
    return Loan(partial(_authorize, keys, clock), ends_at)


def login(keys: Keys, url: str, now: dt.datetime) -> tuple[str, str]:
    """Return the user name and the password that CodeCommit takes for a quarter of an hour.

    Raises:
        CredentialsError: the URL is none of CodeCommit.
    """
    parts = urlsplit(url)
    scope = sigv4.Scope(region(url), "codecommit")
    stamp = f"{now:%Y%m%dT%H%M%S}"
    request = f"GIT\n{parts.path}\n\nhost:{parts.netloc}\n\nhost\n"
    digest = hashlib.sha256(request.encode()).hexdigest()
    username = f"{keys.access_key}%{keys.session_token}" if keys.session_token else keys.access_key
    return username, f"{stamp}Z{sigv4.signature(keys, scope, stamp, digest)}"


def _authorize(keys: Keys, clock: Clock, url: str) -> str:
    return basic.header(*login(keys, url, clock.now().astimezone(dt.UTC)))


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme.lower() != "https":
        raise CredentialsError("AWS CodeCommit authentication requires an HTTPS Git URL")
    found = _HOST.fullmatch(parts.hostname or "")
    if found is None:
        raise CredentialsError(f"invalid AWS CodeCommit Git URL: {parts.hostname}")
    return found[1], found[2]


def _said(err: web.StatusError) -> str:
    try:
        _, values = records.read(err.body)
    except records.RecordsError:
        return str(err)
    return values.get("Message", "")[:256] or str(err)
