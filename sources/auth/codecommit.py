"""AWS CodeCommit: keys lent to a role, and the signature that Git presents as a password."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sources.auth import basic, roles
from sources.auth.errors import CredentialsError
from sources.auth.lent import Loan
from sources.bucket import sigv4

if TYPE_CHECKING:
    from runtime.clock import Clock
    from sources.bucket.sigv4 import Keys
    from sources.web import Web

_HOST: Final = re.compile(
    r"git-codecommit(?:-fips)?\.([a-z0-9-]+)\.(?:.+\.)?(amazonaws\.com(?:\.cn)?)"
)


def region(url: str) -> str:
    """Return the region of a repository.

    Raises:
        CredentialsError: the URL is none of CodeCommit.
    """
    return place(url)[0]


async def borrow(client: Web, url: str, role: str, token: str, clock: Clock, session: str) -> Loan:
    """Exchange a ServiceAccount's token for keys of a role.

    Args:
        client: how to reach the security token service.
        url: a repository of the region in which to ask.
        role: its ARN.
        token: for the audience `roles.AUDIENCE`.
        clock: stamps signatures.
        session: how the use of the keys is called in AWS's records.

    Raises:
        CredentialsError: the service refuses, cannot be reached, or answers something else.
    """
    keys, ends_at = await roles.assume(client, place(url), role, token, session)
    return loan(keys, ends_at, clock)


def loan(keys: Keys, ends_at: dt.datetime, clock: Clock) -> Loan:
    """Return what opens repositories by keys, until these end."""
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


def place(url: str) -> tuple[str, str]:
    """Return the region of a repository, and AWS's domain there; raises what `region` does."""
    parts = urlsplit(url)
    if parts.scheme.lower() != "https":
        raise CredentialsError("AWS CodeCommit authentication requires an HTTPS Git URL")
    found = _HOST.fullmatch(parts.hostname or "")
    if found is None:
        raise CredentialsError(f"invalid AWS CodeCommit Git URL: {parts.hostname}")
    return found[1], found[2]
