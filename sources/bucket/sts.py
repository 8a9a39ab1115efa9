"""Keys that are lent for a while: LDAP users at the security token service of MinIO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yarl import URL

from sources import web
from sources.auth.errors import CredentialsError
from sources.bucket import records
from sources.bucket.sigv4 import Keys

if TYPE_CHECKING:
    from sources.web import Web

_VERSION: Final = "2011-06-15"


async def ldap_keys(client: Web, endpoint: str, username: str, password: str) -> Keys:
    """Return the keys that the service lends to an LDAP user.

    Args:
        client: how to reach the service.
        endpoint: its address, ``http://`` or ``https://``.
        username: of the user.
        password: of the user; it goes into the body, never into the URL.

    Raises:
        CredentialsError: the service refuses, cannot be reached, or answers something else.
    """
    form = {
        "Action": "AssumeRoleWithLDAPIdentity",
        "LDAPPassword": password,
        "LDAPUsername": username,
        "Version": _VERSION,
    }
    try:
        found, _ = records.read(await client.post(URL(endpoint), form), "Credentials")
    except web.StatusError as err:
        raise CredentialsError(f"the STS endpoint refuses: {_said(err)}") from err
    except (web.WebError, records.RecordsError) as err:
        raise CredentialsError(f"the STS endpoint cannot be used: {err}") from err
    for _, each in found:
        if each.get("AccessKeyId") and each.get("SecretAccessKey"):
            return Keys(each["AccessKeyId"], each["SecretAccessKey"], each.get("SessionToken", ""))
    raise CredentialsError("the STS endpoint answers without keys")


def _said(err: web.StatusError) -> str:
    try:
        _, values = records.read(err.body)
    except records.RecordsError:
        return str(err)
    return values.get("Message", "")[:256] or str(err)
