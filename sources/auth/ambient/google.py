"""This machine's identity at Google: application default credentials, else the metadata server."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from sources.auth import oauth
from sources.auth.ambient.surroundings import NoIdentityError
from sources.auth.errors import CredentialsError
from sources.auth.keep import Lasting
from sources.bucket import gcs

if TYPE_CHECKING:
    from sources.auth.ambient.surroundings import Surroundings

FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
METADATA_HOST: Final = "metadata.google.internal"
_TOKEN: Final = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 - a path
_DEFAULT_FILE: Final = "application_default_credentials.json"
_LASTS: Final = dt.timedelta(minutes=50)
"""Google's tokens live for an hour."""
_SERVED: Final = ("service_account", "authorized_user")
_NOBODY: Final = (
    f"this machine has no identity at Google: set {FILE}, or run "
    "'gcloud auth application-default login'"
)


class _Kind(msgspec.Struct, frozen=True):
    type: str


class _User(msgspec.Struct, frozen=True):
    """Somebody who signed in at a browser."""

    client_id: str
    client_secret: str
    refresh_token: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address


class _Told(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


async def token(here: Surroundings, scope: str) -> Lasting[str]:
    """Return an access token of this machine.

    Args:
        here: where to look.
        scope: what it is for, several with spaces between; somebody who signed in has chosen that
            then.

    Raises:
        NoIdentityError: there is none.
        CredentialsError: there is an identity, and it cannot be used.
    """
    path = here.named(FILE)
    if not path:
        folder = here.named("CLOUDSDK_CONFIG") or "~/.config/gcloud"
        path = f"{folder.rstrip('/')}/{_DEFAULT_FILE}"
        if not await here.exists(path):
            return await _instance(here, scope)
    content = await here.read(path)
    try:
        given = await _file(here, content, scope)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise CredentialsError(f"{path} holds no credentials of Google's") from err
    return Lasting(given, here.clock.now() + _LASTS)


async def _file(here: Surroundings, content: bytes, scope: str) -> str:
    kind = msgspec.json.decode(content, type=_Kind).type
    if kind not in _SERVED:
        raise CredentialsError(
            f"credentials of Google's type '{kind}' are not followed, only {' and '.join(_SERVED)}"
        )
    if kind == "service_account":
        account = msgspec.json.decode(content, type=gcs.ServiceAccount)
        return await gcs.token(here.web, account, here.threads, here.clock, scope)
    user = msgspec.json.decode(content, type=_User)
    form = {
        "client_id": user.client_id,
        "client_secret": user.client_secret,
        "grant_type": "refresh_token",
        "refresh_token": user.refresh_token,
    }
    return await oauth.token(here.web, user.token_uri, form)


async def _instance(here: Surroundings, scope: str) -> Lasting[str]:
    host = here.named("GCE_METADATA_HOST") or METADATA_HOST
    url = f"http://{host}{_TOKEN}?{urlencode({'scopes': scope.replace(' ', ',')})}"
    try:
        answer = await here.ask(url, {"Metadata-Flavor": "Google"})
    except NoIdentityError as err:
        raise NoIdentityError(_NOBODY) from err
    try:
        told = msgspec.json.decode(answer, type=_Told)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise CredentialsError("the metadata server answers without a token") from err
    return Lasting(told.access_token, here.clock.now() + dt.timedelta(seconds=told.expires_in))
