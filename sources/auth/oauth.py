"""Access tokens of OAuth 2.0, got by a form that proves who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from yarl import URL

from sources import web
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sources.web import Web


class _Granted(msgspec.Struct, frozen=True):
    access_token: str


class _Refused(msgspec.Struct, frozen=True):
    error: str = ""
    error_description: str = ""


async def token(client: Web, endpoint: str, form: Mapping[str, str]) -> str:
    """Return an access token.

    Args:
        client: how to reach the service.
        endpoint: where tokens are handed out.
        form: the request, proof included.

    Raises:
        CredentialsError: the service refuses, cannot be reached, or answers something else.
    """
    try:
        answer = await client.post(URL(endpoint), form)
        return msgspec.json.decode(answer, type=_Granted).access_token
    except web.StatusError as err:
        raise CredentialsError(f"the token endpoint refuses: {_said(err)}") from err
    except web.WebError as err:
        raise CredentialsError(f"the token endpoint cannot be used: {err}") from err
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise CredentialsError(f"{endpoint} answers without a token") from err


def _said(err: web.StatusError) -> str:
    try:
        refused = msgspec.json.decode(err.body, type=_Refused)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return str(err)
    return (refused.error_description or refused.error)[:256] or str(err)
